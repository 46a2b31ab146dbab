"""Whether episodes end: by the time limit that an environment declares, or else by trying."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

LONGEST = 10_000  # environment steps: without a declared limit, a longer episode is a fault
ENDLESS = 100_000  # environment steps: a declared limit beyond it, such as the largest whole number, stands for none


def time_limit(env: gymnasium.Env) -> int | None:
    """Return the number of environment steps after which an environment truncates its episodes, or None if it does not declare one.

    The attributes below are tried in this order; the first positive number up to `ENDLESS` counts.
    """
    sources = (
        lambda: env.get_wrapper_attr("_max_episode_steps"),  # Gymnasium's TimeLimit
        lambda: env.spec.max_episode_steps,  # type: ignore[union-attr]
        lambda: env.get_wrapper_attr("max_episode_steps"),
        lambda: env.get_wrapper_attr("max_path_length"),  # Meta-World
        lambda: env.get_wrapper_attr("max_steps"),  # MiniGrid
        lambda: None if env.get_wrapper_attr("ignore_done") else env.get_wrapper_attr("horizon"),  # robosuite
        lambda: env.unwrapped._env._step_limit,  # type: ignore[attr-defined]  # dm_control in Shimmy
    )
    return next((limit for read in sources if (limit := _limit_from(read))), None)


def _limit_from(read: Callable[[], Any]) -> int | None:
    """Return the limit that `read` returns, rounded up; None if it raises, or returns no positive number up to `ENDLESS`."""
    try:
        limit = float(read())
    except Exception:  # no such attribute, or not a number; a property may raise anything
        return None
    return math.ceil(limit) if 0 < limit <= ENDLESS else None  # not NaN either


def needs_limit(adapter: Any, seed: int) -> str:
    """Return why an environment needs `env.max_episode_steps`, as a sentence that its title begins, without a full stop; empty if it does not.

    A limit is believed if Gymnasium's TimeLimit keeps it, as with `env.max_episode_steps`, or if the episodes of `endless` end by it.

    Args:
        adapter: an `Adapter`.
        seed: of the episodes.
    """
    limit = adapter.limit
    # A limit beyond `LONGEST` would take too long to try.
    if limit is not None and (limit > LONGEST or _is_kept(adapter.env) or not endless(adapter, seed, most=limit)):
        return ""
    head = "has no time limit" if limit is None else f"states a time limit of {limit} steps and does not keep it"
    return f"{head}, and {why}" if (why := endless(adapter, seed)) else ""


def _is_kept(env: Any) -> bool:
    """Return whether a wrapper of Gymnasium truncates the episodes."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            return True
        env = env.env
    return False


def endless(adapter: Any, seed: int, late: Callable[[], bool] = lambda: False, most: int = LONGEST) -> str:
    """Return why the episode of `seed` needs a time limit, as the end of a sentence; empty if it ends within `most` steps.

    Two policies are tried, without frames: random actions, and the middle of the action box at every step. A policy that stands still, as an
    untrained one may, must not wait for a success or a fall.

    Args:
        adapter: an `Adapter`, whose module imports this one.
        seed: of the episode.
        late: whether the time for it is over; an episode is then broken off before `most` steps, and counts as one that does not end.
        most: steps, up to `LONGEST`.
    """
    rng, middle = np.random.default_rng(0), (adapter.actions.low + adapter.actions.high) / 2
    policies = {"random actions": lambda: adapter.actions.sample(rng), "the middle of the action box at every step": lambda: middle}
    for name, act in policies.items():
        if steps := _steps_without_end(adapter, seed, act, late, most):
            return f"{name} ended no episode within {steps} steps; set env.max_episode_steps"
    return ""


def _steps_without_end(adapter: Any, seed: int, act: Callable[[], np.ndarray], late: Callable[[], bool], most: int) -> int:
    """Return 0 if the episode of `seed` ends within `most` steps of what `act` returns, or else how many steps were tried."""
    adapter.reset(seed, look=False)
    repeat = adapter.config.action_repeat
    for decision in range(1, 1 + min(most + repeat - 1, LONGEST) // repeat):  # the last decision has the last step
        outcome = adapter.step(act()[None], look=False)
        if outcome.terminated or outcome.truncated:
            return 0
        if late():
            return decision * repeat
    return most
