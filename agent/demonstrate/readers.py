"""Readers of datasets with one row an environment step: a LeRobotDataset v3.0 of any producer, or a local Minari dataset.

A Minari dataset holds actions and seldom frames, so its episodes are replayed in the environment.

n = recorded steps of an episode; A = action dimensions; C = cameras; T = decisions, `span` steps each.
"""

import importlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from agent.rollout.environments import Environments
from envs import EnvConfig
from envs.adapt import Adapter
from envs.faults import in_words
from envs.frames import picture

CAMERA = "observation.images."
SUCCESS = ("next.success", "success")  # columns that may hold it, in the rows of steps or in those of episodes
# Tolerances for a replay: rewards of an Adapter are float32, and a simulator's last digits differ from machine to machine.
NEAR: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


@dataclass(frozen=True)
class Recording:
    """One recorded episode."""

    number: int
    """Its index in the dataset."""
    instruction: str
    actions: np.ndarray
    """float64[n, A], in the environment's units."""
    rewards: np.ndarray
    """float64[n], 0 where none were recorded."""
    hits: np.ndarray
    """bool[n], whether success was reported after a step."""
    frames: np.ndarray
    """uint8[T + 1, F, h, w, 3], RGB, at the beginning of each decision and at the end; F = C, or C x history where the environment drew them."""
    seed: int | None = None
    """Of the environment's reset, where it is known."""
    states: np.ndarray | None = None
    """float32[T + 1, S], proprioception, where the episode was replayed in the environment."""
    achieved: tuple[str, ...] = ()
    """Instructions that the last state fulfils, where the environment names them."""


# --- a LeRobotDataset of any producer ----------------------------------------------------------------------------------


def lerobot(root: Path, info: dict[str, Any], cameras: Sequence[str], *, span: int, size: int) -> Iterator[Recording]:
    """Yield the episodes of a LeRobotDataset v3.0 with one row an environment step.

    Args:
        root: its folder.
        info: its `meta/info.json`.
        cameras: C features with frames, as images in the tables or as videos.
        span: environment steps from one frame to the next.
        size: height and width of the frames, pixels.

    Raises:
        ValueError: a file is missing or damaged, or lacks rows or frames.
    """
    tasks = _tasks(root)
    stills = [key for key in cameras if info["features"][key]["dtype"] == "image"]
    for row in _listing(root):
        with reading(root / info["data_path"].format(**_place(row, "data"))) as file:
            rows = _rows(file, row, stills)
            steps = [*range(0, len(rows), span), len(rows) - 1]  # the frame after the last action is not recorded: the one before it stands for it
            frames = {key: [_still(root, rows[key][t].as_py(), size) for t in steps] for key in stills}
            actions, times = _numbers(rows, "action"), _numbers(rows, "timestamp")[steps, 0]
            rewards = _numbers(rows, "next.reward")[:, 0] if "next.reward" in rows.column_names else np.zeros(len(rows))
            hits, instruction = _hits(rows, row), str(tasks[rows["task_index"][0].as_py()])
        for key in set(cameras) - set(stills):
            with reading(root / info["video_path"].format(video_key=key, **_place(row, f"videos/{key}"))) as file:
                # Timestamps are those of an episode; its frames begin somewhere inside a video of many episodes.
                frames[key] = _video(file, row[f"videos/{key}/from_timestamp"] + times, info["fps"], size)
        yield Recording(row["episode_index"], instruction, actions, rewards, hits, np.stack([frames[key] for key in cameras], 1))


def _tasks(root: Path) -> dict[int, str]:
    """Return the instructions of a LeRobotDataset by `task_index`."""
    with reading(root / "meta/tasks.parquet") as file:
        table = pq.read_table(file)
        # The texts are the index of a pandas table, so the name of their column depends on the producer ('task', '__index_level_0__').
        column = next(name for name in table.column_names if name != "task_index")
        return dict(zip(table["task_index"].to_pylist(), table[column].to_pylist(), strict=True))


def _listing(root: Path) -> list[dict[str, Any]]:
    """Return the rows of `meta/episodes`, one an episode, in order and without statistics."""
    found = []
    for path in sorted((root / "meta/episodes").rglob("*.parquet")):
        with reading(path) as file:
            # Statistics are most of the columns, and are not needed.
            found += pq.read_table(file, columns=[name for name in pq.read_schema(file).names if not name.startswith("stats/")]).to_pylist()
    return sorted(found, key=lambda row: row["episode_index"])


def _place(row: dict[str, Any], kind: str) -> dict[str, int]:
    """Return `chunk_index` and `file_index` of an episode's data or video, for the path templates in `meta/info.json`."""
    return {f"{part}_index": row[f"{kind}/{part}_index"] for part in ("chunk", "file")}


def _rows(file: Path, row: dict[str, Any], stills: Sequence[str]) -> pa.Table:
    """Return an episode's rows of data, in order; a file of data holds many episodes."""
    wanted = ["action", "next.reward", *SUCCESS, "timestamp", "task_index", "frame_index", *stills]
    present = [name for name in wanted if name in pq.read_schema(file).names]  # a missing column is reported where it is needed
    rows = pq.read_table(file, columns=present, filters=[("episode_index", "=", row["episode_index"])]).sort_by("frame_index")
    if not len(rows) == row["length"] > 0:  # `meta/episodes` and `data` are separate files, which may not fit
        raise ValueError(f"{len(rows)} of the {row['length']} rows of episode {row['episode_index']} are there")
    return rows


def _numbers(rows: pa.Table, name: str) -> np.ndarray:
    """Return a column of scalars or of lists, float64[n, size]."""
    return np.array(rows[name].to_pylist(), np.float64).reshape(len(rows), -1)


def _hits(rows: pa.Table, row: dict[str, Any]) -> np.ndarray:
    """Return whether success was recorded after each step, bool[n].

    Without a success column of steps, an episode succeeds after its last step, unless a success column of episodes says that it failed: a
    dataset with neither holds demonstrations, and those are successes.
    """
    for name in SUCCESS:
        if name in rows.column_names:
            return _numbers(rows, name)[:, 0] > 0
    return np.arange(len(rows)) == (len(rows) - 1 if all(row.get(name, True) for name in SUCCESS) else -1)  # -1 equals no step


def _still(root: Path, cell: dict[str, Any], size: int) -> np.ndarray:
    """Return a frame, uint8[size, size, 3], from the bytes in a table's cell, or from the file that the cell names."""
    content = cell["bytes"] or (root / cell["path"]).read_bytes()
    return picture(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), size)


def _video(file: Path, times: np.ndarray, fps: float, size: int) -> list[np.ndarray]:
    """Return the frames of a video, uint8[size, size, 3] each, at ascending times in seconds."""
    # Frames are compared by number: times in a video are multiples of its time base, and differ from the recorded ones in the last digits.
    wanted, found = np.rint(times * fps).astype(int).tolist(), {}
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        # A seek goes to the key frame at or before a time; the frames from there on have to be decoded anyway.
        container.seek(int(times[0] / (stream.time_base or 1)), stream=stream)
        for frame in container.decode(stream):
            if (number := round((frame.time or 0.0) * fps)) in wanted:
                found[number] = picture(frame.to_ndarray(format="rgb24"), size)
            if number >= wanted[-1]:
                break
    if missing := [number for number in wanted if number not in found]:
        raise ValueError(f"it shows nothing at {missing[0] / fps:.3f} s")
    return [found[number] for number in wanted]


@contextmanager
def reading(file: Path) -> Iterator[Path]:
    """Raise a ValueError of one sentence for any error while a file of a dataset is read and interpreted."""
    try:
        yield file
    # What a damaged file raises depends on where the damage is: missing columns and keys, values of other types, Arrow's and FFmpeg's own errors.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration, pa.ArrowException, av.FFmpegError) as error:
        why = "it is missing" if isinstance(error, FileNotFoundError) else " ".join(str(error.__cause__ or error).split()) or type(error).__name__
        raise ValueError(f"demonstrate.dataset: {file} cannot be read ({why}); fetch or record the dataset anew.") from error


# --- a local Minari dataset --------------------------------------------------------------------------------------------


def minari(name: str, env: EnvConfig, span: int, leave_out: Callable[[str], None]) -> Iterator[Recording]:
    """Yield the episodes of a local Minari dataset, replayed from their seeds step by step, with a frame every `span` steps.

    Args:
        name: its id.
        env: the environment to replay them in.
        span: environment steps from one frame to the next.
        leave_out: called with the reason for each episode whose replay differs from the recording.

    Raises:
        ValueError: the package or the dataset is missing, or its actions have another size than the environment's.
    """
    # One recorded action a step, and no end at a success: the recording may go on after it.
    with closing(Environments(env.model_copy(update={"action_repeat": 1, "terminate_on_success": False}), 1)) as environments:
        for recorded, seed in _in_minari(name):
            actions = np.asarray(recorded.actions, np.float64).reshape(len(recorded), -1)
            check_width(f"minari:{name}", actions.shape[1], len(environments.first.actions), env)
            try:
                replayed = environments.first.apply(_replay, recorded, actions, seed, span)
            except (Exception, SystemExit) as error:  # an environment may raise anything; this costs its episode, not the run
                replayed = f"could not be replayed ({in_words(error)})"
                environments.renew(0)
            if isinstance(replayed, Recording):
                yield replayed
            else:
                leave_out(replayed)


def _in_minari(name: str) -> Iterator[tuple[Any, int | None]]:
    """Yield the episodes of a local Minari dataset, as `EpisodeData`, with their seeds."""
    try:
        found = importlib.import_module("minari").load_dataset(name)  # an optional dependency
        # The seed is no field of EpisodeData, but of the metadata in Minari's storage.
        for recorded, metadata in zip(found, found.storage.get_episode_metadata(found.episode_indices), strict=True):
            yield recorded, metadata.get("seed")
    except ImportError as error:
        raise ValueError(f"demonstrate.dataset minari:{name} needs a package ({error}); run: pip install 'minari[hdf5]'") from error
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:  # Minari parses ids and files without checking them
        why = " ".join(str(error).split())
        raise ValueError(f"demonstrate.dataset minari:{name} cannot be read ({why}); fetch it by: minari download {name}") from error


def check_width(source: Any, width: int, needed: int, env: EnvConfig) -> None:
    """Check that a dataset's actions have the environment's size A.

    Raises:
        ValueError: they have another size.
    """
    if width != needed:
        remedy = "record it with this environment's own actions"
        raise ValueError(f"demonstrate.dataset {source} has actions of {width} numbers, and {env.id} takes {needed}; {remedy}.")


def _replay(adapter: Adapter, recorded: Any, actions: np.ndarray, seed: int | None, span: int) -> Recording | str:
    """Return the replay of a Minari episode, or the reason why there is none or it differs; the reason continues "3 episodes ...".

    Args:
        adapter: the environment.
        recorded: Minari's `EpisodeData`.
        actions: float64[n, A], the recorded ones.
        seed: of the episode's reset; None: not recorded.
        span: environment steps from one frame to the next.
    """
    if seed is None:
        return "have no seed to be replayed from"
    outcomes, observations = [], [adapter.reset(seed)]
    for t, action in enumerate(actions, 1):
        outcomes.append(adapter.step(action[None], look=False))
        if t % span == 0 or t == len(actions):  # where a decision begins, and at the end
            observations.append(adapter.observe())
        if outcomes[-1].terminated:
            break
    rewards, hits = np.array([outcome.rewards[0] for outcome in outcomes]), np.array([outcome.success for outcome in outcomes])
    # Sparse rewards alone would prove little, so the last observation is compared too.
    if len(rewards) < len(actions) or not np.allclose(rewards, recorded.rewards, **NEAR) or not _alike(adapter.raw, recorded.observations):
        return "did not replay exactly"
    states = None if observations[0].state is None else np.stack([each.state for each in observations])  # type: ignore[arg-type]
    frames, achieved = np.stack([each.frames for each in observations]), outcomes[-1].achieved
    return Recording(int(recorded.id), observations[0].instruction, actions, rewards, hits, frames, seed, states, achieved)


def _alike(seen: Any, recorded: Any) -> bool:
    """Return whether an observation equals the last recorded one, as far as the two can be compared.

    Args:
        seen: an observation; nested dicts of arrays, or an array.
        recorded: all recorded observations of the episode; dicts of arrays [n + 1, ...], or such an array.
    """
    if isinstance(seen, dict) and isinstance(recorded, dict):
        return all(_alike(seen[key], recorded[key]) for key in seen.keys() & recorded.keys())
    if isinstance(seen, dict) or not isinstance(recorded, np.ndarray) or recorded.dtype.kind not in "bif":
        return True  # not comparable; pictures (unsigned integers) are stored with loss
    return np.shape(seen) != recorded.shape[1:] or np.allclose(seen, recorded[-1], **NEAR)  # another shape: a wrapper changed the observation
