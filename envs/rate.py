"""The control rate of an environment: environment steps per second of simulated time."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium

ASSUMED = 20.0  # environment steps per second, for environments that declare no rate


def control_rate(env: gymnasium.Env) -> float | None:
    """Return environment steps per second of simulated time, more than 0; None if the environment declares none.

    These are tried in order:

    | source | unit | environments |
    |---|---|---|
    | `control_freq`, `control_hz` | Hz | robosuite, ManiSkill; PushT, whose `dt` is a step of the physics |
    | the wrapped environment's `control_timestep()` | s | dm_control behind Shimmy |
    | `dt` | s | Gymnasium MuJoCo, Gymnasium-Robotics, Meta-World, Pendulum |
    | `metadata["render_fps"]` | Hz | others; last, as it is rounded, a constant (Shimmy: 10), or only the speed of a window |
    """
    return next((rate for read in (_frequency, _hertz, _dm_control, _dt, _render_fps) if (rate := _rate_from(read, env))), None)


def _frequency(env: gymnasium.Env) -> float:
    return float(env.get_wrapper_attr("control_freq"))


def _hertz(env: gymnasium.Env) -> float:
    return float(env.get_wrapper_attr("control_hz"))


def _dm_control(env: gymnasium.Env) -> float:
    inner: Any = env.unwrapped
    return 1 / float(inner._env.control_timestep())


def _dt(env: gymnasium.Env) -> float:
    return 1 / float(env.get_wrapper_attr("dt"))


def _render_fps(env: gymnasium.Env) -> float:
    return float(env.metadata["render_fps"])


def _rate_from(read: Callable[[gymnasium.Env], float], env: gymnasium.Env) -> float | None:
    """Return the rate in Hz that `read` returns; None if it raises, or returns no positive number."""
    try:
        rate = read(env)
    except Exception:  # no such attribute, or not a number; a property may raise anything
        return None
    return round(rate, 6) if math.isfinite(rate) and rate > 0 else None  # 1 / (25 * 0.002) is not exactly 20
