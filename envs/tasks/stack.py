# ruff: noqa: D102 (a task's methods are documented where Stage declares them)
"""Stack: put one named block on another. There is a third block, which the instruction does not name."""

import itertools

import numpy as np

from envs.tasks.base import scatter
from envs.tasks.carry import HALF, Carry

BLOCKS = tuple(f"block_{i}" for i in range(3))
RADIUS = 0.02  # a block is on another when the horizontal distance of their centres is at most this, metres


class Stack(Carry):
    """Success: the first named block stands on the second, their centres within 2 cm horizontally, and no finger touches it."""

    source = "stack.xml"
    wordings = r"stack (.*) on (.*)", r"put \1 on top of \2", r"place \1 onto \2", r"set \1 upon \2"

    def arrange(self, rng: np.random.Generator) -> None:
        places = scatter(rng, len(BLOCKS), 0.10, (0.21, -0.16), (0.41, 0.16))
        self.set_out(rng, BLOCKS, places)
        self._upper, self._lower = (BLOCKS[i] for i in rng.permutation(len(BLOCKS))[:2])
        self.instruction = self._sentence(self._upper, self._lower)

    def _sentence(self, upper: str, lower: str) -> str:
        return f"stack the {self.colours[upper]} block on the {self.colours[lower]} block"

    def spot(self, lower: str) -> np.ndarray:
        """Return the position of the centre of a block that rests on the block `lower`, float64[3], metres."""
        return self.position(lower) + np.array([0, 0, 2 * HALF])

    def achieved(self) -> list[str]:
        pairs = itertools.permutations(BLOCKS, 2)
        return [self._sentence(upper, lower) for upper, lower in pairs if self.rests(upper, self.spot(lower), RADIUS)]

    def reward(self) -> float:
        spot = self.spot(self._lower)
        return 1.0 if self.rests(self._upper, spot, RADIUS) else self.progress(self._upper, spot)

    def oracle(self, steps: int = 1) -> np.ndarray:
        return self.deliver(self._upper, self.spot(self._lower), steps)
