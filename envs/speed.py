"""Describes the speed of an environment for `envs.doctor`: its control rate in simulated time, and its speed on this machine."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from envs import rate
from envs.adapt import Adapter


def control_rate(adapter: Adapter) -> str:
    """Return a phrase with the environment steps per second of simulated time, and whether that number is only assumed."""
    assumed = "" if rate.control_rate(adapter.env) else " assumed: neither control_freq, dt nor metadata['render_fps'] gives a rate"
    return f"{adapter.rate:g} environment steps a second{assumed}"


def speed(adapter: Adapter, seed: int, decisions: int = 64) -> str:
    """Return a phrase with the environment steps and frames per second of real time on this machine.

    Args:
        adapter: the environment.
        seed: of the episodes.
        decisions: to time; half as many frames are drawn.
    """
    # Drawn in advance, so that only the environment is timed.
    actions = [adapter.actions.sample(np.random.default_rng(i))[None] for i in range(decisions)]
    adapter.reset(seed)
    steps, began = 0, time.perf_counter()
    for action in actions:
        outcome = adapter.step(action, look=False)
        steps += int(np.isfinite(outcome.rewards).sum())  # steps after the end of an episode are NaN
        if outcome.terminated or outcome.truncated:
            adapter.reset(seed)
    physics = steps / (time.perf_counter() - began)
    frames = _fps(lambda: adapter.render_frame(adapter.config.size), decisions // 2)
    found = f"{physics:,.0f} steps/s without frames (resets included), {frames:,.0f} frames/s"
    if adapter.mujoco_cameras[0] is not None:
        found += f" ({_fps(lambda: adapter.render_frame(adapter.config.size, pretty=True), 4):,.0f} with the model's own shadows and multisampling)"
    return found


def _fps(draw: Callable[[], Any], times: int) -> float:
    """Return calls of `draw` per second; a first call, which uploads the geometry, is not counted."""
    draw()
    began = time.perf_counter()
    for _ in range(times):
        draw()
    return times / (time.perf_counter() - began)
