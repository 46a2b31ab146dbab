"""Converts actions of any Gymnasium space to one flat float array and back."""

import reprlib
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

KINDS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class Actions:
    """Converts the actions of an environment to float32[A], the form in which policies return them, and back.

    Args:
        space: `Box` of any shape and bounds, `Discrete`, `MultiDiscrete` or `MultiBinary`.
        bounds: low and high of every action (`env.action_bounds`), for a `Box` with infinite or too wide bounds.

    Raises:
        ValueError: another kind of space, or a `Box` without finite bounds.
    """

    def __init__(self, space: gymnasium.Space, bounds: tuple[float, float] | None = None) -> None:
        self.space = space
        if isinstance(space, spaces.Box):
            low, high, counts = *_bounds(space, bounds), np.zeros(space.shape, np.int64)
        elif isinstance(space, spaces.Discrete):
            low, counts = np.array(space.start), np.array(space.n)  # a discrete space may begin at another number than 0
            high = low + counts - 1
        elif isinstance(space, spaces.MultiDiscrete):
            low, counts = np.asarray(space.start), np.asarray(space.nvec)
            high = low + counts - 1
        elif isinstance(space, spaces.MultiBinary):
            low, high, counts = np.zeros(space.shape), np.ones(space.shape), np.full(space.shape, 2)
        else:
            kind = type(space).__name__
            raise ValueError(f"Actions of type {kind} are not supported; wrap the environment so that they are a Box, Discrete or MultiDiscrete.")
        self.low, self.high = low.reshape(-1).astype(np.float64), high.reshape(-1).astype(np.float64)
        """float64[A], finite."""
        if not len(self):
            raise ValueError("Its action space has no dimension, so there is nothing to decide.")
        self.counts = counts.reshape(-1).astype(np.int64)
        """int64[A]: number of values of a discrete dimension; 0 where it is continuous."""

    def __len__(self) -> int:
        return len(self.low)

    def to_env(self, action: np.ndarray) -> Any:
        """Return an action, float[A], in the environment's own type and shape, clipped to its bounds and rounded if it is discrete."""
        clipped = np.clip(np.asarray(action, np.float64), self.low, self.high)
        scalar = isinstance(self.space, spaces.Discrete)
        dtype: Any = self.space.dtype
        if np.issubdtype(dtype, np.integer):  # a Box may hold integers too
            clipped = np.rint(clipped)
        return int(clipped[0]) if scalar else clipped.astype(dtype).reshape(self.space.shape or ())

    def from_env(self, action: Any) -> np.ndarray:
        """Return float32[A] for an action in the environment's own type, such as that of an expert.

        Raises:
            ValueError: the argument is not an action.
        """
        try:
            numbers = np.asarray(action, np.float64).reshape(-1)
        except (TypeError, ValueError):
            numbers = np.zeros(0)  # refused below
        if len(numbers) != len(self) or not (np.abs(numbers) <= np.finfo(np.float32).max).all():
            raise ValueError(f"the expert gave {reprlib.repr(action)}, and an action is {len(self)} finite numbers.")
        return numbers.astype(np.float32)

    def description(self) -> dict[str, Any]:
        """Return a description for a JSON file, from which `from_description` makes equal actions without an environment."""
        kind = next(kind.__name__ for kind in KINDS if isinstance(self.space, kind))
        bounds = {"low": self.low.tolist(), "high": self.high.tolist()}
        return {"kind": kind, **bounds, "shape": list(self.space.shape or ()), "dtype": str(self.space.dtype)}

    @classmethod
    def from_description(cls, content: dict[str, Any]) -> "Actions":
        """Return the actions that a result of `description` describes.

        Raises:
            ValueError: the kind of space is unknown.
        """
        shape, dtype = tuple(content["shape"]), np.dtype(content["dtype"])
        low, high = (np.array(content[name]).reshape(shape) for name in ("low", "high"))
        counts, start = (high - low + 1).astype(np.int64), low.astype(np.int64)
        constructors: dict[str, Callable[[], gymnasium.Space]] = {
            "Box": lambda: spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype.type),
            "Discrete": lambda: spaces.Discrete(int(counts), start=int(start)),
            "MultiDiscrete": lambda: spaces.MultiDiscrete(counts, start=start),
            "MultiBinary": lambda: spaces.MultiBinary(shape),
        }
        if content["kind"] not in constructors:
            raise ValueError(f"{content['kind']!r} is not a kind of actions; allowed are {', '.join(constructors)}.")
        actions = cls(constructors[content["kind"]]())
        # Set again in float64: a float32 Box rounds them, and the same action must have the same token as in the run.
        actions.low, actions.high = low.reshape(-1).astype(np.float64), high.reshape(-1).astype(np.float64)
        return actions

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random action, float32[A], uniform over the bounds or the discrete values."""
        drawn = rng.uniform(self.low, self.high)
        return np.where(self.counts > 0, self.low + np.floor(rng.random(len(self)) * self.counts), drawn).astype(np.float32)


def _bounds(space: spaces.Box, bounds: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 low and high of a `Box`, narrowed to `bounds`."""
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    if bounds is not None:
        low, high = np.maximum(low, bounds[0]), np.minimum(high, bounds[1])
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError("Its actions have infinite bounds; say which actions to use by env.action_bounds, for instance [-1, 1].")
    if (low > high).any():
        raise ValueError(f"env.action_bounds {list(bounds or ())} leave nothing of its action box; give a range that overlaps it.")
    return low, high
