"""Etude's own tasks: success of the oracle and of random actions, and speed. Writes docs/results/tasks.json.

    python benchmarks/tasks.py

Then `python benchmarks/results.py table` rewrites their table in docs/results.md.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rollout import RESULTS, machine

from agent.run.files import write_text
from envs import TASKS, EnvConfig
from envs.adapt import Adapter

SEEDS = 71_000_000  # first seed of a range that no run uses
HELD = 4  # environment steps for which an action is held, as in runs


def play(adapter: Adapter, seed: int, act: Callable[[], np.ndarray], look: bool = False) -> tuple[bool, int]:
    """Return whether the episode of a seed succeeded, and its number of decisions.

    Args:
        adapter: the environment.
        seed: of the reset.
        act: returns the next action, float32[A].
        look: whether to draw the frames of each decision.
    """
    adapter.reset(seed, look=look)
    decisions, outcome = 0, None
    while outcome is None or not (outcome.terminated or outcome.truncated):
        outcome, decisions = adapter.step(act()[None], look=look), decisions + 1
    return outcome.success, decisions


def measure(task: str, seeds: int = 200, repeats: int = 5) -> dict[str, Any]:
    """Return the figures of a task.

    Args:
        task: Gymnasium id.
        seeds: episodes behind each success rate and behind the mean number of decisions.
        repeats: timings, of which the median counts; each is of ten episodes with frames.
    """
    rng = np.random.default_rng(0)
    held, every_step = Adapter(EnvConfig(id=task, action_repeat=HELD)), Adapter(EnvConfig(id=task, action_repeat=1))
    oracle = [play(held, SEEDS + i, held.oracle) for i in range(seeds)]
    oracle_every_step = [play(every_step, SEEDS + i, every_step.oracle)[0] for i in range(seeds)]
    random = [play(held, SEEDS + i, lambda: held.actions.sample(rng))[0] for i in range(seeds)]
    speeds = []
    for repeat in range(repeats):
        began, steps = time.perf_counter(), 0
        for i in range(10):
            steps += HELD * play(held, SEEDS + 1000 * repeat + i, lambda: held.actions.sample(rng), look=True)[1]
        speeds.append(steps / (time.perf_counter() - began))
    held.reset(SEEDS)
    return {
        "instruction": held.instruction,
        "actions": len(held.actions),
        "oracle": float(np.mean([success for success, _ in oracle])),
        "oracle_every_step": float(np.mean(oracle_every_step)),
        "decisions": float(np.mean([decisions for _, decisions in oracle])),
        "random": float(np.mean(random)),
        "steps_per_second": float(np.median(speeds)),
        "seeds": seeds,
    }


if __name__ == "__main__":
    measured = {}
    for task in TASKS:
        measured[task] = measure(task)
        print(task, measured[task], flush=True)
    write_text(RESULTS / "tasks.json", json.dumps({"method": "tasks", "tasks": measured, "machine": machine()}, indent=1) + "\n")
