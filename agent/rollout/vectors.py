"""The numbers of an observation, without its pictures: what an expert is trained on."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.spaces.utils import flatdim, flatten

Leaf = tuple[tuple[str | int, ...], gymnasium.Space]
"""The keys that lead to a part of an observation, and its space."""


def low_dimensional(space: gymnasium.Space) -> tuple[gymnasium.Space, dict[str, list[Leaf]]]:
    """Return the space of an observation's vectors, and the parts of each by its key: all that is no picture and no text.

    The key is '' where the observation is no dict, and so all of it is one vector.

    Raises:
        ValueError: it has pictures or texts alone.
    """
    parts = space.items() if isinstance(space, Dict) else [("", space)]
    leaves = {name: found for name, part in parts if (found := list(_leaves(part, (name,) if name else ())))}
    if not leaves:
        raise ValueError("Its observation has nothing low-dimensional, so no expert can be trained on it; name a script in demonstrate.expert.")
    # The bounds are infinite since Stable-Baselines3 scales no vector by them.
    sizes = {name: sum(flatdim(part) for _, part in found) for name, found in leaves.items()}
    flat = {name: Box(-np.inf, np.inf, (size,), np.float32) for name, size in sizes.items()}
    return flat[""] if "" in flat else Dict(flat), leaves  # type: ignore[arg-type]


def _leaves(space: gymnasium.Space, path: tuple[str | int, ...]) -> Iterator[Leaf]:
    """Yield the parts of a nested space that are numbers and no picture, with the keys that lead to them."""
    if isinstance(space, Dict | Tuple):
        for key, part in space.items() if isinstance(space, Dict) else enumerate(space):
            yield from _leaves(part, (*path, key))
    elif isinstance(space, Discrete | MultiDiscrete | MultiBinary) or (isinstance(space, Box) and not _is_picture(space)):
        yield path, space


def _is_picture(space: Box) -> bool:
    return len(space.shape) > 2 or (len(space.shape) == 2 and space.dtype == np.uint8)


def vector(observation: Any, leaves: list[Leaf]) -> np.ndarray:
    """Return parts of an observation as one float32[n]; a choice among several is zeros and a one."""
    parts = []
    for path, space in leaves:
        value = observation
        for key in path:
            value = value[key]
        parts.append(np.asarray(flatten(space, np.asarray(value) if isinstance(space, Box) else value), np.float32))
    return np.concatenate(parts)
