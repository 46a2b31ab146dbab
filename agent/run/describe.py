"""What describes a dataset besides its rows: statistics as lerobot computes them, names of numbers, and a dataset card for the Hugging Face hub."""

from collections.abc import Sequence
from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}  # with min, max, mean, std and count the keys of lerobot's statistics
BINS = 5000  # of the histogram from which lerobot computes quantiles
FRAMES = (100, 10_000, 0.75)  # of an episode of n frames lerobot describes n to this power, between these two numbers of frames

CARD = """\
---
task_categories:
- robotics
tags:
- LeRobot
- etude
configs:
- config_name: default
  data_files: data/*/*.parquet
---

Episodes in {task}, recorded by etude as a LeRobotDataset v3.0. One row is one decision of a policy or an expert.

| column | meaning |
|---|---|
| `observation.images.*` | what the policy saw before the decision: {cameras} |
| `observation.state` | proprioception, where the environment gives one |
| `action` | the executed actions of the decision, in the environment's units; each is held for several environment steps |
| `next.reward`, `next.success`, `next.done` | sum of the rewards, whether the task was first fulfilled, whether the episode ended |
| `etude.*` | replies of the policy as tokens, and what else is needed to train on them |

`meta/info.json` has rates, shapes and counts.
"""


def card(task: str, cameras: Sequence[str]) -> str:
    """Return the text of `README.md`."""
    return CARD.format(task=task, cameras=", ".join(cameras))


def names(column: str, shape: tuple[int, ...]) -> list[str] | None:
    """Return a name for each number of a cell, `action_2`, or for a chunk `action_0_2`; None for single numbers, as lerobot has it."""
    short, size = column.rpartition(".")[2], int(np.prod(shape))
    return None if size < 2 else [f"{short}_{'_'.join(map(str, place))}" for place in np.ndindex(shape)]


def describe(rows: np.ndarray) -> dict[str, Any]:
    """Return the statistics of one column of an episode, float[R, size], or of frames, uint8[R, h, w, 3]: then [3, 1, 1] a channel, in [0, 1].

    Quantiles are lerobot's: from a histogram of 5000 bins, linear within a bin. With one row they are its value.
    """
    if rows.ndim == 4:
        least, most, power = FRAMES
        # In lerobot too the statistics are of a sample of the frames, as large as this one.
        count = min(max(min(least, len(rows)), min(int(len(rows) ** power), most)), len(rows))
        rows = rows[np.round(np.linspace(0, len(rows) - 1, count)).astype(int)]
        parts = [_weighted(np.arange(256) / 255, np.bincount(rows[..., channel].ravel(), minlength=256)) for channel in range(rows.shape[3])]
        return {key: [[[part[key]]] for part in parts] for key in parts[0]} | {"count": [len(rows)]}
    # One NaN would make the statistics of the whole dataset NaN.
    values = np.nan_to_num(rows.astype(np.float64), posinf=0, neginf=0)
    parts = [_weighted(column, np.ones(len(column), int)) for column in values.T]
    return {key: [part[key] for part in parts] for key in parts[0]} | {"count": [len(rows)]}


def _weighted(values: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Return the statistics of float64[n] values, each of which occurs int64[n] times."""
    values, counts = values[counts > 0], counts[counts > 0]
    total, low, high = int(counts.sum()), values.min(), values.max()
    mean = float(values @ counts / total)
    made = {"min": float(low), "max": float(high), "mean": mean, "std": float(np.sqrt((values - mean) ** 2 @ counts / total))}
    if total < 2:
        return made | dict.fromkeys(QUANTILES, mean)
    # As in lerobot: without 1e-10 the bins of a constant column would have no width.
    histogram, edges = np.histogram(values, np.linspace(low - 1e-10, high + 1e-10, BINS + 1), weights=counts)
    up_to = np.cumsum(histogram)
    for key, share in QUANTILES.items():
        place = int(np.searchsorted(up_to, share * total))
        before = up_to[place - 1] if place else 0
        within = (share * total - before) / max(up_to[place] - before, 1) if place else 0  # lerobot: of the first bin its lower edge
        made[key] = float(edges[place] + within * (edges[place + 1] - edges[place]))
    return made


def pool(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the joint statistics of several parts; quantiles are averaged by count, as in lerobot, and so are approximate."""
    each = {name: np.array([part[name] for part in parts]) for name in parts[0]}
    weights = each["count"][:, 0] / each["count"].sum()
    pooled = {name: np.tensordot(weights, values, 1) for name, values in each.items()}
    pooled["std"] = np.sqrt(np.tensordot(weights, each["std"] ** 2 + (each["mean"] - pooled["mean"]) ** 2, 1))  # law of total variance
    pooled |= {"min": each["min"].min(0), "max": each["max"].max(0), "count": each["count"].sum(0)}
    return {name: value.tolist() for name, value in pooled.items()}
