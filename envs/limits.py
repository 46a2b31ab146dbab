"""Whether episodes end: the time limit that an environment declares, or what random actions show."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

LONGEST = 10_000  # environment steps of an episode where no limit is declared


def time_limit(env: gymnasium.Env) -> int | None:
    """Return after how many steps an environment says that its episodes are truncated; None where it does not say.

    Asked are `TimeLimit` wrappers and registered limits, Meta-World (`max_path_length`), MiniGrid (`max_steps`), robosuite (`horizon`, unless
    `ignore_done`), and the dm_control environment within (Shimmy).
    """
    words = (
        lambda: env.get_wrapper_attr("_max_episode_steps"),
        lambda: env.spec.max_episode_steps,  # type: ignore[union-attr]
        lambda: env.get_wrapper_attr("max_episode_steps"),
        lambda: env.get_wrapper_attr("max_path_length"),
        lambda: env.get_wrapper_attr("max_steps"),
        lambda: None if env.get_wrapper_attr("ignore_done") else env.get_wrapper_attr("horizon"),
        lambda: env.unwrapped._env._step_limit,  # type: ignore[attr-defined]
    )
    return next((limit for word in words if (limit := _asked(word))), None)


def _asked(word: Callable[[], Any]) -> int | None:
    try:
        limit = float(word())
    except Exception:  # it is not there, or is no number; a property may raise anything
        return None
    return math.ceil(limit) if math.isfinite(limit) and limit > 0 else None


def ends(adapter: Any, seed: int) -> bool:
    """Return whether random actions bring an `Adapter`'s episode to an end within `LONGEST` steps; frames are not drawn."""
    rng = np.random.default_rng(0)
    adapter.reset(seed, look=False)
    for _ in range(LONGEST // adapter.config.action_repeat):
        outcome = adapter.step(adapter.actions.sample(rng)[None], look=False)
        if outcome.terminated or outcome.truncated:
            return True
    return False
