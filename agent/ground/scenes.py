"""Scenes and questions of stage `ground`: plain frozen records."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Question:
    """A question about a scene, with its answer."""

    kind: str
    """Kind, one of those of `ground.kinds`: where, way, action, ..."""
    question: str
    """Words; may hold numbers as the codec writes them."""
    answer: str
    """Words or numbers."""


@dataclass(frozen=True)
class Scene:
    """Frames, and questions about them."""

    frames: np.ndarray
    """uint8[F, h, w, 3], RGB."""
    questions: tuple[Question, ...]
    places: tuple[tuple[str, int, float, float], ...] = ()
    """Visible objects: name, view (0, 1, ...), x and y from the top left as shares of the frame. An object has an entry for each view."""

    def __repr__(self) -> str:  # short: the default one would print all pixels
        return f"Scene(frames{self.frames.shape}, {len(self.questions)} questions)"
