"""What a policy gets and returns, and the protocol of whatever acts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Situation:
    """What a policy sees at one decision."""

    instruction: str
    """What to do: 'touch the red ball'."""
    frames: np.ndarray
    """uint8[F, h, w, 3], RGB, oldest first, F = history x cameras."""
    state: np.ndarray | None = None
    """float32[S], proprioception, where the environment gives it."""
    advantage: bool = True
    """Whether the prompt asks for a reply that was better than expected. False occurs in training data only (`curate.conditioned_weight`)."""

    def __repr__(self) -> str:
        return f"Situation({self.instruction!r}, frames{self.frames.shape})"


@dataclass(frozen=True)
class Decision:
    """One reply of a policy: H actions, and the tokens that encode them."""

    actions: np.ndarray
    """float32[H, A], in the environment's own units and bounds; the policy acts again after the last one."""
    tokens: np.ndarray
    """int64[L], token ids of the reply, exactly as sampled; encoding the actions again would lose the thought."""
    logprobs: np.ndarray
    """float32[L], nats, at the sampling temperature, normalised over the tokens that were allowed."""

    def __post_init__(self) -> None:
        assert self.tokens.shape == self.logprobs.shape, f"{self.tokens.shape} tokens, {self.logprobs.shape} logprobs"

    def __repr__(self) -> str:
        return f"Decision(actions{self.actions.shape}, {len(self.tokens)} tokens)"


class Policy(Protocol):
    """Chooses actions."""

    name: str
    """Recorded with episodes: 'oracle', or the hash of the weights."""
    chunk: int
    """H, actions per decision."""
    reply_length: int
    """L, tokens per decision; a sampled decision uses as many uniform numbers."""

    def act(self, situations: Sequence[Situation], noise: np.ndarray | None) -> list[Decision]:
        """Decide for each situation on its own.

        Args:
            situations: B, any number; a decision must not depend on the other situations in the batch.
            noise: float64[B, L] uniform in [0, 1), one number a token, from each episode's own generator; None: greedy.
        """
        ...
