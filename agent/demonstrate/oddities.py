"""What is odd about a LeRobotDataset as a whole, and costs no episode."""

from collections.abc import Iterator

import numpy as np

from agent.demonstrate.cells import Unusable, column
from agent.demonstrate.footage import misfits
from agent.demonstrate.lerobot import CAMERA, LeRobot


def oddities(files: LeRobot) -> list[str]:
    """Return sentences: episodes that are not listed, times in videos that do not fit, tasks that change within episodes; errors as of `LeRobot`."""
    said, total, listed = [], files.info.get("total_episodes"), len(files.listing)
    if isinstance(total, int) and total != listed:
        said.append(f"meta/info.json counts {total} episodes, and meta/episodes lists {listed}; fetch the dataset anew, or learn from these.")
    for key in (name for name in files.pictures if files.features[name]["dtype"] == "video"):
        if off := misfits(files.listing, f"videos/{key}", files.fps):
            many = f"{len(off)} episode{'s' * (len(off) > 1)}, the first: episode {next(iter(off))}, by up to {max(off.values()):.3g} rows"
            where = f"in {many} (camera {key.removeprefix(CAMERA)!r})"
            said.append(f"to_timestamp - from_timestamp differs from length / fps {where}; their frames may be those of other moments.")
    if changes := list(_changes(files)):
        many = f"{len(changes)} episodes, the first: {changes[0]}" if len(changes) > 1 else changes[0]
        said.append(f"The task changes within {many}; the words of an episode's first row are used.")
    return said


def _changes(files: LeRobot) -> Iterator[str]:
    """Yield 'episode 3, row 10' for each usable episode whose task changes, where it first does."""
    for row in files.listing:
        number = row["episode_index"]
        try:
            tasks = column(files.rows(row, ["task_index", "frame_index"]), "task_index", number, 1)[:, 0]
        except Unusable:
            continue
        if len(other := np.flatnonzero(tasks != tasks[0])):
            yield f"episode {number}, row {other[0]}"
