"""Writing frames as an H.264 mp4."""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw


def write(frames: Iterable[np.ndarray], file: Path, title: str, fps: float) -> Path:
    """Write frames as an H.264 mp4 with a title in each, and return the file.

    Args:
        frames: uint8[h, w, 3] each, at least one; the last is held for a second. A generator's frames are encoded as they come.
        file: to write.
        title: one line.
        fps: frames per second of simulated time, so that the video runs at the robot's own speed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    rest = iter(frames)
    first = next(rest)
    partial = file.with_suffix(".partial")  # renamed when it is complete: a kill leaves no broken mp4
    try:
        with av.open(str(partial), "w", format="mp4") as container:
            stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
            stream.height, stream.width, stream.pix_fmt = first.shape[0], first.shape[1], "yuv420p"  # the format that browsers play
            stream.options = {"crf": "26"}  # constant quality, 0 (lossless) to 51; small files, for the report embeds them
            for frame in _held(chain([first], rest), math.ceil(fps)):
                for packet in stream.encode(av.VideoFrame.from_ndarray(titled(frame, title), format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():  # without a frame: what the encoder still holds back
                container.mux(packet)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def _held(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Yield frames, and the last one so many times more."""
    frame = None
    for frame in frames:
        yield frame
    if frame is not None:
        yield from repeat(frame, count)


def titled(frame: np.ndarray, title: str) -> np.ndarray:
    """Return the frame with a line of text in its lower left corner."""
    picture = Image.fromarray(frame)
    ImageDraw.Draw(picture).text((6, frame.shape[0] - 16), title, fill=(20, 20, 20))  # pixels from the left and from the top
    return np.asarray(picture)
