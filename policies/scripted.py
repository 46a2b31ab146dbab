"""A policy without a model: a baseline, and a stand-in in tests. The oracle is not here: it acts on the state, see `agent.demonstrate`."""

from collections.abc import Sequence

import numpy as np

from policies.policy import Decision, Situation


class Random:
    """Uniform actions in a box.

    Args:
        low, high: float[A], bounds.
        chunk: H, actions per decision.
    """

    name = "random"

    def __init__(self, low: np.ndarray, high: np.ndarray, chunk: int) -> None:
        self.low, self.high, self.chunk = low, high, chunk
        self.reply_length = chunk * len(low)

    def act(self, situations: Sequence[Situation], noise: np.ndarray | None) -> list[Decision]:
        """Scale the noise to the box; without noise, stand in the middle."""
        draws = np.full((len(situations), self.reply_length), 0.5) if noise is None else noise
        blank = np.zeros(self.reply_length)
        shares = draws.reshape(len(situations), self.chunk, -1)
        actions = (self.low + shares * (self.high - self.low)).astype(np.float32)
        return [Decision(each, blank.astype(np.int64), blank.astype(np.float32)) for each in actions]
