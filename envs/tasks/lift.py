# ruff: noqa: D102 (a task's methods are documented where Stage declares them)
"""Lift: grasp the block that the instruction names, and raise it. There are three blocks of different colours."""

import numpy as np

from envs.tasks.base import scatter
from envs.tasks.carry import CLOSED, HALF, HOVER, Carry
from envs.tasks.rewards import tolerance

BLOCKS = tuple(f"block_{i}" for i in range(3))
RISE = 0.06  # a block counts as lifted when its centre is this far above its height on the table, metres


class Lift(Carry):
    """Success: the named block's centre is 6 cm above its height on the table. Lifting another block costs only time."""

    source = "lift.xml"
    wordings = r"lift (.*)", r"pick up \1", r"raise \1", r"take \1 off the table"

    def arrange(self, rng: np.random.Generator) -> None:
        places = scatter(rng, len(BLOCKS), 0.10, (0.21, -0.17), (0.42, 0.17))
        self.set_out(rng, BLOCKS, places)
        self._named = BLOCKS[rng.integers(len(BLOCKS))]
        self.instruction = f"lift the {self.colours[self._named]} block"

    def rise(self, block: str) -> float:
        """Return how far a block's centre is above its height on the table, metres."""
        return float(self.position(block)[2]) - HALF

    def achieved(self) -> list[str]:
        return [f"lift the {self.colours[block]} block" for block in BLOCKS if self.rise(block) >= RISE]

    def reward(self) -> float:
        raised = tolerance(self.rise(self._named), (RISE, np.inf), margin=RISE)
        return 1.0 if raised == 1.0 else 0.5 * self.approach(self._named) + 0.5 * raised

    def oracle(self, steps: int = 1) -> np.ndarray:
        if not self.held(self._named):
            return self.fetch(self._named, steps)
        return self.towards(np.array([*self.tool()[:2], HOVER + RISE]), steps, CLOSED)  # above the height of success
