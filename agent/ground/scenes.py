"""Scenes and questions of stage `ground`: plain frozen records; and how many seeds for scenes may be faulty."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from envs.faults import NoExpert, in_words

FEW, SPOILT = 4, 0.2  # faulty seeds that are tolerated: so many in any case, and this share of all seeds


@dataclass(frozen=True)
class Question:
    """A question about a scene, with its answer."""

    kind: str
    """Kind, as in `ground.kinds`: where, offset, way, instruction, pair, plan, relation, colour, count, done."""
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


class Tolerance:
    """Counts seeds that were lost to a fault of their environment or expert.

    Args:
        title: of the environment.
    """

    def __init__(self, title: str) -> None:
        self._title, self._tried, self._faults = title, 0, 0

    @contextlib.contextmanager
    def of(self, seed: int) -> Iterator[None]:
        """Tolerate an error within this context, which costs the scenes of the seed.

        Raises:
            NoExpert: a mistake in the config, which would cost every seed.
            ValueError: too many seeds were faulty.
        """
        self._tried += 1
        try:
            yield
        except NoExpert:
            raise
        except (Exception, SystemExit) as error:  # an environment and an expert may raise anything
            self._faults += 1
            if self._faults > max(FEW, SPOILT * self._tried):
                faults = f"{self._faults} of {self._tried} seeds for scenes of stage ground were faulty"
                raise ValueError(f"{self._title}: {faults}; the last was {seed}, {in_words(error)}.") from error
