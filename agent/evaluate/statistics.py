"""Statistics of evaluations: scorecards of greedy episodes, and the paired comparison of two policies, which decides promotions."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from agent.records import Episode, Scorecard


@dataclass(frozen=True)
class Comparison:
    """Two policies on the same seeds."""

    gain: float  # difference of the success rates, candidate minus champion, in [-1, 1]
    low: float  # ends of the 95 % interval of the gain (Agresti and Min 2005, paired)
    high: float
    p_value: float  # of the exact two-sided McNemar test
    won: int  # seeds that only the candidate passed
    lost: int  # seeds that only the champion passed

    def __str__(self) -> str:
        return f"{100 * self.gain:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}], p = {self.p_value:.2g}"


def score(policy: str, episodes: Iterable[Episode]) -> Scorecard:
    """Return the scorecard of greedy episodes; an episode with faults counts as failed."""
    return tally(policy, episodes, lambda episode: None)[0]


def tally(policy: str, episodes: Iterable[Episode], watch: Callable[[Episode], None]) -> tuple[Scorecard, list[str]]:
    """Return the scorecard of greedy episodes, and the faults of the environment with their seeds; no episode stays in memory.

    Args:
        policy: fingerprint of its weights.
        episodes: as they are made.
        watch: called with each episode.
    """
    card, faults = Scorecard(policy, {}), []
    for episode in episodes:
        key = f"{episode.task}/{episode.seed}"
        # An episode with a fault is failed, not left out: otherwise two policies would be compared on different seeds.
        card.outcomes[key], card.effort[key] = episode.success and not episode.faults, _effort(episode)
        # Such seeds are named: they may hide what the policy can do.
        faults += [f"seed {episode.seed}: {episode.faults[0]}"] if episode.faults else []
        watch(episode)
    return card, faults


def _effort(episode: Episode) -> tuple[int, int]:
    """Return the decisions and the environment steps of an episode, up to the decision that succeeded, if one did."""
    decisions = len(episode) if episode.first_success is None else episode.first_success + 1
    return decisions, int((~np.isnan(episode.rewards[:decisions])).sum())  # NaN: steps after the end


def compare(candidate: Scorecard, champion: Scorecard) -> Comparison:
    """Return how the candidate does against the champion on the same seeds.

    Raises:
        ValueError: the scorecards have different seeds.
    """
    if candidate.outcomes.keys() != champion.outcomes.keys():
        raise ValueError("The two scorecards are of different evaluation seeds, so they cannot be compared; run both evaluations again.")
    won = sum(passed and not champion.outcomes[key] for key, passed in candidate.outcomes.items())
    lost = sum(champion.outcomes[key] and not passed for key, passed in candidate.outcomes.items())
    n = len(candidate.outcomes)
    # McNemar's exact test: only seeds on which the two differ count; if both are equally good, each of these is won with probability 1/2.
    p_value = float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0
    low, high = _interval(won, lost, n)
    return Comparison((won - lost) / n, low, high, p_value, won, lost)


def standing(card: Scorecard) -> dict[str, Any]:
    """Return a success rate with its interval and n, and the mean decisions and environment steps of a success; None where these are not known."""
    efforts = [card.effort[key] for key, passed in card.outcomes.items() if passed and key in card.effort]
    decisions, steps = np.mean(efforts, axis=0).round(3).tolist() if efforts else (None, None)
    return {**asdict(card.success), "decisions_to_success": decisions, "steps_to_success": steps}


def account(starts: Mapping[str, Scorecard], after: Scorecard) -> dict[str, Any]:
    """Return the part of `summary.json` about a test evaluation: each start, the last champion, and its gain over the better start.

    Args:
        starts: scorecards of `base` and, if there were demonstrations, of `warm_start`.
        after: scorecard of the last champion, on the same seeds.

    Returns:
        `standing` under the name of each start, `before` (the better start), `before_is` (its name) and `after`; the fields of `Comparison`; and
        `both_pass`.
    """
    # The better start, so that a run cannot gain by a warm start that harmed the base model. `max` takes the first, base, where both are equal.
    better = max(starts, key=lambda name: starts[name].success.rate)
    comparison, standings = compare(after, starts[better]), {name: standing(card) for name, card in starts.items()}
    ends = {"gain_low": comparison.low, "gain_high": comparison.high, "p_value": comparison.p_value, "won": comparison.won, "lost": comparison.lost}
    gain = {"gain": comparison.gain, **ends, "both_pass": _both_pass(starts[better], after)}
    return {**standings, "before": standings[better], "before_is": better, "after": standing(after), **gain}


def _both_pass(before: Scorecard, after: Scorecard) -> dict[str, Any]:
    """Return the number of seeds on which both succeed, and the mean decisions and environment steps there, as [before, after]."""
    # On common seeds only: a policy that passes more seeds also passes harder ones, which take longer.
    keys = [key for key in before.effort.keys() & after.effort.keys() if before.outcomes[key] and after.outcomes[key]]
    efforts = np.array([[card.effort[key] for key in keys] for card in (before, after)], np.float64).reshape(2, -1, 2)  # policy, seed, kind
    means = efforts.mean(1).round(3).T.tolist() if keys else ([], [])
    return {"n": len(keys), "decisions": means[0], "steps": means[1]}


def beats(candidate: Scorecard, champion: Scorecard, alpha: float) -> bool:
    """Return whether the candidate passed more seeds than the champion, and by more than chance explains at level `alpha`."""
    comparison = compare(candidate, champion)
    return comparison.gain > 0 and comparison.p_value <= alpha


def _interval(won: int, lost: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wald interval of a paired difference, with 1/2 added to each of the four cells (Agresti and Min, Stat. Med. 24, 2005).

    Without the 1/2 the interval would have no width where no seed differs.
    """
    more_won, more_lost, total = won + 0.5, lost + 0.5, n + 2
    middle = (more_won - more_lost) / total
    half = norm.ppf(0.975) * np.sqrt(more_won + more_lost - (more_won - more_lost) ** 2 / total) / total
    return float(max(middle - half, -1)), float(min(middle + half, 1))
