"""Copies of environments: the same results in the same order for any number of processes, new ones after a fault, and none that is left over."""

import itertools
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from agent.demonstrate.stage import record
from agent.ground import questions, unaided
from agent.records import Job
from agent.rollout.copies import Copies
from agent.rollout.environments import Environments
from envs import EnvConfig
from envs.adapt import Adapter
from policies import PolicyConfig, load

SCENE = '''
import time
import gymnasium
import numpy as np


class Scene(gymnasium.Env):
    """Seed 2 is faulty, and seed 9 takes a minute. The number in the frame counts this object's resets."""

    action_space = gymnasium.spaces.Box(-1, 1, (2,))
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})

    def __init__(self):
        self.resets = 0

    def reset(self, *, seed=None, options=None):
        self.resets += 1
        if seed == 2:
            raise KeyError("no scene")
        if seed == 9:
            time.sleep(60)
        return {"eye": np.full((16, 16, 3), self.resets, np.uint8)}, {}
'''


@pytest.fixture
def odd(tmp_path: Path) -> Any:
    (tmp_path / "scene.py").write_text(SCENE)
    environments = Environments(EnvConfig(id=f"{tmp_path / 'scene.py'}:Scene", cameras=("eye",), size=16, max_episode_steps=4, success="a"), 1)
    yield environments
    environments.close()


def children() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE}


@pytest.mark.parametrize("processes", [1, 2])
def test_an_environment_is_replaced_after_a_fault(odd: Environments, processes: int) -> None:
    outcomes = []
    with Copies(odd, processes) as copies:
        for job, call in copies.run(Adapter.reset, ((0, (seed,)) for seed in (0, 1, 2, 3, 4, 5, 6))):
            try:
                outcomes.append((job[0], int(call().frames.max())))
            except KeyError as error:
                outcomes.append((job[0], str(error)))
    assert [seed for seed, _ in outcomes] == list(range(7))
    assert [seed for seed, result in outcomes if isinstance(result, str)] == [2]
    counts = [result for seed, result in outcomes if isinstance(result, int)]
    assert max(counts) <= 4 if processes == 1 else max(counts) < 6, "after the fault its count begins again"


def test_what_is_not_wanted_any_more_holds_nothing_up(odd: Environments) -> None:
    before, began = children(), time.monotonic()
    with Copies(odd, 2) as copies:
        calls = copies.run(Adapter.reset, ((0, (seed,)) for seed in itertools.chain([0], itertools.repeat(9))))
        assert next(calls)[1]().frames.max() == 1
        assert children() > before
    assert time.monotonic() - began < 40, "a job of a minute is under way"
    assert children() <= before


def test_scenes_and_demonstrations_do_not_depend_on_the_number_of_processes() -> None:
    environments = Environments((EnvConfig(size=32), EnvConfig(id="etude/Slide-v0", size=32)), 1)
    codec = load(PolicyConfig(), environments.first.actions.low, environments.first.actions.high).codec
    # A codec of the user's: another process does not know its class.
    codec.__class__ = type("Own", (type(codec),), {"__reduce__": lambda self: pytest.fail("it was sent to another process")})
    jobs = [Job(10_000_000 + i, 0, (i,), i % 2) for i in range(4)]
    shown = [list(record(environments, codec, jobs, noise=0.1, processes=processes)) for processes in (1, 2)]
    for one, other in zip(*shown, strict=True):
        assert one.id == other.id
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.actions, other.actions)
        np.testing.assert_array_equal(one.tokens, np.stack([codec.encode(each) for each in one.target_actions]))
        assert one.logprobs.shape == one.tokens.shape

    def drawn(make: Any, processes: int) -> list[Any]:
        with Copies(environments, processes) as copies:
            stream = make(environments.firsts[1], itertools.count(41_000_000), np.random.default_rng(0), Adapter.oracle, play=copies.of(1))
            return list(itertools.islice(stream, 12))

    for make in (questions.scenes, partial(unaided.scenes, shares=codec.shares, sources={})):
        for one, other in zip(drawn(make, 1), drawn(make, 2), strict=True):
            assert one.questions == other.questions
            np.testing.assert_array_equal(one.frames, other.frames)
    environments.close()
