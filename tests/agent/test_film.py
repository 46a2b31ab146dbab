"""Films: a take done again is the same take."""

from pathlib import Path

import av
import numpy as np

from agent import film
from agent.collect import Job, collect
from agent.records import Demonstration, Lessons
from agent.workers import Workers
from envs import EnvConfig
from policies.scripted import Random


def test_a_replayed_take_ends_as_the_take_did(tmp_path: Path) -> None:
    workers = Workers(EnvConfig(size=64), 1)
    space = workers.first.actions
    (episode,) = collect(Random(space.low, space.high, 2), workers, [Job(3, 0, (1,))])
    frames = film.replayed(workers.first, episode)
    assert len(frames) == 1 + int((~np.isnan(episode.rewards)).sum())
    np.testing.assert_array_equal(workers.first.observe().frames, episode.frames[-1])
    file = film.write(frames, tmp_path / "a.mp4", "title")
    with av.open(str(file)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(frames) + 20
    assert film.strip(frames).shape == (256, 6 * 256, 3)
    assert list(tmp_path.iterdir()) == [file]
    picture = film.batch(Lessons((Demonstration(episode.situation(0), episode.tokens[0]),)), tmp_path / "b.png")
    assert picture.stat().st_size > 1000
