"""An environment with one thing wrong with it, for tests."""

import os
import time
from typing import Any, ClassVar

import gymnasium
import numpy as np


class Broken(gymnasium.Env):
    """Sound, but for one thing, from one step on."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space = gymnasium.spaces.Dict(
        {"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8), "state": gymnasium.spaces.Box(-1, 1, (2,))}  # type: ignore[arg-type]
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, kind: str, value: Any, at: int) -> None:
        self.kind, self.value, self.at, self.steps = kind, value, at, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.steps, self.sound = 0, seed == 0
        self._fail("reset")
        return self._see(), self._say()

    def step(self, action: np.ndarray):
        self.steps += 1
        self._fail("step")
        if self._is("returns"):
            return self.value
        return self._see(), self.value if self._is("reward") else 0.5, False, self.steps >= 6, self._say()

    def close(self) -> None:
        self._fail("close")

    def _is(self, kind: str) -> bool:
        return self.kind == kind and self.steps >= self.at and not getattr(self, "sound", True)

    def _fail(self, place: str) -> None:
        if self._is(place):
            raise self.value("it broke")
        if place != "close" and self._is("hang"):
            time.sleep(3600)
        if place != "close" and self._is("death"):
            os.kill(os.getpid(), self.value)

    def _see(self) -> Any:
        combine = {"eye": np.full((16, 16, 3), 40 * self.steps, np.uint8), "state": np.zeros(2)}
        if self._is("frame"):
            combine["eye"] = self.value
        if self._is("state"):
            combine["state"] = self.value
        return {} if self._is("keys") else combine

    def _say(self) -> Any:
        return self.value if self._is("info") else {"success": False, "instruction": "hold still"}
