"""Round trip with the real lerobot, which lives in an environment of its own: `make test-lerobot`."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.config.config import Config
from agent.demonstrate.datasets import stored
from agent.demonstrate.stage import record
from agent.demonstrate.target import Tally, Target
from agent.records import Job
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from agent.run import episodes as dataset
from agent.run.describe import describe
from envs import EnvConfig
from envs.spaces import Actions
from policies.codec import Codec
from policies.scripted import Random
from tests import lerobot_side as side

ROOT = Path(__file__).resolve().parents[3]
PYTHON = Path(os.environ.get("LEROBOT_PYTHON", ROOT / ".venv-lerobot/bin/python"))
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="lerobot has an environment of its own: make test-lerobot")
BOX = Actions(gymnasium.spaces.Box(-1, 1, (3,), np.float32))


def lerobot(*words: Any) -> None:
    done = subprocess.run(
        [PYTHON, side.__file__, *map(str, words)], capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("chunk", [1, 2])
def test_lerobot_loads_the_episodes_of_a_run(tmp_path: Path, chunk: int) -> None:
    codec = Codec(np.arange(33)[:, None], BOX.low, BOX.high, chunk)
    environments = Environments(EnvConfig(cameras=("front", "wrist"), size=32), 2)
    shown = list(record(environments, codec, [Job(0), Job(1)], noise=0.1))
    jobs = [Job(seed, 0, (0, 1, seed)) for seed in range(3)]
    played = list(rollout(Random(BOX.low, BOX.high, chunk), environments, jobs))
    environments.close()
    root = tmp_path / "episodes"
    for shard in (shown, played):
        dataset.append(root, shard, fps=5, cameras=("front", "wrist"))
    lerobot("load", root, tmp_path / "rows.npz")
    rows, episodes = np.load(tmp_path / "rows.npz"), [*shown, *played]
    assert len(rows["index"]) == sum(map(len, episodes))
    expected: dict[str, Any] = {"action": [e.actions.reshape(len(e), -1) for e in episodes], "observation.state": [e.states[:-1] for e in episodes]}  # type: ignore[index]
    expected |= {
        f"observation.images.{name}": [e.frames[:-1, i].transpose(0, 3, 1, 2) for e in episodes] for i, name in enumerate(("front", "wrist"))
    }
    expected |= {"tasks": [[e.instruction] * len(e) for e in episodes], "frame_index": [range(len(e)) for e in episodes]}
    expected |= {"episode_index": [[i] * len(e) for i, e in enumerate(episodes)], "next.reward": [np.nansum(e.rewards, 1) for e in episodes]}
    for name, values in expected.items():
        np.testing.assert_array_equal(rows[name], np.concatenate([*map(np.asarray, values)]), err_msg=name)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_what_lerobot_records_is_read(tmp_path: Path, kind: str) -> None:
    lerobot("write", tmp_path / "set", kind)
    env = {"cameras": ["front"], "size": side.SIDE, "action_repeat": 1}
    config = Config(env=env, demonstrate={"dataset": str(tmp_path / "set")})  # type: ignore[arg-type]
    tally = Tally()
    target = Target(BOX, (BOX.low, BOX.high), float(side.FPS), 2)
    episodes = list(stored(config, target, Codec(np.arange(99)[:, None], BOX.low, BOX.high, 1), tally))
    assert not tally.reasons and [len(e) for e in episodes] == list(side.LENGTHS)
    assert [e.instruction for e in episodes] == list(side.TASKS)
    for i, episode in enumerate(episodes):
        rows = [side.content(i, t) for t in range(len(episode))]
        np.testing.assert_array_equal(episode.actions[:, 0], [row["action"] for row in rows])
        assert episode.states is not None
        np.testing.assert_array_equal(episode.states[:-1], [row["state"] for row in rows])
        off = np.abs(episode.frames[:-1, 0].astype(int) - np.array([row["frame"] for row in rows])).max()
        assert off <= (0 if kind == "image" else 4), "the frame before or after would be off by 15"


def test_statistics_are_lerobots_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "action": rng.normal(0, 0.1, (37, 3)).astype(np.float32),
        "state": (rng.random((37, 2)) ** 4).astype(np.float32),
        "reward": rng.exponential(1, (37, 1)).astype(np.float32),
        "step": np.arange(37)[:, None],
        "constant": np.full((37, 1), 0.25, np.float32),
        "one": np.array([[0.5, -2.0]], np.float32),
        "frames": rng.integers(0, 200, (120, 12, 8, 3), dtype=np.uint8),
    }
    np.savez(tmp_path / "arrays.npz", **arrays)
    lerobot("describe", tmp_path / "arrays.npz", tmp_path / "made.json")
    made = json.loads((tmp_path / "made.json").read_text())
    for name, rows in arrays.items():
        ours, spread = describe(rows), float(np.ptp(rows)) / (255 if rows.ndim == 4 else 1)
        assert set(ours) == set(made[name])
        for key, value in made[name].items():
            if name == "frames" and key == "std":  # lerobot squares uint8, which overflows
                np.testing.assert_allclose(np.ravel(ours[key]), rows[:: 120 // 100].reshape(-1, 3).std(0) / 255, rtol=0.02)
                continue
            # float32 sums there, float64 here; a quantile may fall into the next of the 5000 bins.
            np.testing.assert_allclose(np.ravel(ours[key]), np.ravel(value), rtol=1e-5, atol=2e-4 * spread + 1e-7, err_msg=f"{name} {key}")
