"""The proprioceptive state: numbers of the observation under one key or several (`env.state`)."""

from typing import Any

import numpy as np
from gymnasium import Space, spaces

from envs.frames import WHOLE, inside, lookup

DEFAULT = "state"  # the key that is read if `env.state` is empty; it need not exist


def state_size(space: Space, state: str | tuple[str, ...]) -> int:
    """Return S, the number of numbers in the state, by the observation space; 0 if that does not define it, or if no state is recorded.

    Args:
        space: the observation space.
        state: `env.state`, dotted keys of the observation. Empty: the key `state` if there is one, and no state if the observation is not a dict.
    """
    several = isinstance(space, spaces.Tuple) and bool(state)
    if not (several or isinstance(space, spaces.Dict)):
        return int(np.prod(space.shape or ())) if state else 0
    sizes = [_size(space, _place(key) if several else key) for key in keys(state)]
    return sum(sizes) if all(sizes) else 0


def state_box(space: Space, state: str | tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high of the state, float64[S] each, by the observation space; infinite where it does not tell. Arguments as of `state_size`."""
    size = state_size(space, state)
    parts = [inside(space, key)[0] for key in keys(state)] if size and isinstance(space, spaces.Dict) else [space]
    boxes = [part for part in parts if isinstance(part, spaces.Box)]
    if not size or len(boxes) < len(parts):
        return np.full(size, -np.inf), np.full(size, np.inf)
    low, high = (np.concatenate([np.float64(end).reshape(-1) for end in ends]) for ends in zip(*((box.low, box.high) for box in boxes), strict=True))
    return low, high


def _size(space: Space, key: str) -> int:
    """Return how many numbers a key of the observation has; 0 if the space does not say so."""
    space, rest = inside(space, key)
    return 0 if rest or space.shape is None else int(np.prod(space.shape))


def _place(key: str) -> str:
    """Return the path of a key in a tuple, whose parts are named by number, as cameras are: '1' or 'observation.1'; '' is the whole tuple."""
    path = key.removeprefix(f"{WHOLE}.")
    return path if path.partition(".")[0].isdecimal() else ""


def names(observation: Any) -> list[str]:
    """Return what `env.state` may name in an observation: its keys, or the numbers of its parts."""
    return [str(each) for each in (range(len(observation)) if isinstance(observation, tuple) else observation)]


def keys(state: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys that `env.state` names, or the default one."""
    return (state or DEFAULT,) if isinstance(state, str) else state or (DEFAULT,)


def read_state(observation: Any, state: str | tuple[str, ...]) -> np.ndarray | None:
    """Return the state, float32[S], a copy; None if there is none and `env.state` asks for none.

    Args:
        observation: of the environment. One that is neither a dict nor a tuple is the state itself, where `env.state` is given.
        state: `env.state`.

    Raises:
        KeyError: the observation lacks a key that `env.state` names.
        ValueError: what is there is no numbers.
    """
    if isinstance(observation, tuple) and state:
        return np.concatenate([_numbers(lookup(observation, _place(key)), repr(key)) for key in keys(state)])
    if not isinstance(observation, dict):
        return _numbers(observation, "the observation") if state else None
    if not state and DEFAULT not in observation:
        return None
    return np.concatenate([_numbers(lookup(observation, key), repr(key)) for key in keys(state)])


def has_state(observation: Any, state: str | tuple[str, ...]) -> bool:
    """Return whether there is a state to be read: `env.state` asks for one, or an observation holds numbers under the default key."""
    return bool(state) or (isinstance(observation, dict) and _holds_numbers(observation.get(DEFAULT)))


def _holds_numbers(value: Any) -> bool:
    try:
        return value is not None and np.asarray(value).dtype.kind in "biuf"
    except ValueError:  # a list of lists of different lengths
        return False


def _numbers(value: Any, name: str) -> np.ndarray:
    """Return a value as float32[n]; raise ValueError if it is no number, array or list of numbers."""
    if not _holds_numbers(value):
        within = "a part of numbers within it by its place, such as 'observation.1'" if isinstance(value, tuple) else "a key of numbers within it"
        raise ValueError(f"env.state reads {name}, which is a {type(value).__name__} and no numbers; name {within}.")
    return np.array(value, np.float32).reshape(-1)
