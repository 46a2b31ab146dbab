"""Episodes on disk as a LeRobotDataset v3.0, which lerobot can open: one shard per append, one row per decision, frames as PNG.

`data` and `meta/episodes` have lerobot's format. Further columns hold the rest: `etude.*` one value per decision, `etude/*` one per episode. lerobot
opens no dataset with episodes of zero rows, so an episode without a decision (its reset had a fault) is in `meta/blank`, outside lerobot's counts.
`meta/info.json` is the commit point: it is written last, and lists the committed shards. Every file is written under a temporary name, flushed and
renamed. A kill at any instant leaves the old dataset or the new one, and the next append overwrites an uncommitted shard. There must be one writer
at a time. Shapes: T, H, A, L, F, S as in `agent.records`; R = rows of a shard, which are the decisions of all its episodes.
"""

import errno
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from agent.records import Episode
from agent.run.describe import card, describe, names, pool

DATA, LISTING, BLANK = "data", "meta/episodes", "meta/blank"  # folders: each shard has a file of the same number in each of them
CHUNK = 1000  # shards per subfolder, as in lerobot
CAMERA = "observation.images."  # lerobot's prefix of image columns
OURS = ("tokens", "logprobs", "rewards", "policy_tokens", "lookahead_gains", "target_actions")  # lerobot has no column for these
COLUMNS = {"states": "observation.state", "actions": "action", **{name: f"etude.{name}" for name in OURS}}
DTYPES = {"frames": "uint8", **dict.fromkeys(COLUMNS, "float32"), "tokens": "int64", "policy_tokens": "int64"}
OPTIONAL = ("hindsight", "policy_tokens", "lookahead_gains", "target_actions")  # None in most episodes, and then not hashed
INT, FLAG, TEXT, WORDS, SHAPE = pa.int64(), pa.bool_(), pa.string(), pa.list_(pa.string()), pa.list_(pa.int64())
PLAIN = {"task": TEXT, "seed": INT, "attempt": INT, "policy": TEXT, "success": FLAG, "first_success": INT}  # fields stored as they are
PLAIN |= {"success_at_end": FLAG, "terminated": FLAG, "truncated": FLAG, "achieved": WORDS, "faults": WORDS}
OTHER = {"order": INT, "sha256": TEXT, "frame_shape": SHAPE, "chunk_shape": SHAPE, "reply_length": INT, "steps": INT}  # to restore the rest
OTHER |= {"last_frames": pa.list_(pa.binary()), "last_state": pa.list_(pa.float32())}
OTHER |= {"hindsight": pa.struct({"instruction": TEXT, "decision": INT})}
FACTS = pa.schema({"tasks": WORDS, "length": INT, **{f"etude/{name}": kind for name, kind in (PLAIN | OTHER).items()}})  # one row per episode
INDEX = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
PANDAS = json.dumps({"index_columns": ["task"], "column_indexes": [], "columns": [INDEX], "pandas_version": "2.2.0"})  # of tasks.parquet
NEW = {"codebase_version": "v3.0", "robot_type": None, "total_episodes": 0, "total_frames": 0, "total_tasks": 0, "chunks_size": CHUNK}
NEW |= {"data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "video_path": None, "fps": 1, "features": {}}
NEW |= {"data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"}
NEW |= {"etude": {"shards": [], "tasks": [], "kinds": [], "stats": "{}"}}  # shards: episodes of each


def count(root: Path) -> int:
    """Return the number of committed episodes, 0 without a dataset; no episode is read. Raise ValueError if `meta/info.json` is damaged."""
    return sum(_info(root)["etude"]["shards"])


def read(root: Path) -> list[Episode]:
    """Return the committed episodes in the order of appending, bit for bit as appended; [] without a dataset. Raise ValueError if one is damaged."""
    episodes = []
    for shard, size in enumerate(_info(root)["etude"]["shards"]):
        facts = [fact for kind in (LISTING, BLANK) for fact in _load(root, _file(kind, shard), FACTS.names).to_pylist()]
        rows = _load(root, _file(DATA, shard))
        with _trusting(root, root / _file(DATA if len(facts) == size else LISTING, shard)):  # the path is that of the file to blame
            assert len(facts) == size, f"{len(facts)} of its {size} episodes are listed"
            facts.sort(key=lambda fact: fact["etude/order"])  # episodes without a decision return to their places among the others
            starts = accumulate((fact["length"] for fact in facts), initial=0)
            episodes += [_episode(fact, rows.slice(start, fact["length"])) for fact, start in zip(facts, starts, strict=False)]
    return episodes


def append(root: Path, episodes: Sequence[Episode], *, fps: float, cameras: tuple[str, ...], rates: Mapping[str, float] | None = None) -> None:
    """Append `episodes` as one shard to the dataset in the folder `root`, which is made if missing. Without episodes, do nothing.

    `fps` is decisions per second of simulated time, not necessarily whole. A dataset has one; `rates` gives tasks others, for their timestamps.
    `cameras` names the F frames of an observation. Raise ValueError if the episodes do not fit the dataset, if it is damaged, or if it cannot be
    written; the dataset is then as before.
    """
    info = _info(root)
    arrays = [name for name in DTYPES if name != "target_actions"]  # which has the shape of `actions`, and may be missing in some episodes
    shapes = [{n: np.shape(getattr(e, n))[1:] for n in arrays if n not in OPTIONAL or getattr(e, n) is not None} for e in episodes if len(e)]
    fps = int(fps) if float(fps).is_integer() else fps  # lerobot writes whole rates as integers
    kinds = {json.dumps({"fps": fps, "cameras": cameras, **shape}) for shape in shapes} | {*info["etude"]["kinds"]}
    if any(not 0 < rate < np.inf for rate in (fps, *(rates or {}).values())):  # NaN fails the comparison too
        raise ValueError(f"fps is {fps} {rates or ''}; it should be decisions per second, more than 0")
    if len({*cameras}) < len(cameras) or "/" in "".join(cameras) or any(shape["frames"][0] != len(cameras) for shape in shapes):
        raise ValueError(f"cameras are {cameras}; each frame of an observation should have a name of its own, without '/'")
    if len(kinds) > 1:
        raise ValueError(f"{root} should hold episodes of one kind, got {' and '.join(sorted(kinds))}; use a folder for each")
    info = info | {"fps": fps, "etude": info["etude"] | {"kinds": [*kinds]}}
    for file, content in _grow(info, episodes, cameras, rates or {}).items() if episodes else ():
        _write(root / file, content)


def _grow(info: dict[str, Any], episodes: Sequence[Episode], cameras: tuple[str, ...], rates: Mapping[str, float]) -> dict[str, Any]:
    """Return the new content of each file that an append writes, in the order of writing; None: the file is removed."""
    etude, features, played = info["etude"], info["features"], [episode for episode in episodes if len(episode)]
    shard, tasks, stats = len(etude["shards"]), etude["tasks"], json.loads(etude["stats"])
    facts = [_facts(episode, order) for order, episode in enumerate(episodes)]
    files: dict[str, Any] = {_file(DATA, shard): None, _file(LISTING, shard): None}  # None clears what a killed append left under this number
    files[_file(BLANK, shard)] = pa.Table.from_pylist(blank, FACTS) if (blank := [fact for fact in facts if not fact["length"]]) else None
    if played:
        tasks = list(dict.fromkeys([*tasks, *(episode.instruction for episode in played)]))
        columns = _columns(played, info, tasks, cameras, rates)
        parts = _stats_of_each(columns, played)
        stats = {name: pool([part[name] for part in ([stats] if stats else []) + parts]) for name in parts[0]}  # over the whole dataset
        files[_file(DATA, shard)], features = _data(columns, played[0].actions.shape[1:])
        if not info["features"]:
            files["README.md"] = card(played[0].task, cameras)
        files[_file(LISTING, shard)] = _listing([fact for fact in facts if fact["length"]], info, parts)
        files["meta/tasks.parquet"] = pa.table({"task_index": np.arange(len(tasks)), "task": tasks}, metadata={"pandas": PANDAS})
        files["meta/stats.json"] = stats  # a kill may leave this newer than info.json, which therefore has copies of its own
    total, frames = info["total_episodes"] + len(played), info["total_frames"] + sum(map(len, played))
    totals = {"total_episodes": total, "total_frames": frames, "total_tasks": len(tasks), "splits": {"train": f"0:{total}"}}
    totals |= {"robot_type": info["robot_type"] or next((episode.task for episode in played), None)}
    etude = etude | {"shards": [*etude["shards"], len(episodes)], "tasks": tasks, "stats": json.dumps(stats)}
    return files | {"meta/info.json": info | totals | {"features": features, "etude": etude}}  # last, so it is written last: the commit


def _stats_of_each(columns: dict[str, Any], played: Sequence[Episode]) -> list[dict[str, Any]]:
    """Return the statistics of each episode, of all columns that a reader knows."""
    spans = pairwise(accumulate(map(len, played), initial=0))
    return [{name: describe(column[a:b]) for name, column in columns.items() if not name.startswith("etude.")} for a, b in spans]


def _facts(episode: Episode, order: int) -> dict[str, Any]:
    """Return a row of FACTS: all that the data rows of an episode do not hold. `order` is its place in the shard."""
    last = episode.frames[-1]  # T + 1 observations have T data rows: the last observation is stored here
    etude = {name: getattr(episode, name) for name in PLAIN} | {"order": order, "sha256": _fingerprint(episode)}
    etude |= {"reply_length": episode.tokens.shape[1]}
    etude |= {"hindsight": episode.hindsight and {"instruction": episode.hindsight[0], "decision": episode.hindsight[1]}}
    etude |= {"steps": episode.rewards.shape[1]}
    etude |= {"last_state": None if episode.states is None else episode.states[-1], "chunk_shape": episode.actions.shape[1:]}
    etude |= {"last_frames": [_png(frame) for frame in last if frame.size], "frame_shape": last.shape}
    return {"tasks": [episode.instruction], "length": len(episode), **{f"etude/{name}": value for name, value in etude.items()}}


def _fingerprint(episode: Episode) -> str:
    """Return the SHA-256 of all fields of the episode, in their order in `Episode`: to reorder or add fields there changes it (but see OPTIONAL)."""
    digest = hashlib.sha256()
    for name, value in vars(episode).items():
        if name in OPTIONAL and value is None:
            continue
        is_array = isinstance(value, np.ndarray)
        assert not is_array or value.dtype == DTYPES[name], f"{name} should be {DTYPES[name]}, got {value.dtype}"
        text = f"{name}{value.shape}" if is_array else json.dumps({name: value}, default=np.generic.item)
        digest.update(text.encode() + (value.tobytes() if is_array else b""))
    return digest.hexdigest()


def _columns(
    played: list[Episode], info: dict[str, Any], tasks: list[str], cameras: tuple[str, ...], rates: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Return the data columns in their order: uint8[R, h, w, 3] or [R, size]. Empty ones (no state, no reply) are left out."""
    lengths = [len(episode) for episode in played]
    owner, step = np.repeat(np.arange(len(played)), lengths), np.concatenate([np.arange(length) for length in lengths])  # of a row
    hits = np.array([-1 if episode.first_success is None else episode.first_success for episode in played])  # -1 equals no step
    present = [name for name in DTYPES if name != "target_actions" and getattr(played[0], name) is not None]
    rows = {name: np.concatenate([getattr(episode, name)[: len(episode)] for episode in played]) for name in present}  # drops the last observation
    columns = {CAMERA + camera: rows["frames"][:, i] for i, camera in enumerate(cameras)}
    columns |= {COLUMNS[name]: rows[name] for name in present[1:]}  # all but frames
    if not info["features"] or COLUMNS["target_actions"] in info["features"] or any(episode.target_actions is not None for episode in played):
        columns[COLUMNS["target_actions"]] = np.concatenate([episode.targets for episode in played])  # lerobot wants it in all shards or in none
    columns |= {"next.reward": np.nansum(rows["rewards"], 1), "next.done": step == np.array(lengths)[owner] - 1}
    columns |= {"next.success": step == hits[owner], "frame_index": step}
    columns["timestamp"] = (step / np.array([rates.get(episode.task, info["fps"]) for episode in played])[owner]).astype(np.float32)  # seconds
    columns |= {"episode_index": info["total_episodes"] + owner, "index": info["total_frames"] + np.arange(len(step))}
    columns["task_index"] = np.array([tasks.index(episode.instruction) for episode in played])[owner]
    return {name: column if column.ndim == 4 else column.reshape(len(step), -1) for name, column in columns.items() if column.size}


def _data(columns: dict[str, np.ndarray], chunk: tuple[int, ...]) -> tuple[pa.Table, dict[str, Any]]:
    """Return the data rows of a shard, typed as Hugging Face `datasets` expects, and lerobot's `features` of their columns; `chunk` is (H, A)."""
    arrays, types, features = {}, {}, {}
    for name, column in columns.items():
        dtype, size = column.dtype.name, column.shape[1]
        shape = chunk if name == COLUMNS["actions"] and chunk[0] > 1 else column.shape[1:]
        called = names(name, shape) if name in (COLUMNS["actions"], COLUMNS["states"]) else None
        features[name] = {"dtype": dtype, "shape": list(column.shape[1:]), "names": called}
        if column.ndim == 4:
            features[name] |= {"dtype": "image", "names": ["height", "width", "channel"]}
            cells, types[name] = [pa.array([_png(frame) for frame in column]), pa.nulls(len(column), TEXT)], {"_type": "Image"}
            arrays[name] = pa.StructArray.from_arrays(cells, ["bytes", "path"])
        else:
            flat, value = pa.array(column.ravel()), {"dtype": dtype, "_type": "Value"}
            arrays[name] = flat if size == 1 else pa.FixedSizeListArray.from_arrays(flat, size)
            types[name] = value if size == 1 else {"feature": value, "length": size, "_type": "List"}
    return pa.table(arrays, metadata={"huggingface": json.dumps({"info": {"features": types}})}), features


def _listing(facts: list[dict[str, Any]], info: dict[str, Any], parts: list[dict[str, Any]]) -> pa.Table:
    """Return the rows of a shard in `meta/episodes`: facts, places of the data, and statistics of each episode."""
    table, places = pa.Table.from_pylist(facts, FACTS), zip(("chunk", "file"), divmod(len(info["etude"]["shards"]), CHUNK), strict=True)
    order, ends = np.arange(len(facts)), info["total_frames"] + np.cumsum(table["length"])
    more = {"episode_index": info["total_episodes"] + order, "dataset_from_index": ends - table["length"], "dataset_to_index": ends}
    more |= {f"{kind}/{part}_index": np.full(len(facts), number) for part, number in places for kind in (DATA, LISTING)}
    more |= {f"stats/{name}/{key}": [part[name][key] for part in parts] for name, statistics in parts[0].items() for key in statistics}
    return pa.table(dict(zip(FACTS.names, table.columns, strict=True)) | more)


def _episode(fact: dict[str, Any], rows: pa.Table) -> Episode:
    """Return the episode of a row of FACTS and its data rows; raise AssertionError if its hash differs from the stored one."""
    values: dict[str, Any] = {name: fact[f"etude/{name}"] for name in PLAIN}
    values |= {name: tuple(values[name]) for name, kind in PLAIN.items() if kind == WORDS}
    chunk, reply, state = (fact[f"etude/{name}"] for name in ("chunk_shape", "reply_length", "last_state"))
    shapes = {"actions": chunk, "tokens": [reply], "logprobs": [reply], "rewards": [fact["etude/steps"]]}
    shapes |= {"policy_tokens": [reply], "lookahead_gains": []} if fact["length"] and COLUMNS["lookahead_gains"] in rows.column_names else {}
    shapes |= {"target_actions": chunk} if fact["length"] and COLUMNS["target_actions"] in rows.column_names else {}
    for name, shape in (shapes if state is None else shapes | {"states": [len(state)]}).items():
        cells = rows[COLUMNS[name]].to_pylist() if 0 not in (fact["length"], *shape) else []  # an empty array has no column
        values[name] = np.array(cells, DTYPES[name]).reshape(fact["length"], *shape)
    if "target_actions" in values and values["target_actions"].tobytes() == values["actions"].tobytes():
        del values["target_actions"]  # None in `Episode` stands for equal ones
    if state is not None:
        values["states"] = np.vstack([values["states"], np.array([state], np.float32)])
    cameras = [[cell["bytes"] for cell in rows[name].to_pylist()] for name in rows.column_names if name.startswith(CAMERA)]
    pictures = [io.BytesIO(png) for observation in [*zip(*cameras, strict=True), fact["etude/last_frames"]] for png in observation]
    frames = np.array([np.asarray(Image.open(png, formats=("PNG",))) for png in pictures], np.uint8)
    values["frames"] = frames.reshape(fact["length"] + 1, *fact["etude/frame_shape"])
    hindsight = fact["etude/hindsight"]
    values["hindsight"] = hindsight and (hindsight["instruction"], hindsight["decision"])
    episode = Episode(**values, instruction=fact["tasks"][0])
    assert _fingerprint(episode) == fact["etude/sha256"], f"episode {episode.id} differs from what was written"
    return episode


def _png(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)  # fastest on rendered frames, and small
    return buffer.getvalue()


def _file(kind: str, shard: int) -> str:
    return f"{kind}/chunk-{shard // CHUNK:03d}/file-{shard % CHUNK:03d}.parquet"


def _info(root: Path) -> dict[str, Any]:
    """Return `meta/info.json`, or that of an empty dataset where there is none."""
    with _trusting(root, path := root / "meta/info.json"):
        info = json.loads(path.read_bytes()) if path.exists() else NEW
        etude_wrote = {*NEW} <= {*info} and {*NEW["etude"]} == {*info["etude"]}
    if not etude_wrote:  # outside `_trusting`, which would advise to delete the folder
        raise ValueError(f"{root} holds a dataset that etude did not write; use another folder")
    return info


def _load(root: Path, file: str, columns: list[str] | None = None) -> pa.Table:
    """Return the table of a parquet file, its checksums verified; an empty one if the file does not exist."""
    with _trusting(root, root / file):
        if not (root / file).exists():
            return pa.table({})
        with pq.ParquetFile(pa.BufferReader((root / file).read_bytes()), page_checksum_verification=True) as parquet:
            if missing := {*(columns or ())} - {*parquet.schema_arrow.names}:
                raise ValueError(f"it lacks {sorted(missing)[0]!r}; perhaps another version of etude wrote it")
            return parquet.read(columns)


@contextmanager
def _trusting(root: Path, path: Path) -> Iterator[None]:
    """Turn every error while reading `path` into a ValueError of one sentence, which says what to do."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError, SyntaxError, NotImplementedError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        # A file that should exist counts as damage; errors of the disk or of permissions leave the dataset intact.
        if getattr(error, "errno", None) not in (None, errno.ENOENT):
            raise ValueError(f"cannot read {path} ({why}); correct that and run the same command again") from error
        again = "run the same command again; its episodes will be collected anew"
        raise ValueError(f"{path} is damaged ({why}); delete the folder {root} and {again}") from error


def _write(path: Path, content: pa.Table | dict[str, Any] | str | None) -> None:
    """Replace a file by `content`, atomically; None removes it. Raise ValueError if it cannot be written."""
    part = path.with_name(path.name + ".part")  # not *.parquet: lerobot reads every file of that name
    try:
        if content is None:
            return path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            if isinstance(content, pa.Table):
                pq.write_table(content, file, write_page_checksum=True)
            else:
                file.write((content if isinstance(content, str) else json.dumps(content, indent=4)).encode())
            file.flush()
            os.fsync(file.fileno())  # before the rename, or a power failure could leave an empty file under the final name
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        why = f"{error.strerror or error}; nothing already written is lost"
        raise ValueError(f"cannot write {path} ({why}); correct that and run the same command again") from error
