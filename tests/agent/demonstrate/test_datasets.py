"""Stored demonstrations: a foreign LeRobotDataset, one of ours, a Minari dataset; what is read is what was recorded, and misfits are one sentence."""

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import gymnasium
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from agent.config.config import Config
from agent.config.keys import DemonstrateConfig
from agent.demonstrate.datasets import figures, stored
from agent.demonstrate.doctor import examine
from agent.demonstrate.sources import NO_SEED, cut
from agent.demonstrate.stage import record
from agent.demonstrate.target import Tally, Target
from agent.records import SEEDS, Episode, Job
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from agent.run import episodes as dataset
from envs.spaces import Actions
from policies.codec import Codec
from policies.scripted import Random
from tests.called import apart

SPACE = Actions(gymnasium.spaces.Box(-1, 1, (3,), np.float32))
CONTINUOUS = np.zeros(3, int)
FPS, SIZE = 20, 16
LENGTHS = (9, 4, 5)
TASKS = ("touch the red ball", "touch the größte ball")
WRIST = "observation.images.wrist"


def codec(bins: int = 33, chunk: int = 1) -> Codec:
    return Codec(100 + np.arange(bins)[:, None], SPACE.low, SPACE.high, chunk)


def config(source: Any, episodes: int = 40, env: dict | None = None, cameras: tuple[str, ...] = (), chunk: int = 1) -> Config:
    return Config(
        env={"cameras": ("front", "wrist"), "size": SIZE, "action_repeat": 4, **(env or {})},  # type: ignore[arg-type]
        policy={"chunk_size": chunk},  # type: ignore[arg-type]
        demonstrate={"dataset": str(source), "episodes": episodes, "cameras": cameras},  # type: ignore[arg-type]
    )


def target(space: Actions = SPACE, rate: float | None = FPS, state_size: int = 0) -> Target:
    return Target(space, (space.low, space.high), rate, state_size)


def read(chosen: Config, space: Actions | Target = SPACE, bins: int = 33) -> tuple[list[Episode], list[str]]:
    """Return the successful episodes, and the reasons for which others are left out."""
    episodes, tally = read_all(chosen, space, bins)
    return [episode for episode in episodes if episode.success], [*tally.reasons.elements()]


def read_all(chosen: Config, space: Actions | Target = SPACE, bins: int = 33) -> tuple[list[Episode], Tally]:
    tally, to = Tally(), target(space) if isinstance(space, Actions) else space
    bounds = (np.arange(99)[:, None], to.actions.low, to.actions.high, chosen.policy.chunk_size)
    return list(stored(chosen, to, codec(bins, chosen.policy.chunk_size) if space is SPACE else Codec(*bounds), tally)), tally


# --- a dataset that somebody else recorded -----------------------------------------------------------------------------


def still(moment: int) -> np.ndarray:
    """The front camera: every pixel of every moment is different."""
    return np.random.default_rng(moment).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def level(moment: int) -> int:
    """The wrist camera is all of one grey, which steps by 13 a moment."""
    return 5 + 13 * moment


def recorded(moment: int) -> list[float]:
    return np.random.default_rng([1, moment]).uniform(-1, 1, 3).astype(np.float32).tolist()


def video(file: Path, moments: list[int], encoder: str) -> None:
    file.parent.mkdir(parents=True)
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream(encoder, rate=Fraction(FPS), options={"crf": "10", "g": "6"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for moment in moments:
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level(moment), np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    # As root, SVT-AV1 makes the thread that calls it a real-time one, for good: all later tests would starve whatever shares their core.
    if hasattr(os, "sched_setscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def foreign(root: Path, encoder: str = "libx264", frames: dict[str, list] | None = None, episodes: dict[str, list] | None = None) -> Path:
    """Write three episodes, the first two in one file; the front camera as PNG, the wrist as one video of all; more columns as given."""
    features: dict[str, Any] = {"action": {"dtype": "float32", "shape": [3], "names": ["x", "y", "z"]}}
    features |= {"observation.state": {"dtype": "float32", "shape": [2], "names": None}}
    features |= {"observation.images.front": {"dtype": "image", "shape": [SIZE, SIZE, 3], "names": ["height", "width", "channel"]}}
    features |= {WRIST: {"dtype": "video", "shape": [64, 64, 3], "names": ["height", "width", "channel"], "info": {"video.fps": FPS}}}
    ends = np.cumsum(LENGTHS).tolist()
    for file, members in enumerate([(0, 1), (2,)]):
        rows = [(number, t, ends[number] - LENGTHS[number] + t) for number in members for t in range(LENGTHS[number])]
        numbers, steps, moments = map(list, zip(*rows, strict=True))
        table: dict[str, Any] = {"observation.state": [[0.0, 1.0]] * len(rows), "action": [recorded(m) for m in moments]}
        table["observation.images.front"] = [{"bytes": png(still(m)), "path": f"frame-{t:06d}.png"} for t, m in zip(steps, moments, strict=True)]
        table |= {"timestamp": np.array(steps, np.float32) / FPS, "frame_index": steps, "episode_index": numbers, "index": moments}
        table |= {"task_index": [number % 2 for number in numbers]}
        table |= {name: [values[m] for m in moments] for name, values in (frames or {}).items()}
        path = root / f"data/chunk-000/file-{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), path)
    video(root / f"videos/{WRIST}/chunk-000/file-000.mp4", list(range(ends[-1])), encoder)
    listing: dict[str, Any] = {"episode_index": [0, 1, 2], "length": LENGTHS, "tasks": [[TASKS[i % 2]] for i in range(3)]}
    listing |= {"data/chunk_index": [0, 0, 0], "data/file_index": [0, 0, 1], f"videos/{WRIST}/chunk_index": [0] * 3}
    listing |= {f"videos/{WRIST}/file_index": [0] * 3, f"videos/{WRIST}/from_timestamp": [(e - n) / FPS for e, n in zip(ends, LENGTHS, strict=True)]}
    listing |= {"stats/action/mean": [[0.0] * 3] * 3, **(episodes or {})}
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(listing), root / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(pa.table({"task_index": [0, 1], "__index_level_0__": TASKS}), root / "meta/tasks.parquet")
    info = {"codebase_version": "v3.0", "robot_type": "somebody's", "total_episodes": 3, "fps": FPS, "features": features}
    info |= {"data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"}
    info |= {"video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"}
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


@pytest.mark.parametrize("encoder", ["libx264", "libsvtav1"])
def test_a_foreign_dataset_becomes_episodes(tmp_path: Path, encoder: str) -> None:
    episodes, left = read(config(foreign(tmp_path, encoder)))
    assert not left and [len(e) for e in episodes] == [3, 1, 2]
    assert [e.instruction for e in episodes] == [TASKS[0], TASKS[1], TASKS[0]]
    assert all(e.success and e.first_success == len(e) - 1 and e.seed == NO_SEED and e.policy == "oracle" for e in episodes)
    assert len({e.id for e in episodes}) == 3
    for e, begin, length in zip(episodes, (0, 9, 13), LENGTHS, strict=True):
        moments = [*range(begin, begin + length, 4), begin + length - 1]
        np.testing.assert_array_equal(e.frames[:, 0], [still(m) for m in moments])
        assert e.frames.shape[2:] == (SIZE, SIZE, 3)
        off = np.abs(e.frames[:, 1].astype(int) - np.array([level(m) for m in moments])[:, None, None, None])
        assert off.max() <= 4, "a frame beside it would be off by 13"
        pieces = [np.mean([recorded(m) for m in range(t, min(t + 4, begin + length))], 0) for t in moments[:-1]]
        np.testing.assert_allclose(e.actions[:, 0], pieces, atol=1e-6)
        decoded = np.stack([codec().decode(tokens) for tokens in e.tokens])
        assert np.abs(decoded - e.actions).max() <= 1 / 32 + 1e-6, "half of a bin of 2 / 32"
        assert (~np.isnan(e.rewards)).sum() == length and np.nansum(e.rewards) == 0


def test_chunks_fill_up_with_the_last_action(tmp_path: Path) -> None:
    one, two = read(config(foreign(tmp_path)))[0][0], read(config(tmp_path, chunk=2))[0][0]
    assert two.actions.shape == (2, 2, 3) and two.tokens.shape == (2, 6) and two.rewards.shape == (2, 8)
    np.testing.assert_array_equal(two.actions.reshape(4, 3), one.actions[[0, 1, 2, 2], 0])
    np.testing.assert_array_equal(two.frames[:, 0], [still(0), still(8), still(8)])


def test_a_held_action_is_the_mean_of_what_it_stands_for() -> None:
    done = np.random.default_rng(0).uniform(-1, 1, (12, 2))
    held = cut(done, np.zeros(2, int), 4, 3)
    assert held.shape == (1, 3, 2) and held.dtype == np.float32
    np.testing.assert_allclose(4 * held.sum((0, 1)), done.sum(0), rtol=1e-5, err_msg="a commanded displacement arrives")
    np.testing.assert_array_equal(cut(done, np.zeros(2, int), 1, 1)[:, 0], done.astype(np.float32))


def test_of_discrete_actions_the_first_counts() -> None:
    done = np.array([[3, 0.2], [0, 0.4], [0, 0.9], [1, 0.3], [2, 0.5]])
    np.testing.assert_allclose(cut(done, np.array([4, 0]), 3, 1)[:, 0], [[3, 0.5], [1, 0.4]])


def test_earlier_moments_stand_first(tmp_path: Path) -> None:
    e = read(config(foreign(tmp_path), env={"history": 2}))[0][0]
    assert e.frames.shape == (4, 4, SIZE, SIZE, 3)
    np.testing.assert_array_equal(e.frames[:, 0], [still(m) for m in (0, 0, 4, 8)])
    np.testing.assert_array_equal(e.frames[:, 2], [still(m) for m in (0, 4, 8, 8)])


def test_cameras_come_in_the_order_of_the_config(tmp_path: Path) -> None:
    e = read(config(foreign(tmp_path), cameras=(WRIST, "front")))[0][0]
    np.testing.assert_array_equal(e.frames[:, 1], [still(m) for m in (0, 4, 8, 8)])
    small = read(config(tmp_path, env={"size": 8, "cameras": ["front"]}))[0][0].frames
    assert small.shape == (4, 1, 8, 8, 3)
    np.testing.assert_allclose(small[0, 0], still(0).reshape(8, 2, 8, 2, 3).mean((1, 3)), atol=1)


def test_rewards_and_success_are_those_recorded(tmp_path: Path) -> None:
    wins = [m in (5, 17) for m in range(18)]  # in the first episode's second decision, and at the very end of the last one
    earned = [m / 10 for m in range(18)]
    episodes, left = read(config(foreign(tmp_path, frames={"next.success": wins, "next.reward": earned})))
    assert [(e.attempt, e.first_success, e.success_at_end) for e in episodes] == [(0, 1, False), (2, 1, True)]
    assert not left and [e.success for e in read_all(config(tmp_path))[0]] == [True, False, True], "failures are kept, as failures"
    np.testing.assert_allclose(episodes[0].rewards[:2].reshape(-1), earned[:8], rtol=1e-6)
    assert np.isnan(episodes[0].rewards[2, 1:]).all()


def test_an_episodes_own_word_counts_too(tmp_path: Path) -> None:
    episodes, left = read(config(foreign(tmp_path, episodes={"success": [False, True, False]})))
    assert [e.attempt for e in episodes] == [1] and not left


def test_no_more_than_asked_for(tmp_path: Path) -> None:
    foreign(tmp_path)
    assert [e.attempt for e in read(config(tmp_path, episodes=2))[0]] == [0, 1]
    assert read(config(tmp_path / "nowhere", episodes=0)) == ([], [])


def test_figures_show_what_the_units_were(tmp_path: Path) -> None:
    episodes, tally = read_all(config(foreign(tmp_path)))
    tally.leave_out("were faulty", "episode 7")
    made = figures(episodes, tally, target())
    assert {key: made[key] for key in ("left_out", "failures", "mean_length", "clipped", "idle")} == {
        "left_out": 1, "failures": 0, "mean_length": 2.0, "clipped": 0.0, "idle": 0.0
    }  # fmt: skip
    assert 0.1 < made["used/0"] < 1
    degrees = Actions(gymnasium.spaces.Box(-0.01, 0.01, (3,), np.float32))
    assert figures(episodes, tally, target(degrees))["clipped"] > 0.9


def change(root: Path, how: str) -> Config:
    """Spoil a dataset, or ask the wrong thing of it."""
    info, data = root / "meta/info.json", root / "data/chunk-000/file-000.parquet"
    said = json.loads(info.read_text())
    changed = {"old": {"codebase_version": "v2.1"}, "wide": {"features": said["features"] | {"action": {"dtype": "float32", "shape": [7]}}}}
    info.write_text(json.dumps(said | changed.get(how, {})))
    gone = {"no info": info, "no data": data, "no video": root / f"videos/{WRIST}/chunk-000/file-000.mp4", "no tasks": root / "meta/tasks.parquet"}
    if how in gone:
        gone[how].unlink()
    if how == "cut":
        data.write_bytes(data.read_bytes()[:-100])
    if how == "json":
        info.write_text("{")
    if how == "columns":
        pq.write_table(pq.read_table(data).drop_columns(["action"]), data)
    if how == "short video":
        video(gone["no video"].with_name("new") / "file.mp4", list(range(12)), "libx264")
        (gone["no video"].with_name("new") / "file.mp4").replace(gone["no video"])
    env = {"cameras": ["front", "top"]} if how == "camera" else {}
    return config(root, env=env, cameras=("front",) if how == "one camera" else ())


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("old", "is of version v2.1, and only v3.0 is read; convert it with lerobot's"),
        ("wide", "has actions of 7 numbers, and etude/Reach-v0 takes 3; record it"),
        ("camera", "has no camera 'top'; it has 'front', 'wrist'. Name the cameras to use in demonstrate.cameras"),
        ("one camera", "demonstrate.cameras names 1 cameras, and env.cameras 2"),
        ("no info", "there is no meta/info.json in it; give the folder of a LeRobotDataset v3.0, or minari:ID"),
        ("json", r"info.json cannot be read .*; fetch or record"),
        ("no data", r"file-000.parquet cannot be read \(it is missing\); fetch or record"),
        ("no video", r"file-000.mp4 cannot be read \(it is missing\)"),
        ("no tasks", r"tasks.parquet cannot be read \(it is missing\)"),
        ("cut", r"file-000.parquet cannot be read \(.*\); fetch or record"),
        ("columns", r"file-000.parquet cannot be read \(.*action.*\)"),
        ("short video", r"file-000.mp4 cannot be read \(it shows nothing at 0.600 s\)"),
    ],
)
def test_what_does_not_suit_is_one_sentence(tmp_path: Path, how: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        read(change(foreign(tmp_path), how))
    assert "\n" not in str(error.value) and str(error.value).startswith("demonstrate.")


def test_episodes_that_share_frames_of_a_video_are_left_out(tmp_path: Path) -> None:
    begin, ends = f"videos/{WRIST}/from_timestamp", {f"videos/{WRIST}/to_timestamp": (np.cumsum(LENGTHS) / FPS).tolist()}
    why = "have frames in a video that are another episode's too, by their from_timestamp"
    root = foreign(tmp_path / "some", episodes={begin: [0.0, 0.0, 13 / FPS], **ends})
    episodes, tally = read_all(config(root))
    assert [each.attempt for each in episodes] == [2]
    assert tally.lines() == [f"2 {why}, the first: episode 0 has the 9 from 0 s on in videos/{WRIST}/chunk-000/file-000.mp4"]
    notes = " ".join(examine(str(root), None).notes)
    assert why in notes and "to_timestamp - from_timestamp differs from length / fps in 1 episode, the first: episode 1, by up to 9 rows" in notes
    with pytest.raises(ValueError, match=rf"no usable episode \(3 {why}"):
        read(config(foreign(tmp_path / "all", episodes={begin: [0.0] * 3, **ends})))


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no usable episode \(3 failed\)"):
        read(config(foreign(tmp_path, frames={"success": [False] * 18})))


# --- a dataset that a run of ours recorded -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environments() -> Iterator[Environments]:
    made = Environments(config("").env, 2)
    yield made
    made.close()


def test_what_we_recorded_is_read_back(environments: Environments, tmp_path: Path) -> None:
    jobs = [Job(seed, episode, (0, 1, seed, episode)) for seed in range(3) for episode in range(2)]
    shown = list(record(environments, codec(), jobs[:2]))
    played = list(rollout(Random(SPACE.low, SPACE.high, 1), environments, jobs))
    dataset.append(tmp_path, [*shown, *played], fps=5, cameras=("front", "wrist"))
    kept = [e for e in (*shown, *played) if e.success]
    episodes, left = read(config(tmp_path), bins=65)
    assert len(episodes) == len(kept) >= 2 and not left
    for a, b in zip(episodes, kept, strict=True):
        assert (a.id, a.instruction, a.first_success, a.policy) == (b.id, b.instruction, b.first_success, "oracle")
        for name in ("frames", "actions", "rewards", "states"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_array_equal(a.tokens, [codec(65).encode(each) for each in b.actions])
    np.testing.assert_array_equal(read(config(tmp_path, cameras=("wrist", "front")))[0][0].frames, kept[0].frames[:, ::-1])
    with pytest.raises(
        ValueError, match=r"recorded with chunk 1 and action_repeat 4, not policy.chunk_size 1 and env.action_repeat 2; set them alike"
    ):
        read(config(tmp_path, env={"action_repeat": 2}))
    with pytest.raises(ValueError, match=r"steps_per_row is for a LeRobotDataset of another producer, and .* holds episodes of a run"):
        read(config(tmp_path).model_copy(update={"demonstrate": DemonstrateConfig(dataset=str(tmp_path), steps_per_row=2)}))
    (tmp_path / "data/chunk-000/file-000.parquet").unlink()
    with pytest.raises(ValueError, match=r"cannot be read .*; fetch or record"):
        read(config(tmp_path))


def test_what_was_learnt_from_in_practice_is_not_shown(environments: Environments, tmp_path: Path) -> None:
    """Rivals are replies in the tokens of the policy that practised, of which there may be another number here."""
    (shown,) = record(environments, codec(), [Job(3)])
    policy_tokens, lookahead_gains = np.zeros((len(shown), 9), np.int64), np.ones(len(shown), np.float32)
    practised = replace(
        shown,
        tokens=policy_tokens + 1,
        logprobs=np.zeros(policy_tokens.shape, np.float32),
        policy_tokens=policy_tokens,
        lookahead_gains=lookahead_gains,
    )
    dataset.append(tmp_path / "a", [practised], fps=5, cameras=("front", "wrist"))
    (episode,), _ = read(config(tmp_path / "a"), bins=65)
    assert episode.policy_tokens is None and episode.lookahead_gains is None and episode.tokens.shape[1] < 9
    dataset.append(tmp_path / "b", [episode], fps=5, cameras=("front", "wrist"))
    np.testing.assert_array_equal(dataset.read(tmp_path / "b")[0].tokens, episode.tokens)


def test_of_a_disturbed_expert_is_imitated_what_it_meant(environments: Environments, tmp_path: Path) -> None:
    (disturbed,) = record(environments, codec(), [Job(3, 0, (1,))], noise=0.2)
    dataset.append(tmp_path, [disturbed], fps=5, cameras=("front", "wrist"))
    (episode,), _ = read(config(tmp_path), bins=65)
    np.testing.assert_array_equal(episode.actions, disturbed.actions)
    np.testing.assert_array_equal(episode.tokens, [codec(65).encode(each) for each in disturbed.targets])


def test_episodes_of_another_environment_are_one_sentence(environments: Environments, tmp_path: Path) -> None:
    dataset.append(tmp_path, list(record(environments, codec(), [Job(0)])), fps=5, cameras=("front", "wrist"))
    pendulum = {"id": "InvertedPendulum-v5", "kwargs": {"render_mode": "rgb_array"}, "cameras": ("render",), "instruction": "stand"}
    (fault,) = examine(str(tmp_path), config(tmp_path, env=pendulum, cameras=("front",))).faults
    assert "has actions of 3 numbers, and InvertedPendulum-v5 takes 1; record it" in fault


def test_evaluation_seeds_are_not_shown(environments: Environments, tmp_path: Path) -> None:
    seeds = (SEEDS["gate"] + 1, 7, SEEDS["test"])
    dataset.append(tmp_path, list(record(environments, codec(), [Job(seed) for seed in seeds])), fps=5, cameras=("front", "wrist"))
    episodes, left = read(config(tmp_path))
    assert [e.seed for e in episodes] == [7] and left == ["begin as an evaluation does"] * 2


def test_the_folder_of_a_run_is_not_yet_a_dataset(environments: Environments, tmp_path: Path) -> None:
    folder = tmp_path / "start/episodes"
    dataset.append(folder, list(record(environments, codec(), [Job(0)])), fps=5, cameras=("front", "wrist"))
    with pytest.raises(ValueError, match=f"no meta/info.json in it; give {folder}."):
        read(config(tmp_path))


TIRED = """
import numpy as np

def show(env, observation):
    if env.unwrapped.np_random_seed == 10_000_002:
        raise RuntimeError("tired")
    return env.unwrapped.oracle(4)
"""


@pytest.mark.slow
def test_a_run_leaves_a_spoilt_demonstration_out_and_goes_on_after_it(tmp_path: Path) -> None:
    (tmp_path / "tired.py").write_text(TIRED)
    figures, weights, said = improve(tmp_path, "run", episodes=6, expert=f"{tmp_path}/tired.py:show")
    assert figures["episodes"] == 5 and figures["left_out"] == 1
    spoilt = "1 of 6 demonstrations were faulty and are left out; the first: etude/Reach-v0, seed 10000002, decision 0: "
    said = " ".join(said.split())
    assert spoilt in said and "show fails with RuntimeError: tired; write it as show(env, observation)" in said
    (tmp_path / "run/start/demonstrate.json").unlink()
    again, same, said = improve(tmp_path, "run", episodes=6, expert=f"{tmp_path}/tired.py:show")
    assert (again["episodes"], again["left_out"], same) == (5, 1, weights)
    assert "1 of 6 demonstrations were faulty and are left out" in " ".join(said.split())


def improve(folder: Path, run: str, **demonstrate: Any) -> tuple[dict[str, Any], str, str]:
    """Warm start of a run; return the stage's figures, the hash of the weights, and what was printed."""
    tiny = {"cycles": 0, "threads": 1, "policy": {"batch_size": 8}, "demonstrate": {"episodes": 3, "steps": 4, **demonstrate}}
    tiny |= {"collect": {"num_envs": 2}, "evaluate": {"gate_episodes": 2, "test_episodes": 2}, "track": {"mode": "off", "videos": False}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    done = apart("improve", folder / "tiny.yaml", folder / run)
    assert done.returncode == 0, done.stderr
    said = json.loads((folder / run / "start/demonstrate.json").read_text())["content"]["figures"]
    return said, hashlib.sha256((folder / run / "start/policy.safetensors").read_bytes()).hexdigest(), " ".join(done.stdout.split())


@pytest.mark.slow
def test_a_run_starts_from_what_another_one_recorded_also_after_a_kill(tmp_path: Path) -> None:
    said, weights, _ = improve(tmp_path, "one")
    source = tmp_path / "one/start/episodes"
    shown = dataset.read(source)
    dataset.append(source, [replace(shown[0], seed=SEEDS["gate"])], fps=5, cameras=("front", "wrist"))
    again, same, printed = improve(tmp_path, "two", dataset=str(source), episodes=4)
    more = {"left_out": 1, "failures": 0, "mean_length": float(np.mean([*map(len, shown)])), "clipped": 0.0, "idle": 0.0}
    del said["env_steps"]  # of a dataset nobody knows them
    assert {key: value for key, value in again.items() if not key.startswith("used/")} == said | more
    assert same == weights, "the same demonstrations teach the same"
    assert (
        "of the 4 episodes of" in printed
        and "that were read, 1 begin as an evaluation does, the first: episode 0, seed 20000000: left out" in printed
    )
    assert "% of the standard deviation of the demonstrations' actions, number by number." in printed
    half = dataset.read(tmp_path / "two/start/episodes")[:2]  # as a kill leaves it
    dataset.append(tmp_path / "three/start/episodes", half, fps=5, cameras=("front", "wrist"))
    assert improve(tmp_path, "three", dataset=str(source), episodes=4)[:2] == (again, weights)


# --- Minari ------------------------------------------------------------------------------------------------------------


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ValueError, match=r"minari:reach/expert-v0 needs a package .*; run: pip install 'minari\[hdf5\]'"):
        read(config("minari:reach/expert-v0"))


@pytest.fixture
def minari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Minari with a place of its own. Its collector takes one function from jax, 300 MB; torch has the same one."""
    import minari
    from torch.utils._pytree import tree_map

    jax = ModuleType("jax.tree_util")
    jax.tree_map = tree_map  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jax", ModuleType("jax"))
    monkeypatch.setitem(sys.modules, "jax.tree_util", jax)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return minari


@pytest.mark.filterwarnings("ignore::UserWarning:minari")  # no author, no description
def test_a_minari_dataset_is_played_again(minari: Any, environments: Environments) -> None:
    """Five episodes of the oracle, its actions held as a policy holds them; in one the scene was pushed about, one has no seed."""
    env = minari.DataCollector(gymnasium.make("etude/Reach-v0", cameras=()))
    inner, seeds = env.unwrapped, (0, 1, None, 3, SEEDS["gate"])
    action: Any = None
    for i, seed in enumerate(seeds):
        env.reset(seed=seed, options=None if seed is not None else {"minari_autoseed": False})
        for t in range(100):
            action = action if t % 4 else inner.oracle(4)
            if i == 1 and t == 2:
                inner.data.qpos[0] += 0.3
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
    env.create_dataset("reach/expert-v0", ref_min_score=0.0, ref_max_score=1.0)
    episodes, left = read(config("minari:reach/expert-v0"))
    assert sorted(left) == ["begin as an evaluation does", "did not replay exactly", "have no seed to be replayed from"]
    for a, b in zip(episodes, record(environments, codec(), [Job(0), Job(3)]), strict=True):
        assert (a.seed, a.instruction, a.first_success, a.achieved) == (b.seed, b.instruction, b.first_success, b.achieved)
        for name in ("frames", "tokens", "rewards", "states"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_allclose(a.actions, b.actions, atol=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning:minari")  # no author, no description
def test_minari_of_an_environment_of_gymnasiums(minari: Any) -> None:
    """Random actions at every step, and seeds of 64 bits that Minari drew itself."""
    env = minari.DataCollector(gymnasium.make("Reacher-v5"))
    env.action_space.seed(0)
    for _ in range(2):
        env.reset()
        for _ in range(50):
            env.step(env.action_space.sample())
    env.create_dataset("reacher/random-v0", ref_min_score=0.0, ref_max_score=1.0)
    space = Actions(env.action_space)
    reacher = {"id": "Reacher-v5", "cameras": ["render"], "kwargs": {"render_mode": "rgb_array"}, "size": 64}
    reacher |= {"instruction": "reach it", "success": "reward < 9"}
    episodes, left = read(config("minari:reacher/random-v0", env=reacher), space)
    assert not left and [(len(e), e.instruction, e.attempt) for e in episodes] == [(13, "reach it", 0), (13, "reach it", 1)]
    assert len({frame.tobytes() for e in episodes for frame in e.frames}) > 20, "moments are drawn anew"
    assert all(e.seed == NO_SEED or 0 <= e.seed < 2**63 for e in episodes)
    with pytest.raises(ValueError, match="has actions of 2 numbers, and etude/Reach-v0 takes 3"):
        read(config("minari:reacher/random-v0"))
    one = config("minari:reacher/random-v0", env=reacher | {"id": "InvertedPendulum-v5"})
    (fault,) = examine("minari:reacher/random-v0", one).faults
    assert "has actions of 2 numbers, and InvertedPendulum-v5 takes 1; record it" in fault
    heavy = reacher | {"kwargs": {"render_mode": "rgb_array", "reward_control_weight": 9}}
    with pytest.raises(ValueError, match=r"no usable episode \(2 did not replay exactly, the first: episode 0\)"):
        read(config("minari:reacher/random-v0", env=heavy), space)


def test_a_minari_dataset_that_is_not_there(minari: Any) -> None:
    for name in ("reach/none-v0", "nonsense"):
        with pytest.raises(ValueError, match=f"minari:{name} cannot be read .*; fetch it by: minari download {name}"):
            read(config(f"minari:{name}"))
