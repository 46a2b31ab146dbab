"""Frames per second of the fast camera against an environment's own default rendering: `python benchmarks/cameras.py`.

Both sides draw the same scenes of the same environments in one process, in turns, several times; medians and their ratio. Writes
docs/results/cameras.json.
"""

import json
import time
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
    """Measure, print, write.

    Args:
        repeats: turns of each side.
        seconds: of drawing in a turn, at least one frame.
    """
    rows, alive = [], []  # closing one Gymnasium renderer deletes buffers of whichever context is current, so all stay open
    for name in ENVS:
        for size in SIZES:
            plain, fast = default(name, size), Adapter(EnvConfig(id=name, size=size, success="total_reward > 1e9", kwargs=kwargs(name, size)))
            fast.reset(0)
            turns = []
            for _ in range(repeats):
                current(plain)
                turns.append((rate(plain.render, seconds), rate(fast.observe, seconds) * len(fast.config.sources)))
            slow, quick = np.median(np.array(turns), axis=0)
            figures = {"default": round(float(slow), 1), "fast": round(float(quick), 1), "ratio": round(float(quick / slow), 1)}
            rows.append({"env": name, "size": size, **figures})
            print(rows[-1], flush=True)
            alive.append(plain)
    typical = float(np.median([row["ratio"] for row in rows]))
    content = {"repeats": repeats, "rows": rows, "median_ratio": typical, "machine": machine()}
    (RESULTS / "cameras.json").write_text(json.dumps(content, indent=1) + "\n")
    table = Table("environment", "pixels", "default, frames/s", "fast, frames/s", "ratio")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table, f"median ratio {typical:.1f}")


def default(name: str, size: int) -> Any:
    """Return the environment as Gymnasium makes it, its quality as it comes, after a reset.

    Our own tasks' XML asks for nothing either, so MuJoCo's defaults hold for them too: a shadow map of 4096 and four samples a pixel.
    """
    if name.startswith("etude/"):
        env: Any = gymnasium.make(name, cameras=(), render_mode="rgb_array", render_size=size, pretty=True)
    else:
        env = gymnasium.make(name, render_mode="rgb_array", width=size, height=size)
    env.reset(seed=0)
    env.render()
    return env


def kwargs(name: str, size: int) -> dict[str, Any]:
    """Return what makes the environment draw at this size."""
    return {} if name.startswith("etude/") else {"width": size, "height": size}


def current(env: Any) -> None:
    """Make the environment's own GL context current; Gymnasium takes it for granted that nobody else draws in the process."""
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is not None:
        renderer.viewer.make_context_current()


def rate(draw: Any, seconds: float) -> float:
    """Return how often a second `draw` can be called."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        draw()
        count += 1
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    import tyro

    assert mujoco is not None  # the backend is chosen before Gymnasium imports MuJoCo
    tyro.cli(main)
