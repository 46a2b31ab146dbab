"""Looks at the frames of a LeRobotDataset: a contact sheet, and sentences about cameras that show nothing."""

from collections.abc import Sequence

import numpy as np

from agent.demonstrate.cells import Unusable
from agent.demonstrate.lerobot import CAMERA, LeRobot
from agent.demonstrate.target import Tally

MOMENTS, SHEET, SIZE = 6, 4, 96  # columns and rows of the contact sheet, and pixels of its frames
SAME = 8  # of 255: values of one colour, in a video too


def look(files: LeRobot, names: Sequence[str] | None) -> tuple[np.ndarray | None, list[str], list[str]]:
    """Look at the first episodes, and at the last one, whose frames are at the end of the videos.

    Args:
        files: the dataset.
        names: cameras of a run, which reads no others; None: of no run, so a camera that cannot be read is a fault only if none can.

    Returns:
        A contact sheet as of `sheet`; sentences with which a run can begin; and sentences with which it cannot.
    """
    seen: dict[str, dict[int, np.ndarray]] = {}
    notes, faults, left = [], [], []
    for key in files.pictures:
        if names is None or key in names or key.removeprefix(CAMERA) in names:
            tally = Tally()
            try:
                if frames := _frames(files, key, tally):
                    seen[key] = frames
            except ValueError as error:
                faults.append(str(error))
            left += [f"Of the episodes that were looked at, {line} (camera {key.removeprefix(CAMERA)!r})." for line in tally.lines()]
    if names is None:  # the episodes that a run leaves out are told beside
        notes, faults = (left + faults, []) if seen else ([], left + faults)
    for key, frames in seen.items():
        if plain := [number for number, each in frames.items() if _one_colour(each)]:
            where = f"{len(plain)} of the {len(frames)} episodes that were looked at, the first: episode {plain[0]}"
            notes.append(f"Camera {key.removeprefix(CAMERA)!r} shows one colour alone in {where}.")
    together = sorted(set.intersection(*map(set, seen.values()))) if seen else []
    return sheet([np.concatenate([frames[number] for frames in seen.values()], 1) for number in together]), notes, faults


def _frames(files: LeRobot, key: str, tally: Tally) -> dict[int, np.ndarray]:
    """Return the frames of a camera by episode, uint8[n + 1, 1, SIZE, SIZE, 3]; `tally` counts the episodes that lack some."""
    frames, count = {}, len(files.listing)
    for row in (files.listing[i] for i in dict.fromkeys([*range(min(SHEET - 1, count)), *range(count)[-1:]])):  # each once
        try:
            files.recording(row, [], 1, SIZE)
        except Unusable:
            continue  # whatever its frames are
        try:
            frames[row["episode_index"]] = files.recording(row, [key], 1, SIZE).frames  # 1: every row has its frame
        except Unusable as error:
            tally.leave_out(error.why, error.where)
    return frames


def _one_colour(frames: np.ndarray) -> bool:
    """Return whether uint8[n, 1, h, w, 3] frames show the same colour everywhere and always, within their black borders."""
    rows, columns = frames.max((0, 1, 3, 4)) > 0, frames.max((0, 1, 2, 4)) > 0
    within = frames[:, :, rows][:, :, :, columns].reshape(-1, 3)
    return not len(within) or bool((np.ptp(within, 0) <= SAME).all())


def sheet(frames: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return a contact sheet of uint8[T + 1, F, h, w, 3] frames of each episode; None without any."""
    strips = []
    for each in frames:
        moments = np.linspace(0, len(each) - 1, MOMENTS).round().astype(int)
        strips.append(np.concatenate([np.concatenate(list(each[t]), 0) for t in moments], 1))
    return np.concatenate(strips, 0) if strips else None
