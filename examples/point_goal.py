"""A dot on a plain, drawn with numpy: go to the disc that the instruction names. There is no simulator behind it, so a model sees pictures alone.

`etude check --config examples/point_goal.yaml`, then `etude improve examples/point_goal.yaml runs/point-goal`.
"""

from typing import Any, ClassVar

import gymnasium
import numpy as np

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 40), "blue": (40, 70, 220), "yellow": (235, 205, 30)}
MOVES = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)], np.float64)  # stay, left, right, up, down; y counts from the top
STEP, NEAR, DISC, DOT = 0.04, 0.08, 0.07, 0.04  # step, distance of success, radii, as shares of the picture's width


class PointGoal(gymnasium.Env):
    """Three discs of different colours, and a dot that moves by `STEP` in one of four directions, or stays.

    Args:
        size: height and width of the picture, pixels.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 10}  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, size: int = 64) -> None:
        self.action_space = gymnasium.spaces.Discrete(len(MOVES))
        self.observation_space = gymnasium.spaces.Dict({"pixels": gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)})
        self.pixel_yx = (np.indices((size, size)) + 0.5) / size

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Place the dot and three discs at random, none over another."""
        super().reset(seed=seed)
        while True:
            places = self.np_random.uniform(0.1, 0.9, (4, 2))
            if min(np.linalg.norm(places[i] - places[j]) for i in range(4) for j in range(i)) > 0.22:
                break
        self.names = self.np_random.permutation(list(COLOURS))[:3].tolist()  # the first is that of the goal
        self.discs, self.dot = places[:3], places[3]
        return self._look(), self._info()

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move the dot; the reward rises towards 1 at the goal."""
        self.dot = np.clip(self.dot + STEP * MOVES[int(action)], 0.04, 0.96)
        return self._look(), float(np.exp(-4 * self.distance)), False, False, self._info()

    def oracle(self, steps: int) -> int:
        """The expert: move along the longer side of the way to the goal."""
        way = self.discs[0] - self.dot
        if np.abs(way).max() < STEP * steps / 2:
            return 0
        axis = int(np.argmax(np.abs(way)))
        return 1 + 2 * axis + int(way[axis] > 0)

    @property
    def distance(self) -> float:
        """Return the distance from the dot to the disc that the instruction names."""
        return float(np.linalg.norm(self.discs[0] - self.dot))

    def _info(self) -> dict[str, Any]:
        words = f"go to the {self.names[0]} disc"
        return {"success": self.distance < NEAR, "instruction": words, "dot_xy": self.dot.copy(), "goal_xy": self.discs[0].copy()}

    def _look(self) -> dict[str, np.ndarray]:
        picture = np.full((*self.pixel_yx.shape[1:], 3), (225, 225, 215), np.uint8)
        for (x, y), name in zip(self.discs, self.names, strict=True):
            picture[np.hypot(self.pixel_yx[1] - x, self.pixel_yx[0] - y) < DISC] = COLOURS[name]
        picture[np.hypot(self.pixel_yx[1] - self.dot[0], self.pixel_yx[0] - self.dot[1]) < DOT] = (40, 40, 40)
        return {"pixels": picture}
