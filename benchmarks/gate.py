"""What the gate's rule is worth: loops of imagined policies whose true success is known, under several rules.

    python benchmarks/gate.py [--runs 400]

A policy is one number, its skill; it passes a seed with the chance 1 / (1 + exp(difficulty - skill)). Each cycle's challenger has the
champion's skill plus a Gaussian step: most steps are small, some are backwards, as fine-tuning near the top is. What counts is the true success of
the last champion. The exam is that of `agent.improve.gate`: the same seeds for both, McNemar's exact test, more seeds while the challenger may be
better, and other seeds in the next cycle.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from scipy.special import expit
from scipy.stats import binomtest

SPREAD, FIRST, STEP = (
    1.5,
    1.9,
    0.4,
)  # deviation of seeds' difficulties; skill of the first champion; deviation of a challenger's step
CYCLES = 6


@dataclass(frozen=True)
class Rule:
    """How a challenger is promoted."""

    alpha: float
    episodes: int
    prolong: int = 0
    fresh: bool = True
    """Each cycle has seeds of its own, which the champion sits anew, as in `agent.improve.gate`; else all have the same."""


RULES = [Rule(alpha, 200) for alpha in (0.3, 0.5, 1.0)] + [Rule(0.3, 400), Rule(0.3, 600), Rule(0.3, 200, 1), Rule(0.3, 200, 2)]
RULES += [Rule(0.3, 200, fresh=False), Rule(0.3, 600, fresh=False), Rule(0.3, 200, 2, fresh=False)]


@functools.cache
def p_value(won: int, lost: int) -> float:
    """Return McNemar's exact two-sided p."""
    return float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0


def loop(rule: Rule, drift: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return the true success of the last champion of one loop, in [0, 1], and how many exam episodes the loop had."""
    skill, sat, known = FIRST, 0, 0
    difficulty, champion = np.zeros(0), np.zeros(0, bool)
    exam: Callable[[float], np.ndarray] = lambda skill: rng.random(len(difficulty)) < expit(skill - difficulty)  # noqa: E731
    for cycle in range(CYCLES):
        if rule.fresh or not cycle:
            difficulty = rng.normal(0, SPREAD, rule.episodes * (1 + rule.prolong))
            champion, known = exam(skill), 0
        step = rng.normal(drift, STEP)
        challenger, count, won, lost = exam(skill + step), 0, 0, 0
        for part in range(1 + rule.prolong):
            count = rule.episodes * (1 + part)
            won, lost = (int((a[:count] & ~b[:count]).sum()) for a, b in ((challenger, champion), (champion, challenger)))
            if won <= lost or p_value(won, lost) <= rule.alpha:
                break
        sat, known = sat + count + max(count - known, 0), max(count, known)
        if won > lost and p_value(won, lost) <= rule.alpha:
            champion, known, skill = challenger, count, skill + step
    return truth(skill), sat


def truth(skill: float) -> float:
    """Return the share of all seeds that a policy passes."""
    return float(expit(skill - np.random.default_rng(0).normal(0, SPREAD, 20_000)).mean())


def main(runs: int = 400) -> None:
    """Print the table.

    Args:
        runs: loops a rule and drift.
    """
    drifts = (-0.2, 0.0, 0.15, 0.3)
    table = Table("alpha", "gate seeds", "prolonged", "new in each cycle", *(f"{drift:+} ± {STEP}" for drift in drifts), "exam episodes")
    for rule in RULES:
        cells, sat = [], []
        for drift in drifts:
            rng = np.random.default_rng(1)
            ends = [loop(rule, drift, rng) for _ in range(runs)]
            rates = [100 * rate for rate, _ in ends]
            cells.append(f"{np.mean(rates):.1f} % ± {np.std(rates) / np.sqrt(runs):.1f}")
            sat += [count for _, count in ends]
        table.add_row(str(rule.alpha), str(rule.episodes), str(rule.prolong), "yes" if rule.fresh else "no", *cells, f"{np.mean(sat):,.0f}")
    console = Console(width=140, highlight=False)
    console.print(
        f"True success of the last champion after {CYCLES} cycles; the first passes {100 * truth(FIRST):.1f} %, and its successors' steps are"
    )
    console.print(table)


if __name__ == "__main__":
    tyro.cli(main)
