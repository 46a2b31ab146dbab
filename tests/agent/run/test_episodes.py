"""Episodes on disk: exact round trips, lerobot's format, and a kill or a full disk at any instant."""

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from agent.records import Episode
from agent.run import episodes as dataset
from agent.run.describe import describe

CAMERAS = ("front", "wrist")
STATISTICS = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
SHAPES = {"size": (8, 6), "cameras": 2, "chunk": (4, 2), "reply": 5, "state": 3}
SINGLE = {"size": (8, 6), "cameras": 2, "chunk": (1, 1), "reply": 1, "state": 1}


def episode(rng: np.random.Generator, take: int, length: int, *, size, cameras, chunk, reply, state, policy_tokens=False) -> Episode:
    """Return an episode of random contents, every optional field present or absent at random."""
    hit = int(rng.integers(length)) if length and rng.random() < 0.5 else None
    rewards = rng.normal(size=(length, chunk[0])).astype(np.float32)
    rewards[-1:, 1:] = np.nan
    return Episode(
        task=f"etude/Reach-v{rng.integers(2)}",
        seed=int(rng.integers(10_000)),
        attempt=take,
        policy="oracle",
        instruction=f"touch the {rng.choice(['red', 'blue', 'größte'])} ball",
        frames=rng.integers(0, 256, (length + 1, cameras, *size, 3), dtype=np.uint8),
        actions=rng.normal(size=(length, *chunk)).astype(np.float32),
        tokens=rng.integers(0, 2**40, (length, reply)),
        logprobs=-rng.random((length, reply)).astype(np.float32),
        rewards=rewards,
        success=hit is not None,
        first_success=hit,
        success_at_end=hit is not None,
        terminated=bool(rng.integers(2)),
        truncated=bool(rng.integers(2)),
        achieved=("touch the red ball", "")[: rng.integers(3)],
        states=rng.normal(size=(length + 1, state)).astype(np.float32) if state is not None else None,
        hindsight=("touch the blue ball", 2) if rng.random() < 0.5 else None,
        faults=() if length else ("reset raised RuntimeError",),
        policy_tokens=rng.integers(0, 2**40, (length, reply)) if policy_tokens and length else None,
        lookahead_gains=rng.normal(size=length).astype(np.float32) if policy_tokens and length else None,
        target_actions=rng.normal(size=(length, *chunk)).astype(np.float32) if length and rng.random() < 0.5 else None,
    )


def batch(seed: int, lengths: tuple[int, ...] = (3, 0, 1, 5), **shapes) -> list[Episode]:
    rng = np.random.default_rng(seed)
    return [episode(rng, take, length, **(SHAPES | shapes)) for take, length in enumerate(lengths)]


def add(root: Path, episodes: list[Episode]) -> None:
    dataset.append(root, episodes, fps=5, cameras=CAMERAS)


def same(left: list[Episode], right: list[Episode]) -> bool:
    """Return whether all fields are equal: arrays to the bit, with their types and shapes."""
    return len(left) == len(right) and all(map(equal, left, right))


def equal(left: Episode, right: Episode) -> bool:
    for field in fields(Episode):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if isinstance(a, np.ndarray):
            if not (isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()):
                return False
        elif type(a) is not type(b) or a != b:
            return False
    return True


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("shapes", [SHAPES, SINGLE, SHAPES | {"state": None}, SHAPES | {"reply": 0}, SHAPES | {"policy_tokens": True}])
def test_what_is_read_is_what_was_appended(tmp_path: Path, shapes: dict) -> None:
    shards = [batch(seed, lengths, **shapes) for seed, lengths in enumerate([(0,), (3, 0, 1), (0, 0), (2,), (0, 9, 4, 0)])]
    for i, shard in enumerate(shards):
        add(tmp_path, shard)
        before = [e for s in shards[: i + 1] for e in s]
        assert dataset.count(tmp_path) == len(before)
        assert same(dataset.read(tmp_path), before)
    assert dataset.read(tmp_path)[1].frames.flags.writeable


def test_a_dataset_begun_before_taught_actions_were_kept_is_read_and_goes_on(tmp_path: Path) -> None:
    first, later, told = ([replace(e, target_actions=None) for e in batch(seed, (2, 3))] for seed in range(3))
    told = [replace(e, target_actions=e.actions + 1) for e in told]
    add(tmp_path, first)
    info = json.loads((file := tmp_path / "meta/info.json").read_text())
    del info["features"]["etude.target_actions"]
    file.write_text(json.dumps(info))
    (rows,) = tmp_path.glob("data/*/*.parquet")
    pq.write_table(pq.read_table(rows).drop_columns(["etude.target_actions"]), rows, write_page_checksum=True)
    assert same(dataset.read(tmp_path), first)
    add(tmp_path, later)
    assert "etude.target_actions" not in json.loads(file.read_text())["features"], "all shards have the columns of the first"
    add(tmp_path, told)
    assert same(dataset.read(tmp_path), [*first, *later, *told])


def test_unusual_contents_survive(tmp_path: Path) -> None:
    (plain,) = batch(0, (2,))
    strange = replace(
        plain,
        rewards=np.full_like(plain.rewards, np.nan),
        states=np.array([[np.nan, -np.nan, np.inf]] * 3, np.float32),
        success=True,
        first_success=np.int64(1),
        success_at_end=np.bool_(True),
        terminated=np.bool_(True),
    )
    unseen = replace(
        batch(1, (0,))[0],
        frames=np.zeros((1, 2, 0, 0, 3), np.uint8),
        actions=np.zeros((0, 1, 7), np.float32),
        rewards=np.zeros((0, 1), np.float32),
    )
    add(tmp_path, [strange, unseen])
    first, second = dataset.read(tmp_path)
    assert equal(first, replace(strange, first_success=1, success_at_end=True, terminated=True))
    assert equal(second, unseen)
    assert "NaN" not in (tmp_path / "meta/stats.json").read_text(), "strict JSON"


def test_a_missing_dataset_is_an_empty_one(tmp_path: Path) -> None:
    assert dataset.read(tmp_path / "no") == []
    assert dataset.count(tmp_path / "no") == 0
    add(tmp_path / "no", [])
    assert not (tmp_path / "no").exists()


def test_a_second_dataset_starts_from_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add(tmp_path / name, batch(0))
    assert dataset.count(tmp_path / "b") == len(batch(0))


def test_shards_roll_over_to_the_next_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "CHUNK", 2)
    shards = [batch(seed, (1,)) for seed in range(3)]
    for shard in shards:
        add(tmp_path, shard)
    assert (tmp_path / "data/chunk-001/file-000.parquet").exists()
    assert same(dataset.read(tmp_path), [e for shard in shards for e in shard])


def test_info_is_what_lerobot_expects(tmp_path: Path) -> None:
    for seed in range(2):
        add(tmp_path, batch(seed))
    info = json.loads((tmp_path / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (6, 18, 5)
    assert info["splits"] == {"train": "0:6"}
    assert info["video_path"] is None
    assert info["data_path"].format(chunk_index=0, file_index=1) == "data/chunk-000/file-001.parquet"
    vector = {"dtype": "float32"}
    scalar = {"dtype": "int64", "shape": [1], "names": None}
    assert info["features"]["observation.images.front"] == {"dtype": "image", "shape": [8, 6, 3], "names": ["height", "width", "channel"]}
    assert info["features"]["observation.state"] == vector | {"shape": [3], "names": ["state_0", "state_1", "state_2"]}
    assert info["features"]["action"] == vector | {"shape": [8], "names": [f"action_{h}_{a}" for h in range(4) for a in range(2)]}
    assert info["robot_type"] == batch(0)[0].task, "the environment is the robot"
    assert info["features"]["next.success"] == scalar | {"dtype": "bool"}
    assert all(info["features"][name] == scalar for name in ("frame_index", "episode_index", "index", "task_index"))
    assert not any("/" in name for name in info["features"])


def test_rows_are_what_lerobot_expects(tmp_path: Path) -> None:
    shards = [batch(seed) for seed in range(2)]
    for shard in shards:
        add(tmp_path, shard)
    features = json.loads((tmp_path / "meta/info.json").read_text())["features"]
    tasks = pq.read_table(tmp_path / "meta/tasks.parquet")
    rows = []
    for path in sorted((tmp_path / "data").rglob("*.parquet")):
        table = pq.ParquetFile(path).read()
        assert table.column_names == list(features)
        types = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        assert types["observation.images.wrist"] == {"_type": "Image"}
        assert types["next.reward"] == {"dtype": "float32", "_type": "Value"}
        assert types["action"] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 8, "_type": "List"}
        rows += table.to_pylist()
    played = [e for shard in shards for e in shard if len(e)]
    assert tasks["task_index"].to_pylist() == list(range(len(tasks)))
    assert [row["index"] for row in rows] == list(range(18))
    assert [row["episode_index"] for row in rows] == [i for i, e in enumerate(played) for _ in range(len(e))]
    for row in rows:
        e, t = played[row["episode_index"]], row["frame_index"]
        assert tasks["task"][row["task_index"]].as_py() == e.instruction
        assert row["timestamp"] == np.float32(t / 5)
        assert row["action"] == e.actions[t].ravel().tolist()
        assert row["observation.state"] == e.states[t].tolist()
        assert row["next.reward"] == np.nansum(e.rewards[t])
        assert row["next.done"] == (t == len(e) - 1)
        assert row["next.success"] == (t == e.first_success)
        assert row["observation.images.front"]["bytes"].startswith(b"\x89PNG")


def test_timestamps_are_true_also_where_the_rate_is_no_whole_number_or_that_of_another_task(tmp_path: Path) -> None:
    here, there = ([replace(e, task=task) for e in batch(seed, (4,))] for seed, task in ((0, "here"), (1, "there")))
    dataset.append(tmp_path, [*here, *there], fps=1.25, cameras=CAMERAS, rates={"here": 1.25, "there": 5 / 3})
    assert json.loads((tmp_path / "meta/info.json").read_text())["fps"] == 1.25
    (rows,) = (pq.read_table(path) for path in (tmp_path / "data").rglob("*.parquet"))
    np.testing.assert_allclose(rows["timestamp"], [0, 0.8, 1.6, 2.4, 0, 0.6, 1.2, 1.8], rtol=1e-6)
    dataset.append(tmp_path / "whole", here, fps=5.0, cameras=CAMERAS)
    assert '"fps": 5,' in (tmp_path / "whole/meta/info.json").read_text(), "lerobot writes whole numbers"


def test_the_episode_list_is_what_lerobot_expects(tmp_path: Path) -> None:
    shards = [batch(seed) for seed in range(2)]
    for shard in shards:
        add(tmp_path, shard)
    tables = [pq.ParquetFile(path).read() for path in sorted((tmp_path / "meta/episodes").rglob("*.parquet"))]
    assert tables[0].schema.equals(tables[1].schema), "lerobot joins them"
    rows, end = [row for table in tables for row in table.to_pylist()], 0
    played = [(i, e) for i, shard in enumerate(shards) for e in shard if len(e)]
    for number, (row, (shard, e)) in enumerate(zip(rows, played, strict=True)):
        assert (row["episode_index"], row["length"], row["tasks"]) == (number, len(e), [e.instruction])
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (end, end + len(e))
        assert [row[f"{kind}/{part}_index"] for kind in ("data", "meta/episodes") for part in ("chunk", "file")] == [0, shard] * 2
        assert row["etude/success"] == e.success
        assert row["etude/achieved"] == list(e.achieved)
        assert np.allclose(row["stats/action/mean"], e.actions.reshape(len(e), -1).mean(0))
        assert row["stats/action/count"] == [len(e)]
        end += len(e)


def test_statistics_are_those_of_all_shards(tmp_path: Path) -> None:
    shards = [batch(seed) for seed in range(3)]
    for shard in shards:
        add(tmp_path, shard)
    stats = json.loads((tmp_path / "meta/stats.json").read_text())
    assert all(set(found) == STATISTICS for found in stats.values())
    actions = np.concatenate([e.actions.reshape(len(e), -1) for shard in shards for e in shard if len(e)])
    assert np.allclose(stats["action"]["mean"], actions.mean(0))
    assert np.allclose(stats["action"]["std"], actions.std(0))
    assert np.allclose(stats["action"]["max"], actions.max(0))
    assert stats["action"]["count"] == [len(actions)]
    image = stats["observation.images.front"]
    assert np.shape(image["mean"]) == (3, 1, 1)
    assert np.allclose(image["mean"], 0.5, atol=0.15)


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs that catches mere errors."""


def fail_at(monkeypatch: pytest.MonkeyPatch, call: str, k: int, error: BaseException) -> Callable[[], int]:
    """Let the k-th use of `os.<call>` raise; return a function that says how many uses there were."""
    original, uses = getattr(os, call), []

    def replacement(*arguments) -> None:
        uses.append(arguments)
        if len(uses) == k + 1:
            raise error
        original(*arguments)

    monkeypatch.setattr(os, call, replacement)
    return lambda: len(uses)


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("shards", [0, 1, 2])
def test_a_kill_at_any_instant_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, shards: int) -> None:
    old, new, k = [e for seed in range(shards) for e in batch(seed)], batch(10), 0
    while True:
        root = tmp_path / str(k)
        for seed in range(shards):
            add(root, batch(seed))
        with monkeypatch.context() as patch:
            uses = fail_at(patch, call, k, Killed())
            with suppress(Killed):
                add(root, new)
            done = uses() <= k
        assert same(dataset.read(root), old + new if done else old)
        other = batch(20, (0, 2)) if k % 2 else batch(20, (2,))
        if not done:  # what comes next need not be what was cut off
            add(root, other)
            assert same(dataset.read(root), old + other)
            tidy(root)
        if done:
            break
        k += 1
    assert k == (6 if shards else 7), "the first shard brings the card"


def test_a_dataset_has_a_card_that_the_hub_reads(tmp_path: Path) -> None:
    add(tmp_path, batch(0))
    _, head, text = (tmp_path / "README.md").read_text().split("---\n")
    said = yaml.safe_load(head)
    assert said["tags"] == ["LeRobot", "etude"] and list(tmp_path.glob(said["configs"][0]["data_files"]))
    assert batch(0)[0].task in text and ", ".join(CAMERAS) in text


def test_quantiles_are_interpolated_as_in_lerobot() -> None:
    """From a histogram of 5000 bins; `make test-lerobot` compares all statistics with lerobot's own."""
    rows = np.array([[0.0], [0.1], [0.2], [1.0]])
    made = describe(rows)
    assert made["q50"][0] == pytest.approx(0.1, abs=3e-4) and made["q90"][0] == pytest.approx(1, abs=3e-4)
    rows = np.random.default_rng(0).normal(0, 1, (3000, 2))
    for key, share in (("q01", 0.01), ("q10", 0.1), ("q50", 0.5), ("q90", 0.9), ("q99", 0.99)):
        np.testing.assert_allclose(describe(rows)[key], np.quantile(rows, share, axis=0), atol=0.05)
    frames = np.random.default_rng(0).integers(0, 256, (150, 4, 4, 3), dtype=np.uint8)
    assert describe(frames)["count"] == [100], "lerobot looks at so many of 150 frames"
    assert np.shape(describe(frames)["q99"]) == (3, 1, 1) and describe(frames)["max"][0][0][0] <= 1
    assert describe(rows[:1])["q10"] == describe(rows[:1])["mean"] == rows[0].tolist()


def tidy(root: Path) -> None:
    """Assert that what a reader finds who knows nothing of commits, as lerobot does, is the dataset too."""
    info = json.loads((root / "meta/info.json").read_text())
    frames = [i for path in sorted((root / "data").rglob("*.parquet")) for i in pq.ParquetFile(path).read()["index"].to_pylist()]
    assert frames == list(range(info["total_frames"]))
    assert len(pq.read_table(root / "meta/tasks.parquet")) == info["total_tasks"]
    assert json.loads((root / "meta/stats.json").read_text())["action"]["count"] == [info["total_frames"]]


def test_a_full_disk_is_one_sentence_and_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tmp_path, batch(0))
    before = {path: path.read_bytes() for path in files(tmp_path)}
    for k in range(6):
        with monkeypatch.context() as patch:
            fail_at(patch, "fsync", k, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            with pytest.raises(ValueError, match=r"cannot write .*(file-001|info|tasks|stats).* \(No space left.*again$"):
                add(tmp_path, batch(1))
        assert same(dataset.read(tmp_path), batch(0))
        assert not any(path.suffix == ".part" for path in files(tmp_path)), "what does not fit is removed"
    assert before.keys() <= set(files(tmp_path))
    add(tmp_path, batch(1))
    assert same(dataset.read(tmp_path), batch(0) + batch(1))


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=r"cannot write .*file"):
        add(tmp_path / "file", batch(0))


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut":
        del content[len(content) // 2 :]
    elif how == "flipped":
        content[20:40] = bytes(byte ^ 255 for byte in content[20:40])
    path.write_bytes(content) if how != "gone" else path.unlink()


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
@pytest.mark.parametrize(
    "file",
    [
        "data/chunk-000/file-001.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/blank/chunk-000/file-001.parquet",
        "meta/info.json",
    ],
)
def test_damage_is_named_with_its_remedy(tmp_path: Path, file: str, how: str) -> None:
    for seed in range(2):
        add(tmp_path, batch(seed))
    damage(tmp_path / file, how)
    if (file, how) == ("meta/info.json", "gone"):
        assert dataset.read(tmp_path) == []
        return
    with pytest.raises(ValueError, match="is damaged") as caught:
        dataset.read(tmp_path)
    named = Path(file).name
    assert named in str(caught.value)
    assert f"delete the folder {tmp_path} and run the same command again; its episodes will be collected anew" in str(caught.value)


def test_no_flipped_byte_goes_unnoticed(tmp_path: Path) -> None:
    rng, episodes = np.random.default_rng(0), batch(0, (1, 0))
    add(tmp_path, episodes)
    for path in (p for p in files(tmp_path) if p.name.startswith("file-")):
        whole = path.read_bytes()
        for place in rng.integers(0, len(whole), 60):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :])
            try:
                assert same(dataset.read(tmp_path), episodes), f"{path} at {place}"
            except ValueError as error:
                assert "is damaged" in str(error)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("episodes", "fps", "cameras", "words"),
    [
        (batch(1), 0, CAMERAS, "fps is 0"),
        (batch(1), np.nan, CAMERAS, "fps is nan"),
        (batch(1), 5, ("front",), "cameras are"),
        (batch(1), 5, ("a/b", "c"), "without '/'"),
        (batch(1), 5, ("a", "a"), "of its own"),
        (batch(1), 4, CAMERAS, "use a folder for each"),
        (batch(1), 5, ("front", "side"), "use a folder for each"),
        (batch(1, reply=6), 5, CAMERAS, "use a folder for each"),
        (batch(1, chunk=(2, 4)), 5, CAMERAS, "use a folder for each"),
        (batch(1, state=None), 5, CAMERAS, "use a folder for each"),
        (batch(1, policy_tokens=True), 5, CAMERAS, "use a folder for each"),
        (batch(1) + batch(2, size=(4, 4)), 5, CAMERAS, "use a folder for each"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, episodes: list[Episode], fps: int, cameras: tuple[str, ...], words: str) -> None:
    add(tmp_path, batch(0))
    with pytest.raises(ValueError, match=words):
        dataset.append(tmp_path, episodes, fps=fps, cameras=cameras)
    assert same(dataset.read(tmp_path), batch(0))


def test_another_ones_dataset_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text('{"codebase_version": "v3.0"}')
    with pytest.raises(ValueError, match="etude did not write; use another folder"):
        add(tmp_path, batch(0))
