"""Reads a LeRobotDataset v3.0 of any producer. Nothing in it is trusted: paths stay inside its folder, and every number that is used is checked.

n = rows of an episode, N = environment steps that they last; A = numbers of an action, S = of a state; C = cameras; T = decisions, `span` steps each.
"""

import json
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agent.demonstrate.cells import Unusable, column, reading, whole
from agent.demonstrate.footage import filmed, overlapping, still
from agent.demonstrate.outcomes import SUCCESS, column_of, hits
from agent.demonstrate.readers import Recording

VERSION = "v3.0"  # the only one that is read
CAMERA, STATE = "observation.images.", "observation.state"
OWN_TARGETS = "etude.target_actions"  # what is imitated, where a run of etude executed something else
MISFIT = 0.5  # rows: a timestamp further from frame_index / fps, or a frame of a video further from its timestamp, may mean another one
SPEC = re.compile(r"(0?\d{1,2}d?)?")  # formats of numbers in a template of paths; a width of a million would fill the memory


class LeRobot:
    """A LeRobotDataset on disk; the methods raise a ValueError of one sentence where a file is missing, damaged or not what it should be.

    Args:
        root: its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, file = root, root / "meta/info.json"
        if not file.exists():
            # The folder of a run is no dataset itself, but its stages have datasets, which the message then suggests.
            inside = [str(each.parent.parent) for each in sorted(root.glob("*/episodes/meta/info.json"))]
            choice = " or ".join(inside[:2]) or "the folder of a LeRobotDataset v3.0, or minari:ID"
            raise ValueError(f"demonstrate.dataset is '{root}', and there is no meta/info.json in it; give {choice}.")
        with reading(file):
            self.info: dict[str, Any] = json.loads(self.inside("meta/info.json").read_bytes())
            version, self.features = self.info.get("codebase_version"), dict(self.info["features"])
        if version != VERSION:
            remedy = "convert it with lerobot's convert_dataset_v21_to_v30"
            raise ValueError(f"demonstrate.dataset {root} is of version {version}, and only {VERSION} is read; {remedy}.")
        with reading(file):
            self.fps = float(self.info["fps"])
            if not 0 < self.fps < math.inf:
                raise ValueError(f"its fps is {self.info['fps']!r}")
            self.sizes = {name: math.prod(map(int, feature["shape"])) for name, feature in self.features.items()}
            """Numbers of a cell, by feature."""
            self._overlaps: dict[str, set[int]] = {}
            self.pictures = [name for name, feature in self.features.items() if feature["dtype"] in ("image", "video")]

    def inside(self, relative: str) -> Path:
        """Return the place of a file of the dataset; raise ValueError where it lies outside of the folder, or is no regular file."""
        place, own = (self.root / relative).resolve(), self.root.resolve()
        cached = own.parent.name == "snapshots" and place.is_relative_to(own.parent.parent / "blobs")  # where Hugging Face's cache has the files
        if not (place.is_relative_to(own) or cached):
            link = "" if ".." in Path(relative).parts or Path(relative).is_absolute() else " by a link: put the files themselves there"
            raise ValueError(f"it names {relative!r}, which lies outside of the dataset{link}")
        if place.exists() and not place.is_file():  # a pipe would be waited for, without end
            raise ValueError("it is no regular file")
        return place

    def camera(self, name: str) -> str:
        """Return the feature that holds the frames of the camera `name`."""
        for key in (name, CAMERA + name):  # the feature's full name, or its last part as in `env.cameras`
            if key in self.pictures:
                return key
        known = ", ".join(repr(key.removeprefix(CAMERA)) for key in self.pictures) or "none"
        raise ValueError(f"demonstrate.dataset {self.root} has no camera {name!r}; it has {known}. Name the cameras to use in demonstrate.cameras.")

    @cached_property
    def listing(self) -> list[dict[str, Any]]:
        """The rows of `meta/episodes`, one an episode, in order and without statistics."""
        found = []
        for path in sorted((self.root / "meta/episodes").rglob("*.parquet")):
            with reading(path):
                file = pq.ParquetFile(self.inside(str(path.relative_to(self.root))))
                # Statistics are most of the columns, and are not needed.
                for row in file.read([name for name in file.schema_arrow.names if not name.startswith("stats/")]).to_pylist():
                    number = whole(row["episode_index"], "an episode_index")
                    found.append(row | {"episode_index": number, "length": whole(row["length"], f"the length of episode {number}")})
        with reading(self.root / "meta/episodes"):
            if len({row["episode_index"] for row in found}) < len(found):
                raise ValueError("it lists an episode twice")
        return sorted(found, key=lambda row: row["episode_index"])

    @cached_property
    def tasks(self) -> dict[int, str]:
        """The instructions by `task_index`."""
        with reading(self.root / "meta/tasks.parquet"):
            table = pq.ParquetFile(self.inside("meta/tasks.parquet")).read()
            # The texts are the index of a pandas table, which has a name or not, or the one other column.
            others = [name for name in table.column_names if name != "task_index"]
            text = next((name for name in ("task", "__index_level_0__") if name in others), others[0] if len(others) == 1 else "")
            if not text:
                raise ValueError(f"it has no column task, but {', '.join(others) or 'task_index alone'}")
            indices = [whole(each, "a task_index") for each in table["task_index"].to_pylist()]
            if twice := [index for index, count in Counter(indices).items() if count > 1]:
                raise ValueError(f"it has the task_index {twice[0]} twice")
            return dict(zip(indices, table[text].to_pylist(), strict=True))

    @cached_property
    def columns(self) -> set[str]:
        """Names of all features, of columns of episodes that say something, and of columns of data, as far as the first file has them."""
        names = set(self.features) | {name for row in self.listing for name, value in row.items() if value is not None}
        for row in self.listing[:1]:
            with reading(self.root / "meta/episodes"):
                relative = self.place(row, "data_path", "data")
            with reading(self.root / relative):
                names |= {*pq.read_schema(self.inside(relative)).names}
        return names

    @property
    def success_column(self) -> str:
        """Return the column that says whether an episode succeeded; empty where there is none."""
        return column_of(self.columns)

    def place(self, row: dict[str, Any], template: str, kind: str) -> str:
        """Return the path, relative to the folder, of an episode's data (`kind` 'data') or video ('videos/KEY')."""
        number = row["episode_index"]
        values = {f"{part}_index": whole(row.get(f"{kind}/{part}_index"), f"{kind}/{part}_index of episode {number}") for part in ("chunk", "file")}
        values |= {"video_key": kind.removeprefix("videos/")}
        text = self.info.get(template)
        for _, name, spec, conversion in string.Formatter().parse(text if isinstance(text, str) else "{}"):
            if name is not None and (name not in values or conversion or not SPEC.fullmatch(spec or "")):  # an attribute of an object would be read
                raise ValueError(f"{template} in meta/info.json is {text!r}; it may hold {{chunk_index:03d}}, {{file_index:03d}} and {{video_key}}")
        return str(text).format(**values)

    def rows(self, row: dict[str, Any], needed: Sequence[str], others: Sequence[str] = ()) -> pa.Table:
        """Return these columns of an episode's rows of data, in order; a file of data holds many episodes. `others` may be missing."""
        with reading(self.root / "meta/episodes"):
            relative = self.place(row, "data_path", "data")
        number, length = row["episode_index"], row["length"]
        with reading(self.root / relative):
            file = self.inside(relative)
            names = pq.read_schema(file).names
            if missing := [name for name in needed if name not in names]:
                raise ValueError(f"it has no column {missing[0]}")
            present = [*needed, *(name for name in others if name in names)]
            rows = pq.read_table(file, columns=present, filters=[("episode_index", "=", number)])  # skips row groups of other episodes
            if len(rows) != length:  # `meta/episodes` and `data` are separate files, which may not fit
                raise Unusable("have another number of rows than meta/episodes says", f"episode {number} has {len(rows)} of {length}")
            if not length:
                raise Unusable("have no rows", f"episode {number}")
            rows = rows.sort_by("frame_index")
        order = column(rows, "frame_index", number, 1)[:, 0]
        if wrong := np.flatnonzero(order != np.arange(length)).tolist():
            raise Unusable("have a frame_index that does not count from 0", f"episode {number}, row {wrong[0]} has {order[wrong[0]]:g}")
        return rows

    @property
    def targets(self) -> str:
        """Return the column of the actions to imitate.

        Raises:
            ValueError: there is none, and others may mean it.
        """
        if "action" not in self.columns and (alike := sorted(name for name in self.columns if name.startswith("action"))):
            has, remedy = ", ".join(alike), "write one column action, a list of numbers in each row"
            raise ValueError(f"demonstrate.dataset {self.root} has no column action, but {has}; {remedy}.")
        return OWN_TARGETS if OWN_TARGETS in self.sizes else "action"

    def actions(self, leave_out: Callable[[str, str], None]) -> Iterator[np.ndarray]:
        """Yield the actions to imitate of each usable episode, float64[n, A], without frames; `leave_out` as in `recordings`."""
        for row in self.listing:
            try:
                rows = self.rows(row, [self.targets, "frame_index"])
                actions = column(rows, self.targets, row["episode_index"], self.sizes.get(self.targets, 0))
            except Unusable as error:
                leave_out(error.why, error.where)
            else:
                shape = row.get("etude/chunk_shape") or (1, actions.shape[1])  # one row of ours holds H actions
                yield actions.reshape(-1, shape[-1])

    def recordings(
        self, cameras: Sequence[str], leave_out: Callable[[str, str], None], *, span: int, size: int, steps_per_row: float = 1, state: bool = False,
        success: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Iterator[Recording]:  # fmt: skip
        """Yield the usable episodes as recordings with one action an environment step.

        Args:
            cameras: C features with frames, as images in the tables or as videos.
            leave_out: called with the reason and the place for each episode that cannot be used; the reason continues "3 episodes ...".
            span: environment steps from one frame to the next.
            size: height and width of the frames, pixels.
            steps_per_row: environment steps that a row lasts.
            state: the state is needed; else it is read where it can be.
            success: f(rewards of the rows, float64[n]) -> bool[n], in place of `outcomes.hits`.
        """
        for row in self.listing:
            try:
                yield self.recording(row, cameras, span, size, steps_per_row, state, success)
            except Unusable as error:
                leave_out(error.why, error.where)

    def recording(
        self, row: dict[str, Any], cameras: Sequence[str], span: int, size: int, steps_per_row: float = 1, state: bool = False,
        success: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Recording:  # fmt: skip
        """Return one episode; arguments as of `recordings`.

        Raises:
            Unusable: it cannot be used.
        """
        stills = [key for key in cameras if self.features[key]["dtype"] == "image"]
        # Times are needed to find frames in videos.
        needed = ["action", "frame_index", "task_index", *stills, *([STATE] if state else []), *(["timestamp"] if len(stills) < len(cameras) else [])]
        rows, number = (
            self.rows(row, needed, ["next.reward", *SUCCESS, *([STATE] if STATE in self.sizes and not state else [])]),
            row["episode_index"],
        )
        actions = column(rows, "action", number, self.sizes.get("action", 0))
        rewards = column(rows, "next.reward", number, 1)[:, 0] if "next.reward" in rows.column_names else np.zeros(len(rows))
        steps = max(1, round(len(rows) * steps_per_row))
        # 1e-6: a quotient may fall just short of its whole number.
        row_N = np.minimum((np.arange(steps) / steps_per_row + 1e-6).astype(int), len(rows) - 1)
        moments = [*row_N[::span].tolist(), len(rows) - 1]  # the frame after the last action is not recorded: the one before it stands for it
        states = self.states(rows, number) if state else self.states_if_any(rows, number)
        # Rewards and success come at the end of their row, and each row counts once, also one that no step falls on.
        step_n = np.clip(np.ceil((np.arange(len(rows)) + 1) * steps_per_row - 1e-6).astype(int) - 1, 0, steps - 1)
        won = np.bincount(step_n, success(rewards) if success else hits(rows, row, self.columns), steps) > 0
        frames = self._pictures(row, rows, cameras, moments, size)
        instruction = self.instruction(rows, number)
        return Recording(
            number, instruction, actions[row_N], np.bincount(step_n, rewards, steps), won, frames, None, None if states is None else states[moments]
        )

    def states(self, rows: pa.Table, number: int) -> np.ndarray:
        """Return the states of an episode's rows, float32[n, S]."""
        return column(rows, STATE, number, self.sizes.get(STATE, 0)).astype(np.float32)

    def states_if_any(self, rows: pa.Table, number: int) -> np.ndarray | None:
        """Return the states of an episode's rows, float32[n, S], or None where there are none that can be used."""
        with suppress(Unusable):
            return self.states(rows, number) if STATE in rows.column_names else None
        return None

    def _pictures(self, row: dict[str, Any], rows: pa.Table, cameras: Sequence[str], moments: list[int], size: int) -> np.ndarray:
        """Return the frames of an episode's rows `moments`, uint8[T + 1, C, size, size, 3]."""
        number, frames = row["episode_index"], {}
        for key in cameras:
            if self.features[key]["dtype"] == "image":
                with reading(self.root / "data"):
                    frames[key] = [still(rows[key][t].as_py(), self.inside, size, f"episode {number}, row {t}") for t in moments]
            else:
                frames[key] = self._frames(row, key, self.times(rows, number)[moments], size)
        return np.stack([frames[key] for key in cameras], 1) if cameras else np.zeros((len(moments), 0, size, size, 3), np.uint8)

    def drift(self, rows: pa.Table, number: int) -> np.ndarray:
        """Return by how many rows the timestamps of an episode differ from frame_index / fps, float64[n]."""
        return np.abs(column(rows, "timestamp", number, 1)[:, 0] - np.arange(len(rows)) / self.fps) * self.fps

    def times(self, rows: pa.Table, number: int) -> np.ndarray:
        """Return the timestamps of an episode's rows, float64[n], seconds; refuse those that say otherwise than frame_index and fps."""
        times = column(rows, "timestamp", number, 1)[:, 0]
        off = self.drift(rows, number)
        if off.max() > MISFIT:
            t = int(off.argmax())
            where = f"episode {number}, row {t} is at {times[t]:g} s, with {self.fps:g} rows a second"
            raise Unusable("have timestamps that do not fit their frame_index, so that frames of a video cannot be told", where)
        return times

    def instruction(self, rows: pa.Table, number: int) -> str:
        """Return an episode's instruction, that of its first row."""
        index = column(rows, "task_index", number, 1)[0, 0]
        text = self.tasks.get(int(index))
        if not isinstance(text, str) or not text.strip():
            raise Unusable("have no task in meta/tasks.parquet", f"episode {number} has the task_index {index:g}")
        return text

    def overlaps(self, key: str) -> set[int]:
        """Return the numbers of the episodes whose frames of the camera `key` lie, in a video, where those of another one do."""
        if key not in self._overlaps:
            self._overlaps[key] = overlapping(self.listing, f"videos/{key}", self.fps)
        return self._overlaps[key]

    def _frames(self, row: dict[str, Any], key: str, times: np.ndarray, size: int) -> list[np.ndarray]:
        """Return the frames of an episode, uint8[size, size, 3] each, at ascending times in seconds; a video holds many episodes."""
        with reading(self.root / "meta/episodes"):
            relative, begin = self.place(row, "video_path", f"videos/{key}"), row.get(f"videos/{key}/from_timestamp")
            if not isinstance(begin, int | float) or not 0 <= begin < math.inf:
                raise ValueError(f"videos/{key}/from_timestamp of episode {row['episode_index']} is {begin}")
            if row["episode_index"] in self.overlaps(key):
                where = f"episode {row['episode_index']} has the {row['length']} from {begin:g} s on in {relative}"
                raise Unusable("have frames in a video that are another episode's too, by their from_timestamp", where)
        with reading(self.root / relative):
            return filmed(self.inside(relative), begin + times, MISFIT / self.fps, size)
