"""Frames per second of etude's camera, against the default rendering of the same environments: `python benchmarks/cameras.py`.

Both sides draw in one process, in turns. The table shows medians over the turns, and their ratio. Writes docs/results/cameras.json.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console
from rich.table import Table
from rollout import RESULTS, machine

from envs import EnvConfig
from envs.adapt import Adapter
from envs.simulate.render import mujoco

ENVS = ("Reacher-v5", "Pusher-v5", "HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "etude/Push-v0")
SIZES = (64, 128, 224)


def main(repeats: int = 5, seconds: float = 1.0) -> None:
    """Measure both sides, print the table and write the JSON file.

    Args:
        repeats: turns of each side.
        seconds: duration of a turn, which draws at least one frame.
    """
    rows, kept_open = [], []  # closing one Gymnasium renderer deletes buffers of whichever GL context is current, so all stay open
    for name in ENVS:
        for size in SIZES:
            # An environment that reports no success needs an expression for it; this one is never true.
            config = EnvConfig(id=name, size=size, success="total_reward > 1e9", kwargs=size_kwargs(name, size))
            default, adapter = default_env(name, size), Adapter(config)
            adapter.reset(0)
            turns = []
            for _ in range(repeats):
                make_current(default)
                turns.append((calls_per_second(default.render, seconds), calls_per_second(adapter.observe, seconds) * len(adapter.config.sources)))
            default_fps, fast_fps = np.median(np.array(turns), axis=0)
            figures = {"default": round(float(default_fps), 1), "fast": round(float(fast_fps), 1), "ratio": round(float(fast_fps / default_fps), 1)}
            rows.append({"env": name, "size": size, **figures})
            print(rows[-1], flush=True)
            kept_open.append(default)
    median_ratio = float(np.median([row["ratio"] for row in rows]))
    content = {"repeats": repeats, "rows": rows, "median_ratio": median_ratio, "machine": machine()}
    (RESULTS / "cameras.json").write_text(json.dumps(content, indent=1) + "\n")
    table = Table("environment", "pixels", "default, frames/s", "etude, frames/s", "ratio")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table, f"median ratio {median_ratio:.1f}")


def default_env(name: str, size: int) -> Any:
    """Return the environment as Gymnasium makes it, with its default quality of rendering, after a reset and a first frame.

    With `pretty` that is, for etude's own tasks, the quality in their XML file: a shadow map of 2048, and four samples a pixel.
    """
    if name.startswith("etude/"):
        env: Any = gymnasium.make(name, cameras=(), render_mode="rgb_array", render_size=size, pretty=True)
    else:
        env = gymnasium.make(name, render_mode="rgb_array", width=size, height=size)
    env.reset(seed=0)
    env.render()
    return env


def size_kwargs(name: str, size: int) -> dict[str, Any]:
    """Return the arguments of `gymnasium.make` that set the frame size in pixels; etude's own tasks need none."""
    return {} if name.startswith("etude/") else {"width": size, "height": size}


def make_current(env: Any) -> None:
    """Make the environment's GL context current. Gymnasium does not do this, as it assumes the only renderer of the process."""
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is not None:
        renderer.viewer.make_context_current()


def calls_per_second(function: Callable[[], Any], seconds: float) -> float:
    """Return how many times a second `function` returns, measured over at least `seconds`."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        function()
        count += 1
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    import tyro

    assert mujoco is not None  # its import above chooses the GL backend before Gymnasium imports MuJoCo
    tyro.cli(main)
