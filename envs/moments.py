"""What an environment returns: an observation at each decision, and the outcome of each decision."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Observation:
    """What a policy sees at one decision."""

    frames: np.ndarray
    """uint8[F, h, w, 3], RGB, oldest first, F = history x cameras."""
    instruction: str
    """What to do, in words."""
    state: np.ndarray | None
    """float32[S], proprioception, where the environment gives it."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one decision: a chunk of H actions, each held for `action_repeat` environment steps."""

    observation: Observation
    """After the last executed step; an older one if no frames were asked for."""
    rewards: np.ndarray
    """float32[H x action_repeat], one for each environment step; NaN for those after the end of the episode."""
    success: bool
    """Whether the environment reported success at any step of the chunk."""
    success_at_end: bool
    """Whether it reported success at the last executed step."""
    terminated: bool
    """Whether the task ended, by success or failure."""
    truncated: bool
    """Whether the time limit ended the episode."""
    achieved: tuple[str, ...]
    """Instructions that the last state fulfils, if the environment reports them; used for hindsight relabelling."""
