"""Videos: an episode done again is the same episode."""

import shutil
from pathlib import Path

import av
import gymnasium
import numpy as np
import pytest

from agent.config.config import Config
from agent.improve import turn
from agent.learning.training import base_model
from agent.records import Checkpoint, Demonstration, Job, Scorecard, TrainingData
from agent.report import remaining, videos
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run.files import save
from agent.run.folder import Halt, Run
from agent.run.tracking import Track
from envs import EnvConfig
from policies.scripted import Random
from tests.agent.runs import make


class Clock(gymnasium.Env):
    """Shows how many steps were made; takes a number of three."""

    action_space = gymnasium.spaces.Discrete(3)
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.look(), {}

    def look(self):
        return {"eye": np.full((16, 16, 3), 20 * self.time, np.uint8)}

    def step(self, action):
        assert self.action_space.contains(action)
        self.time += 1
        return self.look(), 0.0, False, False, {"success": False}


def test_a_video_shows_each_step_of_an_environment_with_pictures_and_numbered_actions() -> None:
    environments = Environments(EnvConfig(id=f"{__name__}:Clock", cameras=("eye",), instruction="wait", max_episode_steps=6, action_repeat=2), 1)
    space = environments.first.actions
    (episode,) = rollout(Random(space.low, space.high, 1), environments, [Job(3, 0, (1,))])
    assert not episode.faults
    assert [int(frame[0, 0, 0]) for frame in videos.replayed(environments.first, episode)] == [20 * time for time in range(7)]


@pytest.mark.parametrize("fps", [0.5, 1.25, 12.5, 80])
def test_a_video_lasts_as_long_as_what_it_shows(fps: float, tmp_path: Path) -> None:
    file = videos.write([np.full((32, 32, 3), 40 * i, np.uint8) for i in range(5)], tmp_path / "a.mp4", "title", fps)
    with av.open(str(file)) as container:
        times = [float(frame.time or 0) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times[:5], np.arange(5) / fps, atol=1e-3)


def test_a_cycle_that_is_made_anew_has_new_videos(tmp_path: Path) -> None:
    """Where its folder was deleted. A cycle that goes on keeps them."""
    env, collect = EnvConfig(max_episode_steps=8), {"num_seeds": 2, "episodes_per_seed": 2}
    config = Config(threads=1, env=env, collect=collect, tune={"epochs": 1}, track={"mode": "off", "videos": True})  # type: ignore[arg-type]
    session = Session(Run(tmp_path / "run", config, "tune").begin())
    champion, cycle, video = base_model(session), session.run.cycle(1), tmp_path / "run/videos/cycle-001-worst.mp4"
    for step, (delete, made_anew) in enumerate([(False, True), (False, False), (True, True)]):
        video.parent.mkdir(exist_ok=True)
        video.write_bytes(b"former")
        if delete:
            shutil.rmtree(cycle.folder)
        with pytest.raises(Halt):
            turn(session, champion, cycle, Track(session.run.folder, config))
        assert (video.read_bytes() != b"former") == made_anew, step
    session.close()


def test_the_videos_of_a_test_evaluation_have_the_name_of_its_policy(tmp_path: Path) -> None:
    """A run that goes on has another last champion; the videos of the former one stay in the folder."""
    name = make(tmp_path / "run")
    session = Session(Run(tmp_path / "run"))
    champion, seed = Checkpoint(tmp_path / "run/start/policy.safetensors", name), "etude/Reach-v0/30000000"
    failed, passed = (Scorecard(name, {seed: outcome}) for outcome in (False, True))
    written = videos.before_and_after(session, champion, champion, failed, passed)
    save(tmp_path / "run/evaluate" / f"test-{name}.json", {"instructions": {}})
    written |= remaining.failures(session, champion, failed)
    session.close()
    assert {file.name for file in written.values()} == {f"before-after-{name}-0.mp4", f"failure-{name}-0.mp4"}
    assert all(file.stat().st_size > 1000 for file in written.values())


def test_a_replayed_episode_ends_as_the_episode_did(tmp_path: Path) -> None:
    environments = Environments(EnvConfig(size=64), 1)
    space = environments.first.actions
    (episode,) = rollout(Random(space.low, space.high, 2), environments, [Job(3, 0, (1,))])
    frames = videos.replayed(environments.first, episode)
    assert len(frames) == 1 + int((~np.isnan(episode.rewards)).sum())
    np.testing.assert_array_equal(environments.first.observe().frames, episode.frames[-1])
    file = videos.write(frames, tmp_path / "a.mp4", "title", environments.first.rate)
    with av.open(str(file)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(frames) + 20
    assert videos.strip(frames).shape == (256, 6 * 256, 3)
    assert list(tmp_path.iterdir()) == [file]
    picture = videos.batch(TrainingData((Demonstration(episode.situation(0), episode.tokens[0]),)), tmp_path / "b.png")
    assert picture.stat().st_size > 1000
