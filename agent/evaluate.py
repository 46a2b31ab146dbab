"""The exam: greedy episodes on held-out seeds -> scorecard, and the paired test that decides promotions."""

from collections.abc import Iterable
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


def exam_name(kind: str, policy: str, variation: str = "", cycle: int = 1, part: int = 0) -> str:
    """Return the name under which an exam is kept."""
    return f"{kind}-{policy}{f'-{variation}' if variation else ''}{f'-cycle-{cycle}' if cycle > 1 else ''}{f'-more-{part}' if part else ''}"


def gate_of(exam: str) -> tuple[str, int]:
    """Return whose gate exam, or part of it, has this name, and of which cycle; nobody's ('', 0), if it is another exam."""
    kind, policy, *rest = exam.split("-")
    return (policy, int(rest[1]) if rest[:1] == ["cycle"] else 1) if kind == "gate" else ("", 0)


def score(policy: str, episodes: Iterable[Episode]) -> Scorecard:
    """Return the scorecard of greedy episodes; a seed that the environment spoilt counts as failed."""
    return Scorecard(policy, {f"{e.task}/{e.seed}": e.success and not e.faults for e in episodes})


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


def before_and_after(before: Scorecard, after: Scorecard) -> dict[str, Any]:
    """Return both success rates and their comparison, as `summary.json` holds them for a part of the final exam."""
    return {"before": asdict(before.success), "after": asdict(after.success), **asdict(compare(after, before))}


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
