"""The exam: greedy episodes on held-out seeds -> scorecard, and the paired test that decides promotions."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from agent.records import Episode, Scorecard


@dataclass(frozen=True)
class Comparison:
    """Two policies on the same seeds."""

    gain: float
    """Difference of the success rates, in [-1, 1]."""
    low: float
    high: float
    """Its 95 % interval (Agresti and Min 2005, paired)."""
    p_value: float
    """Exact two-sided McNemar test."""
    won: int
    """Seeds that only the challenger passed."""
    lost: int
    """Seeds that only the champion passed."""

    def __str__(self) -> str:
        return f"{100 * self.gain:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}], p = {self.p_value:.2g}"


def score(policy: str, episodes: Iterable[Episode]) -> Scorecard:
    """Return the scorecard of greedy episodes; a seed that the environment spoilt counts as failed."""
    done = {f"{episode.task}/{episode.seed}": episode for episode in episodes}
    return Scorecard(policy, {key: e.success and not e.faults for key, e in done.items()}, {key: _effort(e) for key, e in done.items()})


def _effort(episode: Episode) -> tuple[int, int]:
    """Return the decisions and the environment steps of an episode, up to the decision that succeeded, if one did."""
    decisions = len(episode) if episode.first_success is None else episode.first_success + 1
    return decisions, int((~np.isnan(episode.rewards[:decisions])).sum())


def compare(challenger: Scorecard, champion: Scorecard) -> Comparison:
    """Return how the challenger does against the champion on the same seeds.

    Raises:
        ValueError: the two sat different exams.
    """
    if challenger.outcomes.keys() != champion.outcomes.keys():
        raise ValueError("These two scorecards are from different exam seeds and cannot be compared; run both exams anew.")
    won = sum(passed and not champion.outcomes[key] for key, passed in challenger.outcomes.items())
    lost = sum(champion.outcomes[key] and not passed for key, passed in challenger.outcomes.items())
    n = len(challenger.outcomes)
    p_value = float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0
    low, high = _interval(won, lost, n)
    return Comparison((won - lost) / n, low, high, p_value, won, lost)


def standing(card: Scorecard) -> dict[str, Any]:
    """Return a success rate with its interval and n, and what a success took on average: decisions and environment steps; None where unknown."""
    took = [card.effort[key] for key, passed in card.outcomes.items() if passed and key in card.effort]
    decisions, steps = np.mean(took, axis=0).round(3).tolist() if took else (None, None)
    return {**asdict(card.success), "decisions_to_success": decisions, "steps_to_success": steps}


def account(starts: Mapping[str, Scorecard], after: Scorecard) -> dict[str, Any]:
    """Return what `summary.json` says of a test evaluation: each start, the last champion, and how it does against the better of the starts.

    Args:
        starts: `base`, and `warm_start` where something was imitated. The better of them is `before`: a gain over the other would be no gain.
        after: of the last champion, on the same seeds.
    """
    better = max(starts, key=lambda name: starts[name].success.rate)  # the base, where both pass as many
    comparison, stood = compare(after, starts[better]), {name: standing(card) for name, card in starts.items()}
    ends = {"gain_low": comparison.low, "gain_high": comparison.high, "p_value": comparison.p_value, "won": comparison.won, "lost": comparison.lost}
    gained = {"gain": comparison.gain, **ends, "both_pass": _both_pass(starts[better], after)}
    return {**stood, "before": stood[better], "before_is": better, "after": standing(after), **gained}


def _both_pass(before: Scorecard, after: Scorecard) -> dict[str, Any]:
    """Return on how many seeds both succeed, and how many decisions and environment steps each needs there on average: before, then after."""
    keys = [key for key in before.effort.keys() & after.effort.keys() if before.outcomes[key] and after.outcomes[key]]
    took = np.array([[card.effort[key] for key in keys] for card in (before, after)], np.float64).reshape(2, -1, 2)
    means = took.mean(1).round(3).T.tolist() if keys else ([], [])
    return {"n": len(keys), "decisions": means[0], "steps": means[1]}


def beats(challenger: Scorecard, champion: Scorecard, alpha: float) -> bool:
    """Return whether the challenger passed more seeds than the champion, and by more than chance explains at level `alpha`."""
    comparison = compare(challenger, champion)
    return comparison.gain > 0 and comparison.p_value <= alpha


def _interval(won: int, lost: int, n: int) -> tuple[float, float]:
    """Wald interval of a paired difference after adding 1/2 to each of the four cells (Agresti and Min, Stat. Med. 24, 2005)."""
    won_, lost_, n_ = won + 0.5, lost + 0.5, n + 2
    middle = (won_ - lost_) / n_
    half = norm.ppf(0.975) * np.sqrt(won_ + lost_ - (won_ - lost_) ** 2 / n_) / n_
    return float(max(middle - half, -1)), float(min(middle + half, 1))
