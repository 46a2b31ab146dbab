"""Any Gymnasium environment -> frames, instruction, state, success: one shape of observation for every policy."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

import envs
from envs import EnvConfig, render

SUCCESS_KEYS = ("is_success", "success", "won")  # tried in this order


@dataclass(frozen=True)
class Observation:
    """What a policy may see at one moment."""

    frames: np.ndarray
    """uint8[F, h, w, 3], RGB, one a camera."""
    instruction: str
    """What to do, in words; of this environment, never of another in the batch."""
    state: np.ndarray | None
    """float32[S], proprioception, where the environment gives it."""


@dataclass(frozen=True)
class Outcome:
    """What came of one chunk of actions."""

    observation: Observation
    """The moment after the last executed action."""
    rewards: np.ndarray
    """float32[H x action_repeat], one an environment step; NaN for the steps that the end of the episode cut off."""
    success: bool
    """Whether the environment reported success at any action of the chunk."""
    terminated: bool
    """The task came to an end: success, failure."""
    truncated: bool
    """Time ran out."""
    achieved: tuple[str, ...]
    """Instructions that the last state fulfils, where the environment names them."""


class Adapter:
    """One environment behind the shape above. It draws only when asked to observe, so a chunk costs one set of frames.

    Raises:
        ValueError: the id is unknown, a camera is missing, or no success key is found.
    """

    def __init__(self, config: EnvConfig) -> None:
        self.config = config
        kwargs = dict(config.kwargs)
        if config.id in envs.TASKS:
            kwargs["cameras"] = ()  # this class draws
        try:
            self.env = gymnasium.make(config.id, **kwargs)
        except (gymnasium.error.Error, ImportError, TypeError) as error:  # unknown id, missing package, unknown kwargs
            first = str(error).strip().splitlines()[0]
            raise ValueError(f"Environment {config.id!r} cannot be made ({first}); `etude tasks` lists our own.") from error
        inner: Any = self.env.unwrapped
        if not hasattr(inner, "model") or not hasattr(inner, "data"):
            raise ValueError(f"Environment {config.id!r} is not a MuJoCo environment (it has no model and data), so no camera of it can be drawn.")
        self.model, self.data = inner.model, inner.data
        known = [self.model.camera(i).name for i in range(self.model.ncam)]
        for name in config.cameras:
            if name not in known:
                raise ValueError(f"{config.id} has no camera {name!r}; it has {', '.join(map(repr, known))}.")
        self._source = str(getattr(inner, "source", config.id))
        self._past: deque[np.ndarray] = deque(maxlen=config.history)

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Return the environment's own action box."""
        space = self.env.action_space
        assert isinstance(space, gymnasium.spaces.Box)
        return space

    def reset(self, seed: int) -> Observation:
        """Begin the episode of `seed`; the same seed begins the same episode."""
        self._observation, self._info = self.env.reset(seed=seed)
        self._past.clear()
        return self.observe()

    def step(self, actions: np.ndarray, look: bool = True) -> Outcome:
        """Execute float32[H, A] actions, each `action_repeat` times, up to the episode's end, and only then look.

        Without `look` the old observation stays.
        """
        held = np.repeat(actions, self.config.action_repeat, axis=0)
        rewards, success, terminated, truncated = np.full(len(held), np.nan, np.float32), False, False, False
        for i, action in enumerate(held):
            self._observation, reward, terminated, truncated, self._info = self.env.step(action)
            rewards[i] = float(reward)
            if not np.isfinite(rewards[i]):
                raise ValueError(f"{self.config.id} returned the reward {reward}; rewards must be finite.")
            success |= self._success()
            if terminated or truncated:
                break
        if look:
            self.observe()
        return Outcome(self._seen, rewards, success, bool(terminated), bool(truncated), self.achieved)

    def film(self, size: int, pretty: bool = False) -> np.ndarray:
        """Return uint8[size, size, 3] of the first camera, for people."""
        return render.camera(self._source, self.model, (size, size), pretty).draw(self.model, self.data, self.config.cameras[0])

    def observe(self) -> Observation:
        """Draw the present moment as the policy sees it; each call is one moment of its history."""
        size = (self.config.size, self.config.size)
        drawn = render.camera(self._source, self.model, size)
        self._past.append(np.stack([drawn.draw(self.model, self.data, name) for name in self.config.cameras]))
        while len(self._past) < self.config.history:  # before the beginning nothing moved
            self._past.append(self._past[0])
        frames = np.concatenate(list(self._past))
        state = self._observation.get("state") if isinstance(self._observation, dict) else None
        instruction = self.config.instruction or str(self._info.get("instruction", ""))
        self._seen = Observation(frames, instruction, state)
        return self._seen

    @property
    def achieved(self) -> tuple[str, ...]:
        """Return the instructions that the present state fulfils, where the environment names them."""
        return tuple(self._info.get("achieved", ()))

    def oracle(self) -> np.ndarray:
        """Return the scripted expert's float32[A] action for the present state, to be held for `action_repeat` steps.

        Raises:
            ValueError: the environment has none.
        """
        inner: Any = self.env.unwrapped
        if not hasattr(inner, "oracle"):
            raise ValueError(f"{self.config.id} has no scripted oracle to demonstrate with; set demonstrate.episodes to 0.")
        return inner.oracle(self.config.action_repeat)

    def close(self) -> None:
        """Free the environment."""
        self.env.close()

    def _success(self) -> bool:
        for key in SUCCESS_KEYS:
            if key in self._info:
                return bool(np.asarray(self._info[key]).item())
        keys = ", ".join(map(repr, self._info)) or "nothing"
        raise ValueError(f"{self.config.id} reports no success: info needs one of {SUCCESS_KEYS}, and holds {keys}.")
