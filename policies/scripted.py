"""A policy without a model, for baselines and tests.

The scripted experts are not here: they act on the state of the simulation, see `agent.rollout.experts`.
"""

from collections.abc import Sequence

import numpy as np

from policies.policy import Decision, Situation


class Random:
    """Draws actions uniformly from a box.

    Args:
        low, high: float[A], bounds.
        chunk: H, actions per decision.
    """

    name = "random"

    def __init__(self, low: np.ndarray, high: np.ndarray, chunk: int) -> None:
        self.low, self.high, self.chunk = low, high, chunk
        self.reply_length = chunk * len(low)

    def act(self, situations: Sequence[Situation], noise: np.ndarray | None) -> list[Decision]:
        """Return the noise scaled to the box; without noise (greedy), the middle of the box."""
        draws = np.full((len(situations), self.reply_length), 0.5) if noise is None else noise
        blank = np.zeros(self.reply_length)  # there are no tokens: such episodes cannot be trained on
        shares = draws.reshape(len(situations), self.chunk, -1)
        actions = (self.low + shares * (self.high - self.low)).astype(np.float32)
        return [Decision(each, blank.astype(np.int64), blank.astype(np.float32)) for each in actions]
