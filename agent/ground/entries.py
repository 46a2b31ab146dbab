"""Questions about positions that entries of `info` or of the observation hold (`ground.from`).

Where such a position lies in the picture is unknown. So the answers are coordinates, in the entry's own axes.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from agent.ground.scenes import Question
from agent.ground.wording import Wording

Span = tuple[np.ndarray, np.ndarray]  # lowest and highest value of each coordinate, float64[n] each


def ranges(values: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Span]:
    """Return the range of each coordinate over all entries of as many coordinates: offsets between two of them are then written in one unit.

    Args:
        values: of each episode, float64[T+1, n] by name.
    """
    spans = {}
    for name in values[0]:
        size = values[0][name].shape[1]
        alike = np.concatenate([each for of_clip in values for each in of_clip.values() if each.shape[1] == size])
        spans[name] = (alike.min(0), alike.max(0))
    return spans


def entries(values: Mapping[str, np.ndarray], spans: Mapping[str, Span], wording: Wording) -> Iterator[Question]:
    """Ask for the coordinates of each entry, and for the offset, order and distances of entries.

    Args:
        values: of one moment, float64[n] by name.
        spans: as `ranges` returns them.
        wording: of questions and answers.
    """
    for name, position in values.items():
        low, high = spans[name]
        yield Question("position", wording.ask("position", name=name), wording.write(*((position - low) / np.maximum(high - low, 1e-9))))
    for one, other in itertools.permutations(values, 2):
        if len(values[one]) != len(values[other]):
            continue
        offset, extent = values[other] - values[one], np.maximum(spans[one][1] - spans[one][0], 1e-9)
        yield Question("position", wording.ask("entry offset", one=one, other=other), wording.write(*(0.5 + 0.5 * offset / extent)))
        answer = "yes" if values[one][0] < values[other][0] else "no"
        yield Question("relation", wording.ask("relation", one=one, word="left of", other=other), answer)
    for name, one, other in itertools.permutations(values, 3):
        if len(values[name]) == len(values[one]) == len(values[other]):
            near, far = (float(np.linalg.norm(values[each] - values[name])) for each in (one, other))
            yield Question("nearer", wording.ask("nearer", name=name, one=one, other=other), "yes" if near < far else "no")
