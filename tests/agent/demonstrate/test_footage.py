"""Frames of a dataset: of a video the nearest ones, whatever its rate; of a picture what 8 bits can show."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from agent.demonstrate.footage import filmed

SIDE = 32


def video(file: Path, fps: int, frames: int) -> Path:
    """Frame i is all of the grey 8 i."""
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for i in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((SIDE, SIDE, 3), 8 * i, np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return file


def shown(file: Path, times: list[float], rows_a_second: float = 10) -> list[int]:
    return [round(frame.mean() / 8) for frame in filmed(file, np.array(times), 0.5 / rows_a_second, SIDE)]


@pytest.mark.parametrize("fps", [10, 30, 50])
def test_each_row_has_the_frame_of_its_time(fps: int, tmp_path: Path) -> None:
    file, times = video(tmp_path / "a.mp4", fps, 30), [t / 10 for t in range(30 * 10 // fps)]
    assert shown(file, times) == [round(time * fps) for time in times]
    assert shown(file, times[2:]) == [round(time * fps) for time in times[2:]]
    assert shown(file, np.array(times, np.float32).tolist()) == [round(time * fps) for time in times]


def test_the_nearest_frame_is_shown_and_the_earlier_of_two(tmp_path: Path) -> None:
    file = video(tmp_path / "a.mp4", 20, 30)
    assert shown(file, [0.02, 0.03, 0.1, 0.125, 0.126, 0.174, 0.176, 0.176], 20) == [0, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(("times", "first"), [([1.4, 1.45, 1.6], "1.600"), ([9.0], "9.000")])
def test_a_time_without_a_frame_is_named(times: list[float], first: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"it shows nothing at {first} s"):
        shown(video(tmp_path / "a.mp4", 20, 30), times, 20)
