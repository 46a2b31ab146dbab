"""How fast an environment is, in words for the doctor: by its own clock, and on this machine."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from envs import rate
from envs.adapt import Adapter


def control_rate(adapter: Adapter) -> str:
    """Return environment steps a second of simulated time, and whether that is only assumed."""
    assumed = "" if rate.control_rate(adapter.env) else " assumed: neither control_freq, dt nor metadata['render_fps'] says it"
    return f"{adapter.rate:g} environment steps a second{assumed}"


def speed(adapter: Adapter, seed: int) -> str:
    """Return steps and frames a second on this machine, in episodes of a seed."""
    actions = [adapter.actions.sample(np.random.default_rng(i))[None] for i in range(64)]
    adapter.reset(seed)
    steps, began = 0, time.perf_counter()
    for action in actions:
        outcome = adapter.step(action, look=False)
        steps += int(np.isfinite(outcome.rewards).sum())
        if outcome.terminated or outcome.truncated:
            adapter.reset(seed)
    physics = steps / (time.perf_counter() - began)
    found = f"{physics:,.0f} steps/s without frames (resets included), {_draws(lambda: adapter.film(adapter.config.size), 32):,.0f} frames/s"
    if adapter.eyes[0] is not None:
        found += f" ({_draws(lambda: adapter.film(adapter.config.size, pretty=True), 4):,.0f} with the model's own shadows and multisampling)"
    return found


def _draws(draw: Callable[[], Any], times: int) -> float:
    """Return draws a second; the first one, which uploads the geometry, does not count."""
    draw()
    began = time.perf_counter()
    for _ in range(times):
        draw()
    return times / (time.perf_counter() - began)
