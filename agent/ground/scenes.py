"""Scenes and what is asked about them: plain frozen records."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Question:
    """One thing that a scene is asked, with its answer."""

    kind: str
    """Type of the question, for reports: where, offset, way, instruction, pair, plan, relation, colour, count, done."""
    question: str
    """Words; may hold number tokens."""
    answer: str
    """Words or number tokens."""


@dataclass(frozen=True)
class Scene:
    """Frames and what was asked about them."""

    frames: np.ndarray
    """uint8[F, h, w, 3], RGB."""
    questions: tuple[Question, ...]
    places: tuple[tuple[str, int, float, float], ...] = ()
    """What is visible where: name, view (0, 1, ...), x and y from the top left as shares of the frame."""

    def __repr__(self) -> str:
        return f"Scene(frames{self.frames.shape}, {len(self.questions)} questions)"
