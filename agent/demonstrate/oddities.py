"""What is odd about a LeRobotDataset as a whole, and costs no episode."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

import numpy as np

from agent.demonstrate.cells import Unusable, column
from agent.demonstrate.footage import misfits
from agent.demonstrate.lerobot import CAMERA, STATE, LeRobot
from envs.spaces import WIDEST

EPISODES = 100  # whose states are looked at
OUTSIDE = 0.05  # share of a range, from which on a state lies outside


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


def state_sentences(files: LeRobot, ranges: Mapping[int, tuple[float, float]], box: tuple[np.ndarray, np.ndarray] | None) -> list[str]:
    """Return a sentence where most of the dataset's states are not in a range that a run has for them; errors as of `LeRobot`.

    Args:
        files: the dataset, whose states have the size S of the environment's.
        ranges: `policy.state`.
        box: float64[S], low and high of the environment's state, infinite where that does not tell; None: unknown.
    """
    size = files.sizes[STATE]
    given = np.array([ranges.get(i, (-np.inf, np.inf)) for i in range(size)]).T
    states_NS = np.concatenate([np.zeros((0, size)), *_states(files)])
    for name, (low_S, high_S) in {"policy.state": given, **({} if box is None else {"the environment's observation space": box})}.items():
        known_S = (np.abs(low_S) <= WIDEST) & (np.abs(high_S) <= WIDEST) & (low_S < high_S)
        margin_S = np.where(known_S, OUTSIDE * (high_S - low_S), 0)
        outside_NS = ((states_NS < low_S - margin_S) | (states_NS > high_S + margin_S))[:, known_S]
        if outside_NS.size and outside_NS.mean() > 0.5:
            index = int(np.flatnonzero(known_S)[outside_NS.mean(0).argmax()])
            seen_N, end = states_NS[:, index], f"{low_S[index]:.4g} to {high_S[index]:.4g}"
            has = f"number {index} is {seen_N.min():.4g} to {seen_N.max():.4g}, and there {end}"
            where = f"{100 * outside_NS.mean():.0f} % of the numbers in {STATE} lie outside of {name} ({has})"
            return [f"{where}; perhaps they are another state, or have other units."]
    return []


def _states(files: LeRobot) -> Iterator[np.ndarray]:
    """Yield the states of the first usable episodes, float32[n, S]."""
    for row in files.listing[:EPISODES]:
        with suppress(Unusable):
            yield files.states(files.rows(row, [STATE, "frame_index"]), row["episode_index"])


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
