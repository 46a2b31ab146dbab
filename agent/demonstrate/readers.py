"""Other people's recordings, one entry an environment step: a LeRobotDataset v3.0 of any producer, or a local Minari dataset.

A Minari dataset holds actions and seldom frames, so its episodes are played again in the environment.

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

from agent.rollout.environments import Workers
from envs import EnvConfig
from envs.adapt import Adapter
from envs.faults import in_words
from envs.frames import picture

CAMERA = "observation.images."
SUCCESS = ("next.success", "success")  # columns that may say it, of frames or of whole episodes
NEAR: dict[str, Any] = {
    "rtol": 1e-4,
    "atol": 1e-5,
}  # of a replay: an Adapter's rewards are float32, and the last digits of a simulator differ by machine


@dataclass(frozen=True)
class Recording:
    """One episode as it was recorded."""

    number: int
    """In its dataset."""
    instruction: str
    actions: np.ndarray
    """float64[n, A], in the environment's units."""
    rewards: np.ndarray
    """float64[n], 0 where none were recorded."""
    hits: np.ndarray
    """bool[n], after which steps success was reported."""
    frames: np.ndarray
    """uint8[T + 1, F, h, w, 3], RGB, at the beginning of each decision and at the end; F = C, or C x history where the environment drew them."""
    seed: int | None = None
    """Of the environment's reset, where it is known."""
    states: np.ndarray | None = None
    """float32[T + 1, S], proprioception, where the environment was there to give it."""
    achieved: tuple[str, ...] = ()
    """Instructions that the last state fulfils, where the environment names them."""


# --- a LeRobotDataset of any producer ----------------------------------------------------------------------------------


def lerobot(root: Path, info: dict[str, Any], cameras: Sequence[str], *, span: int, size: int) -> Iterator[Recording]:
    """Yield the episodes of a LeRobotDataset v3.0 with one row an environment step.

    Args:
        root: its folder.
        info: its `meta/info.json`.
        cameras: C features with pictures, embedded or in videos.
        span: environment steps from one frame to the next.
        size: of the frames, pixels.

    Raises:
        ValueError: a file is missing or damaged, or holds less than it should.
    """
    with reading(root / "meta/tasks.parquet") as file:
        table = pq.read_table(file)
        words = next(name for name in table.column_names if name != "task_index")  # the index of a pandas table, named or not
        tasks = dict(zip(table["task_index"].to_pylist(), table[words].to_pylist(), strict=True))
    stills = [key for key in cameras if info["features"][key]["dtype"] == "image"]
    for row in _listing(root):
        with reading(root / info["data_path"].format(**_place(row, "data"))) as file:
            rows = _rows(file, row, stills)
            moments = [*range(0, len(rows), span), len(rows) - 1]  # what came of the last action is not recorded
            seen = {key: [_still(root, rows[key][t].as_py(), size) for t in moments] for key in stills}
            actions, times = _numbers(rows, "action"), _numbers(rows, "timestamp")[moments, 0]
            rewards = _numbers(rows, "next.reward")[:, 0] if "next.reward" in rows.column_names else np.zeros(len(rows))
            hits, instruction = _hits(rows, row), str(tasks[rows["task_index"][0].as_py()])
        for key in set(cameras) - set(stills):
            with reading(root / info["video_path"].format(video_key=key, **_place(row, f"videos/{key}"))) as file:
                seen[key] = _film(file, row[f"videos/{key}/from_timestamp"] + times, info["fps"], size)
        frames = np.stack([seen[key] for key in cameras], 1)
        yield Recording(row["episode_index"], instruction, actions, rewards, hits, frames)


def _listing(root: Path) -> list[dict[str, Any]]:
    """Return a row an episode, without its statistics, in order."""
    found = []
    for path in sorted((root / "meta/episodes").rglob("*.parquet")):
        with reading(path) as file:
            found += pq.read_table(file, columns=[name for name in pq.read_schema(file).names if not name.startswith("stats/")]).to_pylist()
    return sorted(found, key=lambda row: row["episode_index"])


def _place(row: dict[str, Any], kind: str) -> dict[str, int]:
    """Return in which file of a kind an episode lies."""
    return {f"{part}_index": row[f"{kind}/{part}_index"] for part in ("chunk", "file")}


def _rows(file: Path, row: dict[str, Any], stills: Sequence[str]) -> pa.Table:
    """Return an episode's rows of data, in order."""
    wanted = ["action", "next.reward", *SUCCESS, "timestamp", "task_index", "frame_index", *stills]
    have = [name for name in wanted if name in pq.read_schema(file).names]
    rows = pq.read_table(file, columns=have, filters=[("episode_index", "=", row["episode_index"])]).sort_by("frame_index")
    if not len(rows) == row["length"] > 0:
        raise ValueError(f"{len(rows)} of the {row['length']} rows of episode {row['episode_index']} are there")
    return rows


def _numbers(rows: pa.Table, name: str) -> np.ndarray:
    """Return float64[n, size], a column of scalars or lists."""
    return np.array(rows[name].to_pylist(), np.float64).reshape(len(rows), -1)


def _hits(rows: pa.Table, row: dict[str, Any]) -> np.ndarray:
    """Return bool[n]: after which steps success was recorded; after the last one where nothing says anything, for who stores failures says so."""
    for name in SUCCESS:
        if name in rows.column_names:
            return _numbers(rows, name)[:, 0] > 0
    return np.arange(len(rows)) == (len(rows) - 1 if all(row.get(name, True) for name in SUCCESS) else -1)


def _still(root: Path, cell: dict[str, Any], size: int) -> np.ndarray:
    """Return a frame that is embedded in the table, or lies beside it."""
    content = cell["bytes"] or (root / cell["path"]).read_bytes()
    return picture(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), size)


def _film(file: Path, times: np.ndarray, fps: float, size: int) -> list[np.ndarray]:
    """Return the frames that a video shows at these ascending times, seconds."""
    wanted, found = np.rint(times * fps).astype(int).tolist(), {}
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        container.seek(int(times[0] / (stream.time_base or 1)), stream=stream)  # to the key frame before it
        for frame in container.decode(stream):
            if (at := round((frame.time or 0.0) * fps)) in wanted:
                found[at] = picture(frame.to_ndarray(format="rgb24"), size)
            if at >= wanted[-1]:
                break
    if missing := [at for at in wanted if at not in found]:
        raise ValueError(f"it shows nothing at {missing[0] / fps:.3f} s")
    return [found[at] for at in wanted]


@contextmanager
def reading(file: Path) -> Iterator[Path]:
    """Turn any failure to make sense of a dataset's file into a ValueError of one sentence."""
    try:
        yield file
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration, pa.ArrowException, av.FFmpegError) as error:
        why = "it is missing" if isinstance(error, FileNotFoundError) else " ".join(str(error.__cause__ or error).split()) or type(error).__name__
        raise ValueError(f"demonstrate.dataset: {file} cannot be read ({why}); fetch or record the dataset anew.") from error


# --- a local Minari dataset --------------------------------------------------------------------------------------------


def minari(name: str, env: EnvConfig, span: int, leave_out: Callable[[str], None]) -> Iterator[Recording]:
    """Yield the episodes of a local Minari dataset, played again from their seeds, step by step; frames are drawn every `span` steps.

    Args:
        name: its id.
        env: where to play them.
        span: environment steps from one frame to the next.
        leave_out: called with the reason for each episode that did not come out as it was recorded.

    Raises:
        ValueError: the package or the dataset is not there, or its actions are others than the environment's.
    """
    # The recording's own steps, also those after a success.
    with closing(Workers(env.model_copy(update={"action_repeat": 1, "until_success": False}), 1)) as workers:
        for recorded, seed in _in_minari(name):
            actions = np.asarray(recorded.actions, np.float64).reshape(len(recorded), -1)
            check_width(f"minari:{name}", actions.shape[1], len(workers.first.actions), env)
            try:
                made = workers.first.apply(_replay, recorded, actions, seed, span)
            except (Exception, SystemExit) as error:  # an environment may raise anything; it costs its episode, not the run
                made = f"could not be replayed ({in_words(error)})"
                workers.renew(0)
            if isinstance(made, Recording):
                yield made
            else:
                leave_out(made)


def _in_minari(name: str) -> Iterator[tuple[Any, int | None]]:
    """Yield the episodes of a local Minari dataset as it gives them, with their seeds."""
    try:
        found = importlib.import_module("minari").load_dataset(name)
        for recorded, facts in zip(found, found.storage.get_episode_metadata(found.episode_indices), strict=True):
            yield recorded, facts.get("seed")
    except ImportError as error:
        raise ValueError(f"demonstrate.dataset minari:{name} needs a package ({error}); run: pip install 'minari[hdf5]'") from error
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:  # it parses ids and files without a check of its own
        why = " ".join(str(error).split())
        raise ValueError(f"demonstrate.dataset minari:{name} cannot be read ({why}); fetch it by: minari download {name}") from error


def check_width(source: Any, width: int, needed: int, env: EnvConfig) -> None:
    """Raise ValueError if a dataset's actions are not as many numbers as the environment's."""
    if width != needed:
        mend = "record it with this environment's own actions"
        raise ValueError(f"demonstrate.dataset {source} has actions of {width} numbers, and {env.id} takes {needed}; {mend}.")


def _replay(adapter: Adapter, recorded: Any, actions: np.ndarray, seed: int | None, span: int) -> Recording | str:
    """Return one Minari episode, its float64[n, A] actions played again; or why it is not what was recorded, words that follow "3 episodes"."""
    if seed is None:
        return "have no seed to be replayed from"
    outcomes, seen = [], [adapter.reset(seed)]
    for t, action in enumerate(actions, 1):
        outcomes.append(adapter.step(action[None], look=False))
        if t % span == 0 or t == len(actions):
            seen.append(adapter.observe())
        if outcomes[-1].terminated:
            break
    rewards, hits = np.array([outcome.rewards[0] for outcome in outcomes]), np.array([outcome.success for outcome in outcomes])
    if len(rewards) < len(actions) or not np.allclose(rewards, recorded.rewards, **NEAR) or not _alike(adapter.raw, recorded.observations):
        return "did not replay exactly"
    states = None if seen[0].state is None else np.stack([each.state for each in seen])  # type: ignore[arg-type]
    frames, achieved = np.stack([each.frames for each in seen]), outcomes[-1].achieved
    return Recording(int(recorded.id), seen[0].instruction, actions, rewards, hits, frames, seed, states, achieved)


def _alike(seen: Any, recorded: Any) -> bool:
    """Return whether an observation is the last recorded one: where rewards are sparse they alone would prove little."""
    if isinstance(seen, dict) and isinstance(recorded, dict):
        return all(_alike(seen[key], recorded[key]) for key in seen.keys() & recorded.keys())
    if isinstance(seen, dict) or not isinstance(recorded, np.ndarray) or recorded.dtype.kind not in "bif":
        return True  # not comparable; pictures (unsigned) are stored with loss
    return np.shape(seen) != recorded.shape[1:] or np.allclose(seen, recorded[-1], **NEAR)
