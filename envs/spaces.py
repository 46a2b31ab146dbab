"""Converts actions of any Gymnasium space to one flat float array and back."""

import reprlib
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

KINDS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
LARGEST = float(np.finfo(np.float32).max)  # of a number that a policy returns
WIDEST = 1e6  # a stated bound beyond this is no bound: some environments write the largest float32 for infinity
EXACT = 1e-3  # a label of a discrete space may differ so much from a whole number
Bounds = tuple[float, float] | tuple[tuple[float, float], ...]  # of all dimensions, or of each


class Actions:
    """Converts the actions of an environment to float32[A], the form in which policies return them, and back.

    Args:
        space: `Box` of any shape and bounds, `Discrete`, `MultiDiscrete` or `MultiBinary`.
        bounds: low and high of all dimensions of a `Box`, or a pair of them for each (`env.action_bounds`). They replace the box, and may be wider.

    Raises:
        ValueError: another kind of space, a `Box` without finite bounds, or bounds that do not fit the space.
    """

    def __init__(self, space: gymnasium.Space, bounds: Bounds | str | None = None) -> None:
        self.space = space
        if isinstance(bounds, str):
            raise ValueError(
                "env.action_bounds quantiles are those of the demonstrations of a run (etude improve, etude check --config); give numbers."
            )
        if bounds is not None and isinstance(space, KINDS) and not isinstance(space, spaces.Box):
            raise ValueError(f"Its actions are {type(space).__name__}, whose values are fixed, and env.action_bounds is for a Box; remove that key.")
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
        dtype: Any = self.space.dtype
        if np.dtype(dtype).kind in "iub":  # a Box may hold integers or truth values too
            clipped = np.rint(clipped)
        if isinstance(self.space, spaces.Discrete):
            return dtype.type(clipped[0])  # no plain int: as `sample` of the space gives it
        return clipped.astype(dtype).reshape(self.space.shape or ())

    @property
    def form(self) -> str:
        """Return what an action is, for sentences: '2 finite numbers', '1 finite numbers, whole and of 0 to 4'."""
        labels = self.counts > 0
        if not labels.all():  # no space has both kinds
            return f"{len(self)} finite numbers"
        low, high = self.low.astype(np.int64), self.high.astype(np.int64)
        alike = len({*low.tolist()}) == len({*high.tolist()}) == 1
        allowed = f"of {low[0]} to {high[0]}" if alike else f"of {reprlib.repr(low.tolist())} to {reprlib.repr(high.tolist())}"
        return f"{len(self)} finite numbers, whole and {allowed}"

    def from_env(self, action: Any) -> np.ndarray:
        """Return float32[A] for an action in the environment's own type, such as that of an expert.

        Raises:
            ValueError: the argument is not an action; of a discrete space, also a label that it lacks. A `Box` may be exceeded.
        """
        try:
            numbers = np.asarray(action, np.float64).reshape(-1)
        except Exception:  # of any type: a tensor of PyTorch with a gradient raises a RuntimeError
            numbers = np.zeros(0)  # refused below
        if len(numbers) != len(self) or not (np.abs(numbers) <= np.finfo(np.float32).max).all() or self._lacks(numbers):
            raise ValueError(f"the expert gave {reprlib.repr(action)}, and an action is {self.form}.")
        return numbers.astype(np.float32)

    def _lacks(self, numbers: np.ndarray) -> bool:
        """Return whether a discrete dimension has no such value, float64[A]; `to_env` would give the nearest, in silence."""
        nearest = np.clip(np.rint(numbers), self.low, self.high)
        return bool((np.abs(numbers - nearest)[self.counts > 0] > EXACT).any())

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
        bounds = tuple(zip(content["low"], content["high"], strict=True))  # of any size, where env.action_bounds gave them
        actions = cls(constructors[content["kind"]](), bounds if content["kind"] == "Box" else None)
        # Set again in float64: a float32 Box rounds them, and the same action must have the same token as in the run.
        actions.low, actions.high = low.reshape(-1).astype(np.float64), high.reshape(-1).astype(np.float64)
        return actions

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random action, float32[A], uniform over the bounds or the discrete values."""
        drawn = rng.uniform(self.low, self.high)
        return np.where(self.counts > 0, self.low + np.floor(rng.random(len(self)) * self.counts), drawn).astype(np.float32)


def _bounds(space: spaces.Box, bounds: Bounds | None) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 low and high of a `Box`, or `bounds` in their place."""
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    if bounds is None:
        if not max(np.abs(low).max(initial=0), np.abs(high).max(initial=0)) <= WIDEST:  # NaN and infinity fail too
            name = "infinite bounds" if not (np.isfinite(low).all() and np.isfinite(high).all()) else f"bounds beyond {WIDEST:g}, which bound nothing"
            raise ValueError(f"Its actions have {name}; say which actions to use by env.action_bounds, for instance [-1, 1].")
        return low, high
    pairs = np.array(bounds, np.float64).reshape(-1, 2)
    if len(pairs) not in (1, low.size) and low.size:
        given = f"{len(pairs)} pairs, and its actions have {low.size} numbers"
        raise ValueError(f"env.action_bounds has {given}; give one pair for all of them, or one for each.")
    dtype: Any = space.dtype
    kind, least, most = np.dtype(dtype).kind, -LARGEST, LARGEST
    if kind in "iub":
        least, most = (0, 1) if kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not least <= pairs.min() <= pairs.max() <= most:
        raise ValueError(
            f"env.action_bounds holds {pairs.tolist()}, and its actions, of type {dtype}, cannot have all of that; give a narrower range."
        )
    return tuple(np.broadcast_to(column, low.size).reshape(low.shape).copy() for column in pairs.T)  # type: ignore[return-value]
