"""What a dataset of episodes says without its frames: reading whole episodes decodes every picture, which a report has no time for."""

import json
import math
from bisect import bisect
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agent.run.episodes import CAMERA, CHUNK, COLUMNS, DATA, LISTING, count
from agent.run.files import read_object

FACTS = ("task", "seed", "attempt", "success", "first_success", "faults")  # of an episode, as in `agent.records.Episode`


def facts(root: Path) -> list[dict[str, Any]]:
    """Return a row for each committed episode that has a decision, in stored order.

    A row has the keys `FACTS`, `instruction`, `length` (decisions) and `order`: its place among all episodes, those without a decision too.

    Raises:
        ValueError: the dataset is damaged.
    """
    rows, before = [], 0
    columns = {"tasks": "instruction", "length": "length", "etude/order": "order", **{f"etude/{name}": name for name in FACTS}}
    for shard, size in enumerate(_shards(root)):
        for row in _table(root, LISTING, shard, list(columns)).to_pylist():
            named = {name: row[column] for column, name in columns.items()}
            rows.append(named | {"instruction": named["instruction"][0], "order": before + named["order"]})
        before += size
    return rows


def environment_steps(root: Path) -> int:
    """Return the environment steps that all episodes of a dataset took; 0 without a dataset.

    Raises:
        ValueError: the dataset is damaged.
    """
    column = COLUMNS["rewards"]  # one entry a step, NaN where the episode had ended
    tables = [_table(root, DATA, shard, [column]) for shard in range(len(_shards(root)))]
    return sum(int((~np.isnan(np.array(table[column].to_pylist(), np.float32))).sum()) for table in tables if table.num_rows)


def rates(root: Path) -> dict[str, float]:
    """Return decisions per second of simulated time by task, read off the timestamps: a dataset's `fps` is the rate of its first task.

    A task whose episodes have one decision each is not mentioned, as their only timestamp is 0.

    Raises:
        ValueError: the dataset is damaged.
    """
    latest: dict[str, tuple[float, int]] = {}  # last timestamp of the longest episode, seconds, and the number of decisions before it
    for shard in range(len(_shards(root))):
        rows, times = _table(root, LISTING, shard, ["length", "etude/task"]).to_pylist(), _table(root, DATA, shard, ["timestamp"])
        for row, end in zip(rows, accumulate(row["length"] for row in rows), strict=True):
            last = times["timestamp"][end - 1].as_py(), row["length"] - 1
            latest[row["etude/task"]] = max(latest.get(row["etude/task"], last), last)
    fps = read_object(root / "meta/info.json")["fps"] if latest else 0
    found = {task: steps / seconds for task, (seconds, steps) in latest.items() if steps}
    return {task: float(fps) if math.isclose(rate, fps, rel_tol=1e-6) else rate for task, rate in found.items()}  # timestamps are float32


def frame(root: Path, order: int, t: int) -> bytes:
    """Return the PNG of the first camera before decision `t` of an episode; after its last decision where `t` is its length.

    Args:
        root: of the dataset.
        order: of the episode, as `facts` gives it.
        t: decision, from 0.

    Raises:
        ValueError: the dataset is damaged, or has no such frame.
    """
    ends = list(accumulate(_shards(root)))  # number of episodes up to and with each shard
    shard = bisect(ends, order)
    place, start = order - (ends[shard - 1] if shard else 0), 0  # within the shard; first data row of the episode
    for row in _table(root, LISTING, shard, ["length", "etude/order", "etude/last_frames"]).to_pylist():
        if row["etude/order"] == place:
            data = _table(root, DATA, shard) if t < row["length"] else pa.table({})  # the last frame is not in a row of its own
            camera = next((name for name in data.column_names if name.startswith(CAMERA)), "")
            return data[camera][start + t].as_py()["bytes"] if camera else row["etude/last_frames"][0]
        start += row["length"]
    raise ValueError(f"{root} has no episode {order}.")


def _shards(root: Path) -> list[int]:
    """Return the number of episodes of each committed shard."""
    if not count(root):  # raises where `info.json` is damaged
        return []
    return json.loads((root / "meta/info.json").read_bytes())["etude"]["shards"]


def _table(root: Path, kind: str, shard: int, columns: list[str] | None = None) -> pa.Table:
    """Return columns of one file of a dataset; an empty table where the file does not exist: a shard may have no episode with a decision."""
    file = root / kind / f"chunk-{shard // CHUNK:03d}" / f"file-{shard % CHUNK:03d}.parquet"
    if not file.exists():
        return pa.table({})
    try:
        return pq.ParquetFile(file).read(columns)
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(f"{file} cannot be read ({' '.join(str(error).split())}); delete the folder {root}, or leave it out.") from error
