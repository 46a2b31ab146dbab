"""Episodes from which stage `ground` makes questions that need no simulator state: frames, actions, and what observation and info hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.adapt import Adapter
from envs.frames import lookup

LONGEST = 40  # decisions of a clip: an episode without a time limit must not fill the memory


@dataclass(frozen=True)
class Clip:
    """An episode of T decisions, each of one action."""

    instruction: str
    """'' where there is none."""
    frames: np.ndarray
    """uint8[T+1, F, h, w, 3], RGB."""
    actions: np.ndarray
    """float32[T, A], in the policy's bounds."""
    shown: bool
    """Whether the expert acted in all of them. Its actions are no answers: demonstrations alone teach them."""
    done: np.ndarray
    """bool[T+1], whether the instruction is fulfilled at each observation; False at the first one. A success may be lost again."""
    values: dict[str, np.ndarray]
    """What `ground.from` names: float64[T+1, n] each."""

    def __repr__(self) -> str:
        return f"Clip({self.instruction!r}, frames{self.frames.shape})"


def play(adapter: Adapter, seed: int, rng: np.random.Generator, expert: Callable[[Adapter], np.ndarray] | None, sources: Mapping[str, str]) -> Clip:
    """Return an episode of random motion, or in a third of the cases of the expert.

    Args:
        adapter: any environment.
        seed: of its reset.
        rng: of the motion.
        expert: an environment in its present state -> float32[A]; None: there is none.
        sources: `ground.from`.

    Raises:
        ValueError: `sources` names what is not there.
    """
    # `Experts` load this environment's expert here, before the reset: an import may take longer than `env.timeout` allows for a step.
    of = getattr(expert, "of", None)
    expert = of(adapter.config) if of else expert
    observation, shown = adapter.reset(seed), expert is not None and rng.random() < 0.34
    frames, actions, done, over = [observation.frames], [], [False], False
    values = {name: [read(adapter, name, source)] for name, source in sources.items()}
    drift = rng.uniform(-1, 1, len(adapter.actions))
    while not over and len(actions) < LONGEST:
        drawn = _wander(adapter, actions, drift, rng)
        actions.append(np.asarray(adapter.actions.from_env(expert(adapter)) if shown and expert else drawn, np.float32))
        outcome = adapter.step(actions[-1][None])
        over = outcome.terminated or outcome.truncated
        done.append(outcome.success_at_end)
        frames.append(outcome.observation.frames)
        for name, source in sources.items():
            values[name].append(read(adapter, name, source))
    known = {name: _stacked(each, name, sources[name]) for name, each in values.items()}
    return Clip(observation.instruction, np.stack(frames), np.stack(actions), shown, np.array(done), known)


def _wander(adapter: Adapter, before: list[np.ndarray], drift: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return float[A], a random action: noise around one direction for the whole episode, since pure noise would stay where it began.

    A discrete number keeps its value half of the time.
    """
    low, high, counts = adapter.actions.low, adapter.actions.high, adapter.actions.counts
    noisy = (high + low) / 2 + (high - low) / 2 * np.clip(drift + rng.normal(0, 0.7, drift.shape), -1, 1)
    kept = before[-1] if before and rng.random() < 0.5 else np.floor(rng.uniform(0, 1, drift.shape) * np.maximum(counts, 1)) + low
    return np.where(counts > 0, kept, noisy)


def _stacked(positions: Sequence[np.ndarray], name: str, source: str) -> np.ndarray:
    if len(sizes := {len(each) for each in positions}) > 1:
        raise ValueError(f"{_says(name, source)}, which is {min(sizes)} numbers at one moment and {max(sizes)} at another; name a position.")
    return np.stack(positions)


def check_alike(one: Clip, other: Clip, sources: Mapping[str, str]) -> None:
    """Raise ValueError if an entry of `ground.from` has more coordinates in one episode than in another."""
    for name, source in sources.items():
        _stacked([one.values[name][0], other.values[name][0]], name, source)


def _says(name: str, source: str) -> str:
    return f"ground.from says that {name!r} is {source!r}"


def read(adapter: Adapter, name: str, source: str) -> np.ndarray:
    """Return float64[n], the numbers that an environment's latest info or observation has for an entry of `ground.from`.

    Raises:
        ValueError: they are not there, or are no numbers.
    """
    kind, _, key = source.partition(".")
    if kind not in ("info", "observation"):
        raise ValueError(f"{_says(name, source)}; begin it with info. or observation., as in info.ball_xy.")
    held: Any = adapter.info if kind == "info" else adapter.raw
    try:
        numbers = np.asarray(lookup(held, key) if key else held, np.float64).reshape(-1)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        present = ", ".join(map(repr, held)) if isinstance(held, Mapping) else f"a {type(held).__name__}"
        raise ValueError(f"{_says(name, source)}, and {kind} holds {present}; name numbers that it holds.") from error
    if not 1 <= len(numbers) <= 3 or not np.isfinite(numbers).all():
        held = f"{len(numbers)} numbers" if len(numbers) > 3 else numbers.tolist()
        raise ValueError(f"{_says(name, source)}, which is {held}; name one to three finite numbers, a position.")
    return numbers
