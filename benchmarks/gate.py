"""How well the gate's rule decides: simulated policies of known true success, under several rules.

    python benchmarks/gate.py loops [--runs 400]   # true success after loops of six cycles, under several rules
    python benchmarks/gate.py errors               # how often one gate promotes a candidate of a given true gain
    python benchmarks/gate.py table                # rewrites the table of `errors` in docs/learning.md from docs/results/gate.json

A policy is one number, its skill. It passes a seed with probability 1 / (1 + exp(difficulty - skill)).
The candidate of a cycle has the champion's skill plus a Gaussian step. Most steps are small and some are negative, as in fine-tuning.
The result of a loop is the true success of its last champion.
The gate is that of `agent.evaluate.stage.gate`. Both policies have the same seeds, and McNemar's exact test decides.
There are extra rounds of seeds while the candidate is ahead without being promoted. Each cycle has new seeds.
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

SPREAD = 1.5  # standard deviation of the difficulties of seeds
FIRST = 1.9  # skill of the first champion
STEP = 0.4  # standard deviation of a candidate's step
CYCLES = 6
MARKS = "<!-- gate: begin (python benchmarks/gate.py table) -->", "<!-- gate: end -->"


@dataclass(frozen=True)
class Rule:
    """When a candidate is promoted; `alpha`, `episodes` and `extra_rounds` as in the config section `evaluate`."""

    alpha: float
    episodes: int
    extra_rounds: int = 0
    fresh: bool = True
    """Whether each cycle has new seeds, on which the champion is evaluated again, as in a run. Else all cycles have the same seeds."""


RULES = [Rule(alpha, 200) for alpha in (0.3, 0.5, 1.0)] + [Rule(0.3, 400), Rule(0.3, 600), Rule(0.3, 200, 1), Rule(0.3, 200, 2)]
RULES += [Rule(0.3, 200, fresh=False), Rule(0.3, 600, fresh=False), Rule(0.3, 200, 2, fresh=False)]


@functools.cache
def p_value(won: int, lost: int) -> float:
    """Return the two-sided p of McNemar's exact test.

    Args:
        won: number of seeds that the candidate alone passes.
        lost: number of seeds that the champion alone passes.
    """
    return float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0


def loop(rule: Rule, drift: float, rng: np.random.Generator) -> tuple[float, int]:
    """Simulate one loop; return the true success of its last champion, in [0, 1], and the number of evaluation episodes.

    Args:
        rule: of the gate.
        drift: mean of a candidate's step.
        rng: of steps, difficulties and outcomes.
    """
    skill, episodes, evaluated = FIRST, 0, 0  # `evaluated`: the number of present seeds that the champion already has an outcome for
    difficulty, champion = np.zeros(0), np.zeros(0, bool)
    outcomes: Callable[[float], np.ndarray] = lambda skill: rng.random(len(difficulty)) < expit(skill - difficulty)  # noqa: E731
    for cycle in range(CYCLES):
        if rule.fresh or not cycle:
            difficulty = rng.normal(0, SPREAD, rule.episodes * (1 + rule.extra_rounds))
            champion, evaluated = outcomes(skill), 0
        step = rng.normal(drift, STEP)
        candidate = outcomes(skill + step)
        promoted, count = decide(rule, champion, candidate)
        episodes, evaluated = episodes + count + max(count - evaluated, 0), max(count, evaluated)
        if promoted:
            champion, evaluated, skill = candidate, count, skill + step
    return true_success(skill), episodes


def decide(rule: Rule, champion: np.ndarray, candidate: np.ndarray) -> tuple[bool, int]:
    """Return whether the gate promotes the candidate, and the number of seeds that it used, as `agent.evaluate.stage.gate` does.

    Args:
        rule: of the gate.
        champion: bool[N], success on each seed that the gate may use.
        candidate: bool[N], the same for the candidate.
    """
    count, promoted = 0, False
    for part in range(1 + rule.extra_rounds):
        count = rule.episodes * (1 + part)
        won, lost = (int((a[:count] & ~b[:count]).sum()) for a, b in ((candidate, champion), (champion, candidate)))
        promoted = won > lost and p_value(won, lost) <= rule.alpha
        if promoted or won <= lost:
            break
    return promoted, count


def true_success(skill: float) -> float:
    """Return a policy's mean probability of success over all seeds, by 20,000 fixed draws of their difficulty."""
    return float(expit(skill - np.random.default_rng(0).normal(0, SPREAD, 20_000)).mean())


def loops(runs: int = 400) -> None:
    """Simulate loops under each rule, and print the table.

    Args:
        runs: number of loops for each rule and each mean step.
    """
    drifts = (-0.2, 0.0, 0.15, 0.3)
    steps = [f"{drift:+} ± {STEP}" for drift in drifts]
    table = Table("alpha", "gate seeds", "extra rounds", "new seeds in each cycle", *steps, "evaluation episodes")
    for rule in RULES:
        cells, episodes = [], []
        for drift in drifts:
            rng = np.random.default_rng(1)
            ends = [loop(rule, drift, rng) for _ in range(runs)]
            rates = [100 * rate for rate, _ in ends]
            cells.append(f"{np.mean(rates):.1f} % ± {np.std(rates) / np.sqrt(runs):.1f}")
            episodes += [count for _, count in ends]
        table.add_row(str(rule.alpha), str(rule.episodes), str(rule.extra_rounds), "yes" if rule.fresh else "no", *cells, f"{np.mean(episodes):,.0f}")
    console = Console(width=140, highlight=False)
    console.print(f"True success of the last champion after {CYCLES} cycles, by mean and deviation of a candidate's step in skill.")
    console.print(f"The first champion passes {100 * true_success(FIRST):.1f} %.")
    console.print(table)


GATES = {  # those of the shipped configs, then gates to compare them with
    "the default (Lift, Slide, Turn)": Rule(0.3, 200, 2),
    "Meta-World, Fetch": Rule(0.3, 200, 1),
    "Place, Stack": Rule(0.5, 200, 2),
    "Push": Rule(0.5, 400, 1),
    "PandaReach": Rule(0.3, 80, 1),
    "PushT": Rule(0.3, 100, 1),
    "SmolLM2": Rule(0.3, 100),
    "robosuite, LIBERO": Rule(0.3, 60),
    "no further seeds": Rule(0.3, 200),
    "one-sided 5 %, 200 seeds": Rule(0.1, 200),
    "one-sided 5 %, 600 seeds": Rule(0.1, 600),
}
SUCCESS, GAINS = 0.7, (-0.05, 0.0, 0.02, 0.05, 0.1)  # true success of the champion; true gains of the candidate


def errors(simulations: int = 4000) -> None:
    """Simulate one gate many times for each rule and true gain; write docs/results/gate.json.

    Args:
        simulations: number of gates for each rule and gain.
    """
    rows = []
    skills: list[Any] = [brentq(lambda x, goal=SUCCESS + gain: true_success(x) - goal, -20, 20) for gain in (0.0, *GAINS)]
    for name, rule in GATES.items():
        rates = []
        for candidate in skills[1:]:
            rng, seeds = np.random.default_rng(0), rule.episodes * (1 + rule.extra_rounds)
            promoted = 0
            for _ in range(simulations):
                difficulty = rng.normal(0, SPREAD, seeds)
                promoted += decide(rule, *(rng.random(seeds) < expit(skill - difficulty) for skill in (skills[0], candidate)))[0]
            rates.append(promoted / simulations)
        rows.append({"gate": name, **asdict(rule), "promoted": rates})
        print(name, rates, flush=True)
    content = {"success": SUCCESS, "gains": GAINS, "simulations": simulations, "rows": rows}
    write_text(RESULTS / "gate.json", json.dumps(content, indent=1) + "\n")


def table() -> None:
    """Rewrite the table in docs/learning.md."""
    content = json.loads((RESULTS / "gate.json").read_text())
    lines = [f"| gate | alpha | seeds | further seeds | {' | '.join(f'{100 * gain:+.0f} points' for gain in content['gains'])} |"]
    lines.append("|---" * (4 + len(content["gains"])) + "|")
    for row in content["rows"]:
        further = row["extra_rounds"] * row["episodes"]
        cells = (row["gate"], row["alpha"], row["episodes"], further, *(f"{100 * rate:.0f} %" for rate in row["promoted"]))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    fill(RESULTS.parent / "learning.md", MARKS, "\n".join(lines))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"loops": loops, "errors": errors, "table": table})
