"""Writes small LeRobotDatasets as others record them, one row a step and frames as PNG, whole or spoilt."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIDE = 16  # pixels
CAMERA = "observation.images.front"


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def frame(episode: int, step: int) -> np.ndarray:
    """Every frame of a dataset is of its own colour."""
    return np.full((SIDE, SIDE, 3), (40 + 7 * episode % 200, 5 * step % 256, 90), np.uint8)


def widest(episodes: list[Any]) -> int:
    return max(len(row) for each in episodes for row in each if isinstance(row, list))


def write(
    root: Path,
    actions: list[Any],
    *,
    fps: Any = 20,
    states: list[Any] | None = None,
    rows: dict[str, list[list[Any]]] | None = None,
    listing: dict[str, list[Any]] | None = None,
    info: dict[str, Any] | None = None,
    tasks: list[Any] | None = None,
    frames: Any = frame,
) -> Path:
    """Write episodes into one file of data, and return the folder.

    Args:
        root: the folder.
        actions: of each episode, a list of rows.
        fps: rows a second.
        states: of each episode likewise.
        rows: further columns of the data, or other values of those that there are, of each episode.
        listing: the same of `meta/episodes`, one value an episode.
        info: other values in `meta/info.json`.
        tasks: the instructions; episode i has number i modulo their number.
        frames: of episode and step.
    """
    tasks = ["pick the cube"] if tasks is None else tasks
    lengths, numbers = [len(each) for each in actions], range(len(actions))
    table: dict[str, Any] = {"action": [row for each in actions for row in each]}
    table |= {} if states is None else {"observation.state": [row for each in states for row in each]}
    table[CAMERA] = [{"bytes": png(frames(i, t)), "path": None} for i in numbers for t in range(lengths[i])]
    table |= {"timestamp": [t / (fps if isinstance(fps, int | float) and fps > 0 else 1) for i in numbers for t in range(lengths[i])]}
    table |= {"frame_index": [t for i in numbers for t in range(lengths[i])], "episode_index": [i for i in numbers for _ in range(lengths[i])]}
    table |= {"index": list(range(sum(lengths))), "task_index": [i % max(len(tasks), 1) for i in numbers for _ in range(lengths[i])]}
    table |= {name: [value for each in values for value in each] for name, values in (rows or {}).items()}
    for folder in ("data/chunk-000", "meta/episodes/chunk-000"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), root / "data/chunk-000/file-000.parquet")
    ends = np.cumsum(lengths).tolist()
    listed: dict[str, Any] = {"episode_index": list(numbers), "length": lengths, "tasks": [[tasks[i % len(tasks)]] if tasks else [] for i in numbers]}
    listed |= {"data/chunk_index": [0 for _ in numbers], "data/file_index": [0 for _ in numbers], "dataset_to_index": ends, **(listing or {})}
    pq.write_table(pa.table(listed), root / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(pa.table({"task_index": list(range(len(tasks))), "task": tasks}), root / "meta/tasks.parquet")
    features: dict[str, Any] = {"action": {"dtype": "float32", "shape": [widest(actions)], "names": None}}
    features |= {} if states is None else {"observation.state": {"dtype": "float32", "shape": [widest(states)], "names": None}}
    features |= {CAMERA: {"dtype": "image", "shape": [SIDE, SIDE, 3], "names": ["height", "width", "channel"]}}
    features |= {name: {"dtype": "float32", "shape": [1], "names": None} for name in (rows or {}) if name.startswith("next.")}
    said = {"codebase_version": "v3.0", "robot_type": "sim", "total_episodes": len(actions), "total_frames": sum(lengths), "fps": fps}
    said |= {"features": features, "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet", "video_path": None, **(info or {})}
    (root / "meta/info.json").write_text(json.dumps(said))
    return root
