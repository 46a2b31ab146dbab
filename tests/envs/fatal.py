"""An environment that hangs or ends its process, for tests."""

import os
import time
from typing import Any, ClassVar

import gymnasium
import numpy as np


class Fatal(gymnasium.Env):
    """Sound, but for seed 7: then the third step hangs, or ends the process."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})  # type: ignore[arg-type]
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, way: str, place: str = "step", seeds: tuple[int, ...] = (7,)) -> None:
        self.way, self.place, self.seeds = way, place, seeds
        self.seed_now: int | None = None
        self._end("init")

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.seed_now, self.place_now, self.steps = seed, np.zeros(2), 0
        self._end("reset")
        return self._see(), {"success": False, "instruction": "go on"}

    def step(self, action: np.ndarray):
        self.steps += 1
        self.place_now = self.place_now + action + self.np_random.normal(size=2)
        if self.steps == 3:
            self._end("step")
        return self._see(), float(self.place_now[0]), False, self.steps == 6, {"success": False, "instruction": "go on"}

    def close(self) -> None:
        self._end("close")

    def _see(self) -> dict[str, np.ndarray]:
        return {"eye": np.full((16, 16, 3), int(abs(self.place_now[1]) * 40) % 256, np.uint8)}

    def _end(self, place: str) -> None:
        if place != self.place or (place != "init" and self.seed_now not in self.seeds):
            return
        if self.way == "hang":
            time.sleep(3600)
        if self.way == "segfault":
            os.kill(os.getpid(), 11)
        os._exit(3)


def expert(env: gymnasium.Env, observation: Any) -> np.ndarray:
    """Go on for ever in thought, in the episode of seed 7."""
    if env.unwrapped.seed_now == 7:  # type: ignore[attr-defined]
        time.sleep(3600)
    return np.array([0.5, -0.5])


def stuck(env: gymnasium.Env, observation: Any) -> np.ndarray:
    """Go on for ever in thought, in every episode."""
    time.sleep(3600)
    raise AssertionError
