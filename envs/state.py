"""The proprioceptive state: numbers of the observation under one key or several (`env.state`)."""

from typing import Any

import numpy as np
from gymnasium import Space, spaces

from envs.frames import lookup

DEFAULT = "state"  # the key that is read if `env.state` is empty; it need not exist


def state_size(space: Space, state: str | tuple[str, ...]) -> int:
    """Return S, the number of numbers in the state, by the observation space; 0 if that does not define it, or if no state is recorded.

    Args:
        space: the observation space.
        state: `env.state`, dotted keys of the observation. Empty: the key `state` if there is one, and no state if the observation is not a dict.
    """
    if not isinstance(space, spaces.Dict):
        return int(np.prod(space.shape or ())) if state else 0
    sizes = [_size(space, key) for key in keys(state)]
    return sum(sizes) if all(sizes) else 0


def _size(space: Space, key: str) -> int:
    """Return how many numbers a key of the observation has; 0 if the space does not say so."""
    for name in key.split("."):
        if not isinstance(space, spaces.Dict) or name not in space.spaces:
            return 0
        space = space[name]
    return 0 if space.shape is None else int(np.prod(space.shape))


def keys(state: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys that `env.state` names, or the default one."""
    return (state or DEFAULT,) if isinstance(state, str) else state or (DEFAULT,)


def read_state(observation: Any, state: str | tuple[str, ...]) -> np.ndarray | None:
    """Return the state, float32[S], a copy; None if there is none and `env.state` asks for none.

    Args:
        observation: of the environment. One that is no dict is the state itself, where `env.state` is given.
        state: `env.state`.

    Raises:
        KeyError: the observation lacks a key that `env.state` names.
    """
    if not isinstance(observation, dict):
        return np.array(observation, np.float32).reshape(-1) if state else None
    if not state and DEFAULT not in observation:
        return None
    return np.concatenate([np.array(lookup(observation, key), np.float32).reshape(-1) for key in keys(state)])
