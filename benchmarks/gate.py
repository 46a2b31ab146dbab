"""What the gate's rule is worth: loops of imagined policies whose true success is known, under several rules.

    python benchmarks/gate.py loops [--runs 400]   # where loops of six cycles end, under several rules
    python benchmarks/gate.py errors               # how often one gate promotes a candidate that is truly as good, worse or better
    python benchmarks/gate.py table                # rewrite the table of `errors` in docs/learning.md from docs/results/gate.json

A policy is one number, its skill; it passes a seed with the chance 1 / (1 + exp(difficulty - skill)). Each cycle's challenger has the
champion's skill plus a Gaussian step: most steps are small, some are backwards, as fine-tuning near the top is. What counts is the true success of
the last champion. The exam is that of `agent.improve.gate`: the same seeds for both, McNemar's exact test, more seeds while the challenger may be
better, and other seeds in the next cycle.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from rollout import RESULTS, fill
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binomtest

from agent.run.files import write_text

SPREAD, FIRST, STEP = (
    1.5,
    1.9,
    0.4,
)  # deviation of seeds' difficulties; skill of the first champion; deviation of a challenger's step
CYCLES = 6
MARKS = "<!-- gate: begin (python benchmarks/gate.py table) -->", "<!-- gate: end -->"


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
        challenger = exam(skill + step)
        promoted, count = decide(rule, champion, challenger)
        sat, known = sat + count + max(count - known, 0), max(count, known)
        if promoted:
            champion, known, skill = challenger, count, skill + step
    return truth(skill), sat


def decide(rule: Rule, champion: np.ndarray, challenger: np.ndarray) -> tuple[bool, int]:
    """Return whether a gate promotes, and on how many seeds it looked; as `agent.evaluate.stage.gate` does.

    Args:
        rule: of the gate.
        champion: bool[N], what it passes of the seeds that the gate may look at.
        challenger: the same of the candidate.
    """
    count, promoted = 0, False
    for part in range(1 + rule.prolong):
        count = rule.episodes * (1 + part)
        won, lost = (int((a[:count] & ~b[:count]).sum()) for a, b in ((challenger, champion), (champion, challenger)))
        promoted = won > lost and p_value(won, lost) <= rule.alpha
        if promoted or won <= lost:
            break
    return promoted, count


def truth(skill: float) -> float:
    """Return the share of all seeds that a policy passes."""
    return float(expit(skill - np.random.default_rng(0).normal(0, SPREAD, 20_000)).mean())


def loops(runs: int = 400) -> None:
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


GATES = {  # what is shipped, and two stricter rules
    "the default (Lift, Slide, Turn)": Rule(0.3, 200, 2),
    "Meta-World, Fetch": Rule(0.3, 200, 1),
    "Place, Stack": Rule(0.5, 200, 2),
    "Push": Rule(0.5, 400, 1),
    "no further seeds": Rule(0.3, 200),
    "one-sided 5 %, 200 seeds": Rule(0.1, 200),
    "one-sided 5 %, 600 seeds": Rule(0.1, 600),
}
SUCCESS, GAINS = 0.7, (-0.05, 0.0, 0.02, 0.05, 0.1)  # true success of the champion; true gains of the candidate


def errors(trials: int = 4000) -> None:
    """Simulate one gate many times for each rule and true gain; write docs/results/gate.json.

    Args:
        trials: gates of each rule and gain.
    """
    rows = []
    skill: list[Any] = [brentq(lambda x, goal=SUCCESS + gain: truth(x) - goal, -20, 20) for gain in (0.0, *GAINS)]
    for name, rule in GATES.items():
        rates = []
        for candidate in skill[1:]:
            rng, seeds = np.random.default_rng(0), rule.episodes * (1 + rule.prolong)
            won = 0
            for _ in range(trials):
                difficulty = rng.normal(0, SPREAD, seeds)
                won += decide(rule, *(rng.random(seeds) < expit(each - difficulty) for each in (skill[0], candidate)))[0]
            rates.append(won / trials)
        rows.append({"gate": name, **asdict(rule), "promoted": rates})
        print(name, rates, flush=True)
    content = {"success": SUCCESS, "gains": GAINS, "trials": trials, "rows": rows}
    write_text(RESULTS / "gate.json", json.dumps(content, indent=1) + "\n")


def table() -> None:
    """Rewrite the table in docs/learning.md."""
    content = json.loads((RESULTS / "gate.json").read_text())
    lines = [f"| gate | alpha | seeds | further seeds | {' | '.join(f'{100 * gain:+.0f} points' for gain in content['gains'])} |"]
    lines.append("|---" * (4 + len(content["gains"])) + "|")
    for row in content["rows"]:
        cells = (row["gate"], row["alpha"], row["episodes"], row["prolong"] * row["episodes"], *(f"{100 * rate:.0f} %" for rate in row["promoted"]))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    fill(RESULTS.parent / "learning.md", MARKS, "\n".join(lines))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"loops": loops, "errors": errors, "table": table})
