"""Our own tasks: can they be solved, not by chance, and how fast do they run. Writes docs/results/tasks.json.

    python benchmarks/tasks.py

Then `python benchmarks/results.py table` puts it into docs/results.md.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from results import RESULTS, machine

from agent.run.files import write_text
from envs import TASKS, EnvConfig
from envs.adapt import Adapter

SEEDS = 71_000_000  # a range of its own
HELD = 4  # control steps that an action is held for, as in runs


def play(adapter: Adapter, seed: int, act: Callable[[], np.ndarray], look: bool = False) -> tuple[bool, int]:
    """Return whether an episode succeeded, and its decisions."""
    adapter.reset(seed, look=look)
    decisions, outcome = 0, None
    while outcome is None or not (outcome.terminated or outcome.truncated):
        outcome, decisions = adapter.step(act()[None], look=look), decisions + 1
    return outcome.success, decisions


def measure(task: str, seeds: int = 200, turns: int = 5) -> dict[str, Any]:
    """Return a task's figures: shares of `seeds`, mean decisions of the oracle, medians of `turns` timings."""
    rng = np.random.default_rng(0)
    held, single = Adapter(EnvConfig(id=task, action_repeat=HELD)), Adapter(EnvConfig(id=task, action_repeat=1))
    takes = [play(held, SEEDS + i, held.oracle) for i in range(seeds)]
    often = [play(single, SEEDS + i, single.oracle)[0] for i in range(seeds)]
    chance = [play(held, SEEDS + i, lambda: held.actions.sample(rng))[0] for i in range(seeds)]
    speeds = []
    for turn in range(turns):
        began, steps = time.perf_counter(), 0
        for i in range(10):
            steps += HELD * play(held, SEEDS + 1000 * turn + i, lambda: held.actions.sample(rng), look=True)[1]
        speeds.append(steps / (time.perf_counter() - began))
    held.reset(SEEDS)
    return {
        "instruction": held.instruction,
        "actions": len(held.actions),
        "oracle": float(np.mean([success for success, _ in takes])),
        "oracle_every_step": float(np.mean(often)),
        "decisions": float(np.mean([count for _, count in takes])),
        "random": float(np.mean(chance)),
        "steps_per_second": float(np.median(speeds)),
        "seeds": seeds,
    }


if __name__ == "__main__":
    found = {}
    for task in TASKS:
        found[task] = measure(task)
        print(task, found[task], flush=True)
    write_text(RESULTS / "tasks.json", json.dumps({"method": "tasks", "tasks": found, "machine": machine()}, indent=1) + "\n")
