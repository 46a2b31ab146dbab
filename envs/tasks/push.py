# ruff: noqa: D102 (a task's methods are documented where Stage declares them)
"""Push: slide the named block onto the named pad. Two blocks and two pads, so both names must be read."""

import numpy as np

from envs.tasks.base import STEP, Stage, scatter
from envs.tasks.rewards import nearness, tolerance

BLOCKS, PADS = ("block_0", "block_1"), ("pad_0", "pad_1")
RADIUS = 0.04  # a block is on a pad when their centres are this near, metres; so its centre lies over the pad
BEHIND = 0.05  # a push begins this far behind the block's centre, metres
LOW, HIGH = 0.02, 0.08  # height of the tool when it pushes, and when it passes over blocks, metres


class Push(Stage):
    """Success: the named block's centre is within 4 cm of the named pad's, so it lies over the pad."""

    source = "push.xml"
    wordings = r"push (.*) onto (.*)", r"slide \1 to \2", r"move \1 over to \2", r"shove \1 onto \2"

    def arrange(self, rng: np.random.Generator) -> None:
        while True:  # a task must be work, but not a journey: 9 to 18 cm from block to pad
            points = scatter(rng, 4, 0.09, (0.22, -0.15), (0.40, 0.15))
            if 0.09 <= np.linalg.norm(points[0] - points[2]) <= 0.18:
                break
        self._block, self._pad = self.lay_out(rng, (BLOCKS, points[:2]), (PADS, points[2:]))
        self.instruction = self._sentence(self._block, self._pad)

    def _sentence(self, block: str, pad: str) -> str:
        return f"push the {self.colours[block]} block onto the {self.colours[pad]} pad"

    def gap(self, block: str, pad: str) -> float:
        """Return the horizontal distance between a block and a pad, metres."""
        return float(np.linalg.norm((self.position(block) - self.position(pad))[:2]))

    def achieved(self) -> list[str]:
        return [self._sentence(block, pad) for block in BLOCKS for pad in PADS if self.gap(block, pad) <= RADIUS]

    def reward(self) -> float:
        on_pad = tolerance(self.gap(self._block, self._pad), (0, RADIUS), margin=0.1)
        return 1.0 if on_pad == 1.0 else 0.5 * on_pad + 0.5 * nearness(self._astray())

    def _astray(self) -> np.ndarray:
        """Return the way from where the tool should be, float64[3], metres: high while it is far from where a push begins, for blocks are between."""
        tool, behind = self.tool(), self._behind()
        aside = tool[:2] - behind
        height = LOW + (HIGH - LOW) * np.clip((np.linalg.norm(aside) - 0.03) / 0.03, 0, 1)
        return np.array([*aside, tool[2] - height])

    def _behind(self) -> np.ndarray:
        """Return the place, float64[2], from which a straight push brings the block to the pad."""
        block, pad = self.position(self._block)[:2], self.position(self._pad)[:2]
        return block - BEHIND * (pad - block) / max(float(np.linalg.norm(pad - block)), 1e-6)

    def oracle(self, steps: int = 1) -> np.ndarray:
        tool, block, pad = self.tool(), self.position(self._block), self.position(self._pad)
        left = np.linalg.norm((pad - block)[:2])
        way = (pad - block)[:2] / max(left, 1e-6)
        along = (tool - block)[:2] @ way
        across = (tool - block)[:2] - along * way
        if tool[2] < 0.05 and along < -0.005 and np.linalg.norm(across) < 0.03:  # down, and behind the block: push
            reach = min(0.9 * STEP * steps, left - along - 0.02)
            return self.towards(np.array([*(tool[:2] - across + way * reach), LOW]), steps)
        behind = self._behind()  # there it goes from everywhere else, rising on the way: what is so simple to say is soon imitated
        return self.towards(np.array([*behind, HIGH if np.linalg.norm(tool[:2] - behind) > 0.04 else LOW]), steps)
