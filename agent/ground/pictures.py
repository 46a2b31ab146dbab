"""What can be measured in frames alone: where a colour is, what moves before a still background, what changed from one frame to another.

A place is x, y from the top left as shares of the frame. h, w = height and width of a frame, T + 1 = frames of an episode.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import ndimage

HUES = {"red": 0.0, "yellow": 0.14, "green": 0.35, "blue": 0.63, "purple": 0.8}  # of the colours that are named, shares of the circle of hues
VIVID, BRIGHT = 0.3, 0.25  # least saturation and brightness of a pixel whose colour is named
FEW, MUCH = 4, 0.2  # pixels: a spot has at least so many, and covers at most this share of the frame
WHOLE = 0.8  # share of its pixels that lies in one piece: else there are several spots, and none can be named
CHANGE = 24  # of 255: a pixel that changes by more in some channel has changed

Place = tuple[float, float]


def colour_spots(frame: np.ndarray) -> dict[str, Place]:
    """Return the place of each colour of which a frame, uint8[h, w, 3], has exactly one spot."""
    named = _colours(frame)
    return {name: place for i, name in enumerate(HUES) if (place := spot(named == i)) is not None}


def vivid(frame: np.ndarray, count: int, rng: np.random.Generator) -> list[tuple[str, Place]]:
    """Return the colour and the place of up to `count` random pixels of a frame, uint8[h, w, 3], that have a vivid colour."""
    named = _colours(frame)
    rows, columns = np.nonzero(named >= 0)
    chosen = [(int(rows[i]), int(columns[i])) for i in rng.permutation(len(rows))[:count]]
    return [(list(HUES)[named[y, x]], ((x + 0.5) / frame.shape[1], (y + 0.5) / frame.shape[0])) for y, x in chosen]


def movers(frames: np.ndarray) -> Iterator[Place | None]:
    """Yield for each of an episode's frames of one view, uint8[T+1, h, w, 3], the place of what moves before the background; None if nothing does.

    The background is the median of all frames (as in temporal median filtering), so that a thing counts that is elsewhere at most times.
    """
    background = np.median(frames, axis=0)
    for frame in frames:
        yield spot(np.abs(frame - background).max(-1) > CHANGE)


def change(before: np.ndarray, after: np.ndarray) -> Place | None:
    """Return the middle of what changed from one uint8[h, w, 3] frame to another; None if nothing did, or much of the frame."""
    return spot(np.abs(after.astype(np.int16) - before).max(-1) > CHANGE, whole=0.0)


def spot(mask: np.ndarray, whole: float = WHOLE) -> Place | None:
    """Return the middle of the pixels in bool[h, w]; None if they are too few or too many, or less than `whole` of them lie in one piece."""
    count = int(mask.sum())
    if not FEW <= count <= MUCH * mask.size:
        return None
    if whole:
        labelled: Any = ndimage.label(mask, structure=np.ones((3, 3)))  # its type says less
        pieces, number = labelled
        sizes = np.bincount(pieces.ravel(), minlength=number + 1)[1:]
        if sizes.max() < whole * count:
            return None
        mask = pieces == 1 + int(sizes.argmax())
    rows, columns = np.nonzero(mask)
    return (float(columns.mean()) + 0.5) / mask.shape[1], (float(rows.mean()) + 0.5) / mask.shape[0]


def _colours(frame: np.ndarray) -> np.ndarray:
    """Return int[h, w]: for each pixel the index in `HUES` of the nearest hue, or -1 for a pixel without a vivid colour."""
    channels = frame.astype(np.float64) / 255
    high, low = channels.max(-1), channels.min(-1)
    spread = np.maximum(high - low, 1e-9)
    red, green, blue = np.moveaxis(channels, -1, 0)
    sextant = np.select([high == red, high == green], [(green - blue) / spread % 6, (blue - red) / spread + 2], (red - green) / spread + 4)
    apart = np.abs(sextant[..., None] / 6 - np.array(list(HUES.values())))
    nearest = np.minimum(apart, 1 - apart).argmin(-1)
    return np.where((high - low >= VIVID * high) & (high >= BRIGHT), nearest, -1)
