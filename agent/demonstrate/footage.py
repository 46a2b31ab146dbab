"""Decodes frames of a dataset: single pictures, and those of a video that are nearest to given times."""

import io
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from agent.demonstrate.cells import Unusable
from envs.frames import picture

TIE = 1e-4  # seconds: times in a video are multiples of its time base, and recorded ones are float32
SHARED = 1.5  # rows, from which on episodes overlap in a video, or their times do not fit: encoders drop a frame here and there


def still(cell: Any, place: Callable[[str], Path], size: int, where: str) -> np.ndarray:
    """Return a frame, uint8[size, size, 3], from the bytes of a picture in a table's cell, or from the file that the cell names.

    Args:
        cell: bytes, or a dict of `bytes` and `path`.
        place: of a file of the dataset, by its relative path.
        size: height and width of the frame, pixels.
        where: the episode and the row, for messages.

    Raises:
        Unusable: there is no picture, or its numbers have more than 8 bits, as those of depth.
        ValueError: it is no picture.
    """
    if isinstance(cell, list):
        why = "have frames as lists of numbers; write the bytes of PNG or JPEG pictures"
        raise Unusable(why, f"{where} has a list of the shape {list(np.shape(cell))}")
    cell = {"bytes": cell} if isinstance(cell, bytes) else cell
    if not isinstance(cell, dict) or not (cell.get("bytes") or cell.get("path")):
        raise Unusable("lack a frame", where)
    content = cell["bytes"] or place(cell["path"]).read_bytes()
    try:
        image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        raise ValueError(f"{where} has no picture of a known format") from None  # Pillow names an address in memory
    if image.mode[0] in "IF":  # which of their values are black and white, no file says
        raise Unusable("have frames of more than 8 bits a number; convert them to 8 bits", f"{where} is of mode {image.mode}")
    return picture(np.asarray(image.convert("RGB")), size)


def overlapping(listing: Sequence[dict[str, Any]], kind: str, fps: float) -> set[int]:
    """Return the numbers of the episodes that share frames of a video with another one.

    Args:
        listing: the rows of `meta/episodes`; one without a place or a time is passed over.
        kind: 'videos/KEY'.
        fps: rows a second.
    """
    chunk, file, begin = (f"{kind}/{name}" for name in ("chunk_index", "file_index", "from_timestamp"))
    timed = [row for row in listing if _numbers(row, chunk, file, begin)]
    found: set[int] = set()
    last, until = {}, 0.0  # of the episodes up to here in the file: the one that ends last, and when
    for row in sorted(timed, key=lambda row: (row[chunk], row[file], row[begin])):
        if (row[chunk], row[file]) != (last.get(chunk), last.get(file)):
            last, until = row, -np.inf
        if row[begin] < until - SHARED / fps:
            found |= {last["episode_index"], row["episode_index"]}
        end, told = row[begin] + row["length"] / fps, row.get(f"{kind}/to_timestamp")
        if isinstance(told, int | float) and row[begin] < told < end:  # the listed length may be wrong, which costs that episode alone
            end = told
        if end > until:
            last, until = row, end
    return found


def misfits(listing: Sequence[dict[str, Any]], kind: str, fps: float) -> dict[int, float]:
    """Return by how many rows to_timestamp - from_timestamp differs from the length, for each episode where that is much; as of `overlapping`."""
    begin, end = f"{kind}/from_timestamp", f"{kind}/to_timestamp"
    off = {row["episode_index"]: abs((row[end] - row[begin]) * fps - row["length"]) for row in listing if _numbers(row, begin, end)}
    return {number: rows for number, rows in off.items() if rows > SHARED}


def _numbers(row: dict[str, Any], *names: str) -> bool:
    return all(isinstance(row.get(name), int | float) and np.isfinite(row[name]) for name in names)


def filmed(file: Path, times: np.ndarray, apart: float, size: int) -> list[np.ndarray]:
    """Return the frames of a video, uint8[size, size, 3] each, that are nearest to the times; of two equally near ones the earlier.

    Args:
        file: the video.
        times: ascending, seconds from its beginning.
        apart: seconds that a frame may be from its time.
        size: height and width of a frame, pixels.

    Raises:
        ValueError: no frame is near enough to a time.
    """
    found: list[np.ndarray] = []
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        # A seek goes to the key frame at or before a time; the frames from there on have to be decoded anyway.
        container.seek(int(times[0] / (stream.time_base or 1)), stream=stream)  # in units of the time base
        for before, after in pairwise(chain([None], container.decode(stream), [None])):  # None: before the first frame and after the last one
            while len(found) < len(times) and (after is None or (after.time or 0.0) >= times[len(found)]):
                time = times[len(found)]
                nearest = after if _distance(after, time) < _distance(before, time) - TIE else before
                if nearest is None or _distance(nearest, time) > apart + TIE:
                    raise ValueError(f"it shows nothing at {time:.3f} s")
                found.append(picture(nearest.to_ndarray(format="rgb24"), size))
            if len(found) == len(times):
                break
    return found


def _distance(frame: Any, time: float) -> float:
    """Return how many seconds lie between a time and a frame of a video; infinity where there is no frame."""
    return np.inf if frame is None else abs((frame.time or 0.0) - time)
