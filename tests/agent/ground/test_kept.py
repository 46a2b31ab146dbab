"""A killed stage `ground` does not play its episodes again."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.ground import kept, questions, unaided
from agent.ground.scenes import Scene
from agent.rollout.copies import Call, Job, one_by_one
from envs import EnvConfig
from envs.adapt import Adapter

POINT_GOAL = EnvConfig(id="examples/point_goal.py:PointGoal", cameras=("pixels",), action_repeat=2, max_episode_steps=48)


def _same(one: Scene, other: Scene) -> bool:
    return np.array_equal(one.frames, other.frames) and (one.questions, one.places) == (other.questions, other.places)


@pytest.mark.parametrize("simulated", [True, False])
@pytest.mark.parametrize("killed_at", [3, 40])
def test_episodes_before_a_kill_are_not_played_again(simulated: bool, killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that was faulty is tried again in its place, and the scenes are those of a run that was never killed."""
    monkeypatch.setattr(kept, "EVERY", 0.0)
    adapter, played = Adapter(EnvConfig(id="etude/Reach-v0", size=32) if simulated else POINT_GOAL), list[int]()

    def play(function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, Call]]:
        def spoilt(job: Job, call: Call) -> Any:
            played.append(job[0])
            if job[0] == 2:
                raise RuntimeError("this seed is faulty")
            return call()

        for job, call in one_by_one(adapter, function, jobs):
            yield job, lambda job=job, call=call: spoilt(job, call)

    def drawn(folder: Path, many: int) -> list[Scene]:
        rng, seeds, around = np.random.default_rng(0), itertools.count(), kept.Kept(folder, 0).around(play)
        if simulated:
            stream = questions.scenes(adapter, seeds, rng, None, play=around)
        else:
            stream = unaided.scenes(adapter, seeds, rng, None, lambda actions: actions, {"dot": "info.dot_xy"}, play=around)
        return list(itertools.islice(stream, many))

    whole = drawn(tmp_path / "whole", 60)
    every = list(played)
    played.clear()
    drawn(tmp_path / "killed", killed_at)
    before = list(played)
    played.clear()
    assert all(map(_same, drawn(tmp_path / "killed", 60), whole))
    kept_back = before[:-1]  # the last one was still with the caller
    assert played == [seed for seed in every if seed == 2 or seed not in kept_back]
    kept.forget(tmp_path / "killed")
    assert not list((tmp_path / "killed").iterdir())


def test_files_that_do_not_fit_are_as_if_they_were_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file, and those of other code: their episodes are played again."""
    monkeypatch.setattr(kept, "EVERY", 0.0)
    adapter, played = Adapter(EnvConfig(id="etude/Reach-v0", size=32)), list[int]()

    def play(function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, Call]]:
        for job, call in one_by_one(adapter, function, jobs):
            played.append(job[0])
            yield job, call

    def drawn(code: str) -> tuple[list[Scene], list[int]]:
        played.clear()
        around = kept.Kept(tmp_path, 0, code).around(play)
        stream = questions.scenes(adapter, itertools.count(), np.random.default_rng(0), None, play=around)
        return list(itertools.islice(stream, 20)), list(played)

    whole, every = drawn("one")
    file = tmp_path / "scenes-0-2.npz"
    file.write_bytes(file.read_bytes()[:-300])
    again, replayed = drawn("one")
    assert all(map(_same, again, whole)) and replayed == [2, every[-1]], "the last one was still with the caller"
    assert drawn("another")[1] == every


def test_a_full_disk_is_no_fault_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "EVERY", 0.0)
    adapter = Adapter(EnvConfig(id="etude/Reach-v0", size=32))
    around = kept.Kept(tmp_path / "gone" / "ground", 0).around(lambda function, jobs: one_by_one(adapter, function, jobs))
    with pytest.raises(ValueError, match=r"scenes-0-0.npz cannot be written \(No such file or directory\); what is already"):
        list(itertools.islice(questions.scenes(adapter, itertools.count(), np.random.default_rng(0), None, play=around), 20))
