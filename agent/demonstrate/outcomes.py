"""Which columns of a LeRobotDataset say whether an episode succeeded, and what they say.

n = rows of an episode.
"""

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from agent.demonstrate.cells import truths

# In the rows of steps or in those of episodes; the first that there is. The names are those that `info` of an environment may have.
SUCCESS = tuple(prefix + name for name in ("success", "is_success", "won") for prefix in ("next.", ""))
WORDS = {"success", "successful", "succeeded", "won", "outcome", "solved", "failure", "failed"}  # in the name of a column that may mean it


def column_of(names: Collection[str]) -> str:
    """Return which of a dataset's columns says whether an episode succeeded; empty where there is none."""
    return next((name for name in SUCCESS if name in names), "")


def hits(rows: pa.Table, row: dict[str, Any], names: Collection[str]) -> np.ndarray:
    """Return whether success was recorded at each row, bool[n].

    Without a success column of steps, an episode succeeds after its last row, unless a success column of episodes says that it failed: a
    dataset with neither holds demonstrations, and those are successes.

    Args:
        rows: of the episode, in order.
        row: of `meta/episodes`.
        names: the columns of the dataset that say something.

    Raises:
        agent.demonstrate.cells.Unusable: a column says neither true nor false.
    """
    if name := column_of(rows.column_names):
        return truths(rows[name].to_pylist(), name, row["episode_index"])
    won = all(truths([row[name]], name, row["episode_index"])[0] for name in SUCCESS if name in row and name in names)
    return np.arange(len(rows)) == (len(rows) - 1 if won else -1)  # -1 equals no row


def silence(names: Collection[str]) -> str:
    """Return the sentence, without its full stop, for a dataset none of whose columns says whether an episode succeeded."""
    alike = [name for name in sorted(names) if WORDS & {*re.split("[^a-z]+", name.lower())}]
    also = f"; {' and '.join(alike)} may mean it: write it as true or false into next.success" if alike else ""
    return f"The dataset has no success column (next.success), so all its episodes count as successes{also}"
