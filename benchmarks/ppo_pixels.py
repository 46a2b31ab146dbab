"""Success of PPO from pixels (Stable-Baselines3) after a time, on the final exam of `etude improve`.

    python benchmarks/ppo_pixels.py --task etude/Reach-v0 --seed 0 --minutes 10

Same frames, same instruction, same progress of the reward, same exam seeds; no pretraining, no demonstrations. Writes
docs/results/ppo-pixels-<task>-<seed>.json.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rollout import RESULTS, machine

import envs
from agent.records import SEEDS, Scorecard
from agent.run.files import write_text
from policies import sb3


def main(
    task: str = envs.TASKS[0],
    seed: int = 0,
    minutes: float = 10.0,
    exam: int = 400,
    num_envs: int = 16,
    threads: int = 2,
    cores: int = 0,
    out: Path | None = None,
) -> None:
    """Train, sit the exam, write the result.

    Args:
        task: Gymnasium id of one of our tasks.
        seed: of training.
        minutes: of each core's processor time, for training alone: what the wall clock shows where nothing else runs.
        exam: how many of the final exam's seeds.
        num_envs: environments at a time.
        threads: of torch.
        cores: that the time is counted for; 0: as many as threads. On one thread the time of two cores takes twice as long, and buys no less.
        out: JSON file; by default named after task and seed.
    """
    import torch

    torch.set_num_threads(threads)
    seeds, console = [SEEDS["final"] + i for i in range(exam)], Console(highlight=False)
    before = Scorecard("random", sb3.examine(at_random(seed, task), task, seeds, cameras=())).success
    console.print(f"random  {before}")
    clock = lambda: time.process_time() / (cores or threads)  # noqa: E731
    began = clock()
    model, curve = train(task, seed, minutes, num_envs, clock, console)
    trained = clock() - began
    passed = sb3.examine(sb3.greedy(model), task, seeds)
    after = Scorecard("ppo_pixels", passed).success
    console.print(f"PPO     {after}, after {model.num_timesteps:,} steps in {trained / 60:.1f} minutes")
    content = {
        "method": "ppo_pixels",
        "task": task,
        "seed": seed,
        "minutes": minutes,
        "env_steps": model.num_timesteps,
        "before": asdict(before),
        "after": asdict(after),
        "outcomes": "".join("01"[won] for won in passed.values()),
        "seconds": {"total": round(trained, 1)},
        "curve": curve,
        "settings": {"num_envs": num_envs, **sb3.PPO_SETTINGS},
        "machine": machine(),
    }
    file = out or RESULTS / f"ppo-pixels-{task.split('/')[-1].split('-')[0].lower()}-{seed}.json"
    write_text(file, json.dumps(content, indent=1) + "\n")
    console.print(f"written {file}")


def at_random(seed: int, task: str) -> sb3.Act:
    """Return a policy that draws uniformly from a task's action box, [-1, 1] in each of its numbers."""
    env = gymnasium.make(task)
    numbers = int(np.prod(env.action_space.shape or ()))
    env.close()
    rng = np.random.default_rng(seed)
    return lambda seen: rng.uniform(-1, 1, (len(seen["instruction"]), numbers)).astype(np.float32)


def train(task: str, seed: int, minutes: float, num_envs: int, clock: Callable[[], float], console: Console) -> tuple[Any, list[dict[str, float]]]:
    """Return the trained PPO and, for each rollout, env steps, seconds and the success of the last 100 training episodes."""
    curve: list[dict[str, float]] = []
    columns = (TextColumn("PPO {task.fields[note]}"), BarColumn(30), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=60 * minutes, note="")

        def watch(steps: int, figures: dict[str, float]) -> None:
            curve.append({"env_steps": steps, **{key: round(value, 3) for key, value in figures.items()}})
            rate = steps / figures["seconds"]
            note = f"{steps:,} steps, {rate:.0f}/s, success {100 * figures['success']:.0f} %"
            progress.update(bar, completed=figures["seconds"], note=note)

        return sb3.train_pixels(task, seed, 60 * minutes, num_envs, clock=clock, watch=watch), curve


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
