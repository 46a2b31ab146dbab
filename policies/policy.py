"""What a policy sees, what it says, and the three faces it may have: one that acts, one that speaks, one that learns."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Situation:
    """What a policy sees at one moment."""

    instruction: str
    """What to do: 'touch the red ball'."""
    frames: np.ndarray
    """uint8[F, h, w, 3], RGB, oldest first, F = history x cameras."""
    state: np.ndarray | None = None
    """float32[S], proprioception, where the environment gives it."""
    advantage: bool = True
    """Which reply is asked for: one better than was to be expected, or, in lessons alone (`curate.conditioned`), one that was worse."""

    def __repr__(self) -> str:
        return f"Situation({self.instruction!r}, frames{self.frames.shape})"


@dataclass(frozen=True)
class Decision:
    """What a policy does at one moment: H actions, and the reply that says so."""

    actions: np.ndarray
    """float32[H, A], in the environment's own units and bounds."""
    tokens: np.ndarray
    """int64[L], token ids of the reply, exactly as sampled."""
    logprobs: np.ndarray
    """float32[L], nats, at the sampling temperature, among the tokens that were allowed."""

    def __post_init__(self) -> None:
        assert self.tokens.shape == self.logprobs.shape, f"{self.tokens.shape} tokens, {self.logprobs.shape} logprobs"

    def __repr__(self) -> str:
        return f"Decision(actions{self.actions.shape}, {len(self.tokens)} tokens)"


class Policy(Protocol):
    """Acts."""

    name: str
    """Which policy this is, for the records: 'oracle', or the hash of the weights."""
    chunk: int
    """H, actions per decision."""
    reply_length: int
    """L, tokens per decision; how many uniform numbers a sampled decision uses."""

    def act(self, situations: Sequence[Situation], noise: np.ndarray | None) -> list[Decision]:
        """Decide for each situation on its own.

        Args:
            situations: any number; a decision never depends on which others are in the batch.
            noise: float64[B, L] uniform in [0, 1), one a token, from each episode's own generator; None decides greedily.
        """
        ...


class Speaker(Protocol):
    """Answers questions about frames."""

    def answer(self, question: str, frames: np.ndarray) -> str:
        """Return the reply to `question` about uint8[F, h, w, 3] frames."""
        ...

    def probability(self, question: str, frames: np.ndarray, yes: str, no: str) -> float:
        """Return P(yes) / (P(yes) + P(no)) of the reply's first token."""
        ...


class Learner(Protocol):
    """Is trained."""

    def logprobs(self, situations: Sequence[Situation], tokens: np.ndarray) -> Any:
        """Return a tensor float32[B, L]: nats of the int64[B, L] replies, at the sampling temperature."""
        ...

    def distribution(self, situations: Sequence[Situation], tokens: np.ndarray, features: Any = None) -> Any:
        """Return a tensor float32[B, L, U]: nats of every action token in each place of the replies; -inf where it is not allowed."""
        ...

    def picked(self, logprobs_BLU: Any, tokens: np.ndarray) -> Any:
        """Return float32[B, L]: of a `distribution` what belongs to the replies."""
        ...

    def reference(self) -> AbstractContextManager[None]:
        """Within it the policy is as it was when training began."""
        ...
