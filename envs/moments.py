"""What a policy sees of a moment, and what comes of what it decides."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Observation:
    """What a policy may see at one moment."""

    frames: np.ndarray
    """uint8[F, h, w, 3], RGB, one a camera."""
    instruction: str
    """What to do, in words; of this environment, never of another in the batch."""
    state: np.ndarray | None
    """float32[S], proprioception, where the environment gives it."""


@dataclass(frozen=True)
class Outcome:
    """What came of one chunk of actions."""

    observation: Observation
    """The moment after the last executed action."""
    rewards: np.ndarray
    """float32[H x action_repeat], one an environment step; NaN for the steps that the end of the episode cut off."""
    success: bool
    """Whether the environment reported success at any action of the chunk."""
    success_at_end: bool
    """Whether it reported success at the last of them."""
    terminated: bool
    """The task came to an end: success, failure."""
    truncated: bool
    """Time ran out."""
    achieved: tuple[str, ...]
    """Instructions that the last state fulfils, where the environment names them."""
