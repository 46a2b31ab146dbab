"""Frames of a dataset: of a video the nearest ones, whatever its rate; of a picture what 8 bits can show."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from agent.demonstrate.footage import filmed, misfits, overlapping

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


def listed(
    begins: list[Any], ends: list[Any] | None = None, lengths: tuple[int, ...] = (10, 20, 10), files: tuple[int, ...] = (0, 0, 0)
) -> list[dict]:
    """Episodes of these lengths at 10 rows a second."""
    ends = [None] * 3 if ends is None else ends
    named = {"chunk_index": [0, 0, 0], "file_index": files, "from_timestamp": begins, "to_timestamp": ends}
    return [{"episode_index": i, "length": lengths[i], **{f"videos/a/{name}": values[i] for name, values in named.items()}} for i in range(3)]


@pytest.mark.parametrize(
    ("listing", "shared"),
    [
        (listed([0.0, 1.0, 3.0]), set()),
        (listed([3.0, 0.0, 2.0], [4.0, 2.0, 3.0]), set()),
        (listed([0.0, 0.9, 2.85]), set()),  # a frame less here and there
        (listed([0.0, 0.0, 0.0], files=(0, 1, 2)), set()),
        (listed([0.0, 1.0, 3.0], [1.0, 3.0, 4.0], lengths=(99, 20, 10)), set()),  # a wrong length costs its own episode alone
        (listed([0.0, None, float("nan")]), set()),
        (listed([0.0, 0.0, 0.0], [1.0, 3.0, 4.0]), {0, 1, 2}),
        (listed([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]), {0, 1, 2}),
        (listed([0.0, 1.0, 1.5]), {1, 2}),
        (listed([0.5, 0.0, 7.0]), {0, 1}),
    ],
)
def test_episodes_that_share_frames_of_a_video_are_found(listing: list[dict], shared: set[int]) -> None:
    assert overlapping(listing, "videos/a", 10) == shared


def test_times_in_a_video_that_do_not_fit_the_length_are_found() -> None:
    assert misfits(listed([0.0, 1.0, 3.0], [1.0, 3.1, 3.9]), "videos/a", 10) == {}
    assert misfits(listed([0.0, 1.5, None], [1.0, 3.0, 4.0]), "videos/a", 10) == {1: pytest.approx(5)}
