# ruff: noqa: D102 (a task's methods are documented where Stage declares them)
"""Place: carry the named block onto the named pad and release it. The pads are raised, so a block cannot be pushed onto them."""

import numpy as np

from envs.tasks.base import scatter
from envs.tasks.carry import HALF, Carry

BLOCKS, PADS = ("block_0", "block_1"), ("pad_0", "pad_1")
RADIUS = 0.04  # a block is on a pad when the horizontal distance of their centres is at most this, metres
TOP = 0.03  # height of a pad's upper side, metres


class Place(Carry):
    """Success: the named block lies on the named pad, its centre within 4 cm of the pad's, and no finger touches it."""

    source = "place.xml"
    wordings = r"put (.*) onto (.*)", r"place \1 on \2", r"set \1 down on \2", r"move \1 to \2"

    def arrange(self, rng: np.random.Generator) -> None:
        points = scatter(rng, 4, 0.115, (0.20, -0.17), (0.41, 0.17))
        self._block, self._pad = self.lay_out(rng, (BLOCKS, points[:2]), (PADS, points[2:]))
        self.instruction = self._sentence(self._block, self._pad)

    def _sentence(self, block: str, pad: str) -> str:
        return f"put the {self.colours[block]} block onto the {self.colours[pad]} pad"

    def spot(self, pad: str) -> np.ndarray:
        """Return the position of the centre of a block that rests on the middle of a pad, float64[3], metres."""
        return np.array([*self.position(pad)[:2], TOP + HALF])

    def achieved(self) -> list[str]:
        return [self._sentence(block, pad) for block in BLOCKS for pad in PADS if self.rests(block, self.spot(pad), RADIUS)]

    def reward(self) -> float:
        spot = self.spot(self._pad)
        return 1.0 if self.rests(self._block, spot, RADIUS) else self.progress(self._block, spot)

    def oracle(self, steps: int = 1) -> np.ndarray:
        return self.deliver(self._block, self.spot(self._pad), steps)
