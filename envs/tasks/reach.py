# ruff: noqa: D102 (a task's methods are documented where Stage declares them)
"""Reach: touch the ball that the instruction names. There are four balls of different colours on the table."""

import numpy as np

from envs.tasks.base import Stage, scatter
from envs.tasks.rewards import tolerance

BALLS = tuple(f"ball_{i}" for i in range(4))
RADIUS = 0.035  # a ball counts as touched when the distance from the tool to its centre is at most this, metres


class Reach(Stage):
    """Success: the tool is within 3.5 cm of the named ball's centre. Touching another ball costs only time."""

    source = "reach.xml"
    wordings = r"touch (.*)", r"reach \1", r"go to \1", r"bring the tool to \1"

    def arrange(self, rng: np.random.Generator) -> None:
        self.set_out(rng, BALLS, scatter(rng, len(BALLS), 0.09, (0.18, -0.20), (0.44, 0.20)))
        self._named = BALLS[rng.integers(len(BALLS))]
        self.instruction = f"touch the {self.colours[self._named]} ball"

    def distance(self, ball: str) -> float:
        """Return the distance from the tool to the centre of a ball, metres."""
        return float(np.linalg.norm(self.tool() - self.position(ball)))

    def achieved(self) -> list[str]:
        return [f"touch the {self.colours[ball]} ball" for ball in BALLS if self.distance(ball) <= RADIUS]

    def reward(self) -> float:
        return tolerance(self.distance(self._named), (0, RADIUS), margin=0.25)

    def oracle(self, steps: int = 1) -> np.ndarray:
        return self.towards(self.position(self._named), steps)
