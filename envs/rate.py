"""How fast an environment runs: environment steps a second of simulated time."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium

ASSUMED = 20.0  # steps a second, where an environment says nothing


def control_rate(env: gymnasium.Env) -> float | None:
    """Return environment steps a second of simulated time, more than 0; None where the environment does not say.

    The words of an environment are asked in this order: `control_freq` in Hz (robosuite, ManiSkill), the control time step of the dm_control
    environment within (Shimmy), `dt` in seconds (Gymnasium MuJoCo, Gymnasium-Robotics, Meta-World, Pendulum), and `metadata["render_fps"]` last:
    it is rounded, some leave it to a constant (Shimmy: 10), and some only mean their window by it.
    """
    return next((rate for says in (_frequency, _dm_control, _dt, _render_fps) if (rate := _asked(says, env))), None)


def _frequency(env: gymnasium.Env) -> float:
    return float(env.get_wrapper_attr("control_freq"))


def _dm_control(env: gymnasium.Env) -> float:
    inner: Any = env.unwrapped
    return 1 / float(inner._env.control_timestep())


def _dt(env: gymnasium.Env) -> float:
    return 1 / float(env.get_wrapper_attr("dt"))


def _render_fps(env: gymnasium.Env) -> float:
    return float(env.metadata["render_fps"])


def _asked(says: Callable[[gymnasium.Env], float], env: gymnasium.Env) -> float | None:
    """Return the rate that one of these words gives, if it is there and is one."""
    try:
        rate = says(env)
    except Exception:  # it is not there, or is no number; a property may raise anything
        return None
    return round(rate, 6) if math.isfinite(rate) and rate > 0 else None  # a step of 0.05 s makes 20 a second, also where it is 25 x 0.002
