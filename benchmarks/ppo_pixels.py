"""Success of PPO from pixels (Stable-Baselines3) after a given time, on the test seeds of `etude improve`.

    python benchmarks/ppo_pixels.py --task etude/Reach-v0 --seed 0 --minutes 10

Frames, instruction, test seeds and the progress of the reward are those of etude. There is no pretraining, and there are no demonstrations.
Writes docs/results/ppo-pixels-<task>-<seed>.json.
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
    test_episodes: int = 400,
    num_envs: int = 16,
    threads: int = 2,
    cores: int = 0,
    out: Path | None = None,
) -> None:
    """Train, evaluate on the test seeds, and write the result.

    Args:
        task: Gymnasium id of one of etude's own tasks.
        seed: of training.
        minutes: of training, in processor time of each core; this equals wall-clock time where nothing else runs.
        test_episodes: number of test seeds.
        num_envs: environments stepped side by side.
        threads: torch threads.
        cores: cores over which processor time is divided; 0: `threads`. Example: 1 thread with 2 cores trains twice as long on one core.
        out: JSON file; by default it is named after task and seed.
    """
    import torch

    torch.set_num_threads(threads)
    seeds, console = [SEEDS["test"] + i for i in range(test_episodes)], Console(highlight=False)
    before = Scorecard("random", sb3.evaluate(random_policy(seed, task), task, seeds, cameras=())).success
    console.print(f"random  {before}")
    clock = lambda: time.process_time() / (cores or threads)  # noqa: E731
    began = clock()
    model, curve = train(task, seed, minutes, num_envs, clock, console)
    seconds = clock() - began
    outcomes = sb3.evaluate(sb3.greedy(model), task, seeds)
    after = Scorecard("ppo_pixels", outcomes).success
    console.print(f"PPO     {after}, after {model.num_timesteps:,} decisions in {seconds / 60:.1f} minutes")
    content = {
        "method": "ppo_pixels",
        "task": task,
        "seed": seed,
        "minutes": minutes,
        "env_steps": model.num_timesteps,  # counts decisions, each of `sb3.REPEAT` environment steps; so does the curve
        "before": asdict(before),
        "after": asdict(after),
        "outcomes": "".join("01"[passed] for passed in outcomes.values()),
        "seconds": {"total": round(seconds, 1)},
        "curve": curve,
        "settings": {"num_envs": num_envs, **sb3.PPO_SETTINGS},
        "machine": machine(),
    }
    file = out or RESULTS / f"ppo-pixels-{task.split('/')[-1].split('-')[0].lower()}-{seed}.json"
    write_text(file, json.dumps(content, indent=1) + "\n")
    console.print(f"written {file}")


def random_policy(seed: int, task: str) -> sb3.Act:
    """Return a policy that draws each number of an action uniformly from the task's action box, [-1, 1]."""
    env = gymnasium.make(task)
    numbers = int(np.prod(env.action_space.shape or ()))
    env.close()
    rng = np.random.default_rng(seed)
    return lambda observation: rng.uniform(-1, 1, (len(observation["instruction"]), numbers)).astype(np.float32)


def train(task: str, seed: int, minutes: float, num_envs: int, clock: Callable[[], float], console: Console) -> tuple[Any, list[dict[str, float]]]:
    """Return the trained PPO and its curve: after each rollout the decisions, the seconds and the success of the last 100 training episodes.

    Args:
        task: Gymnasium id.
        seed: of weights, sampling and training scenes.
        minutes: of training, by the clock.
        num_envs: environments stepped side by side.
        clock: returns seconds.
        console: for the progress bar.
    """
    curve: list[dict[str, float]] = []
    columns = (TextColumn("PPO {task.fields[note]}"), BarColumn(30), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=60 * minutes, note="")

        def watch(decisions: int, figures: dict[str, float]) -> None:
            curve.append({"env_steps": decisions, **{key: round(value, 3) for key, value in figures.items()}})
            rate = decisions / figures["seconds"]
            note = f"{decisions:,} decisions, {rate:.0f}/s, success {100 * figures['success']:.0f} %"
            progress.update(bar, completed=figures["seconds"], note=note)

        return sb3.train_pixels(task, seed, 60 * minutes, num_envs, clock=clock, watch=watch), curve


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
