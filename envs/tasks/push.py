# ruff: noqa: D102 (a task's methods are documented where Stage declares them)
"""Push: slide the named block onto the named pad. There are two blocks and two pads, so both names in the instruction matter."""

import numpy as np

from envs.tasks.base import STEP, Stage, scatter
from envs.tasks.rewards import proximity, tolerance

BLOCKS, PADS = ("block_0", "block_1"), ("pad_0", "pad_1")
RADIUS = 0.04  # a block is on a pad when the distance of their centres is at most this, metres; then its centre is over the pad
BEHIND = 0.05  # distance behind the block's centre from which a push begins, metres
LOW, HIGH = 0.02, 0.08  # heights of the tool above the table, metres: when it pushes, and when it passes over blocks


class Push(Stage):
    """Success: the named block's centre is within 4 cm of the named pad's, so it is over the pad."""

    source = "push.xml"
    wordings = r"push (.*) onto (.*)", r"slide \1 to \2", r"move \1 over to \2", r"shove \1 onto \2"

    def arrange(self, rng: np.random.Generator) -> None:
        while True:  # 9 to 18 cm from block to pad: neither solved at once, nor too far for the horizon
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
        return 1.0 if on_pad == 1.0 else 0.5 * on_pad + 0.5 * proximity(self._offset())

    def _offset(self) -> np.ndarray:
        """Return the offset of the tool from where it should be, float64[3], metres.

        That is the place where a push begins, low when the tool is near it, and high while it is far, because blocks may be between.
        """
        tool, behind = self.tool(), self._behind()
        aside = tool[:2] - behind
        height = LOW + (HIGH - LOW) * np.clip((np.linalg.norm(aside) - 0.03) / 0.03, 0, 1)
        return np.array([*aside, tool[2] - height])

    def _behind(self) -> np.ndarray:
        """Return the position, float64[2], metres, from which a straight push moves the block to the pad."""
        block, pad = self.position(self._block)[:2], self.position(self._pad)[:2]
        return block - BEHIND * (pad - block) / max(float(np.linalg.norm(pad - block)), 1e-6)

    def oracle(self, steps: int = 1) -> np.ndarray:
        tool, block, pad = self.tool(), self.position(self._block), self.position(self._pad)
        left = np.linalg.norm((pad - block)[:2])
        direction = (pad - block)[:2] / max(left, 1e-6)
        along = (tool - block)[:2] @ direction  # negative behind the block
        across = (tool - block)[:2] - along * direction
        if tool[2] < 0.05 and along < -0.005 and np.linalg.norm(across) < 0.03:  # low, and behind the block: push
            reach = min(0.9 * STEP * steps, left - along - 0.02)
            return self.towards(np.array([*(tool[:2] - across + direction * reach), LOW]), steps)
        # From everywhere else the tool goes there directly, rising on the way. So simple a rule is easy to imitate.
        behind = self._behind()
        return self.towards(np.array([*behind, HIGH if np.linalg.norm(tool[:2] - behind) > 0.04 else LOW]), steps)
