"""Sharing among tasks: nothing is lost, and practice goes where success is rare."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collect.curriculum import lacking, practice_shares
from agent.evaluate.stage import evaluation_jobs
from agent.records import Episode, Scorecard
from agent.rollout.sharing import by_env, by_task, share
from envs import EnvConfig

ONE, OTHER = EnvConfig(name="one"), EnvConfig(name="other", weight=3)


@given(count=st.integers(0, 500), weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=9))
def test_shares_add_up_and_are_as_near_as_whole_numbers_can_be(count: int, weights: list[float]) -> None:
    got, exact = share(count, weights), np.array(weights) / sum(weights) * count
    assert sum(got) == count and min(got) >= min(1, count // len(weights))
    for mine, due in zip(got, exact, strict=True):
        assert abs(mine - due) < 1 or due < 1 or any(other < 1 for other in exact), "off by one at most, where nobody needed a least share"


def episode(number: int, last_rewards: list[float], success: bool = False, **changes: Any) -> Episode:
    count = len(last_rewards)
    blank = np.zeros((count, 1), np.float32)
    rewards = np.array(last_rewards, np.float32)[:, None]
    hit = count - 1 if success else None
    frames, tokens = np.zeros((count + 1, 1, 1, 1, 3), np.uint8), blank.astype(int)
    made = Episode("t", 1, number, "p", "go", frames, blank[..., None], tokens, blank, rewards, success, hit, success, False, True)
    return replace(made, **changes)


def test_further_seeds_are_practised_until_enough_tell_something_or_too_many_were_tried() -> None:
    both = [episode(0, [0.1, 0.2], success=True), episode(1, [0.1, 0.2])]
    mixed = [replace(each, seed=seed) for seed in range(4) for each in both]
    alike = [replace(both[1], seed=seed, attempt=number) for seed in range(4) for number in range(2)]
    assert lacking(mixed, 4, 6) == (0, 0)
    assert lacking(alike, 4, 6) == (0, 4)
    assert lacking(alike + [replace(each, seed=each.seed + 4) for each in alike], 4, 6) == (4, 2)
    assert lacking(alike + [replace(each, seed=each.seed + 4) for each in mixed], 4, 6) == (4, 0)
    assert lacking(alike, 4, 0) == (0, 0)


def test_what_fails_is_practised_most() -> None:
    weak, strong = practice_shares((ONE, ONE), (0.1, 0.9), 0.3)
    assert weak / strong == pytest.approx(np.exp(0.8 / 0.3))
    assert practice_shares((ONE, OTHER), (None, 0.5), 0.3) == pytest.approx([1, 3])
    assert np.isfinite(practice_shares((ONE, ONE), (0.0, 1.0), 1e-5)).all()
    even = practice_shares((ONE, ONE), (0.0, 1.0), 1e6)
    assert even[0] == pytest.approx(even[1], rel=1e-5)


def test_evaluations_have_the_same_seeds_whoever_sits_them() -> None:
    jobs = evaluation_jobs((ONE, OTHER), 8, 100)
    assert [(job.kind, job.seed) for job in jobs] == [(0, 100), (0, 101), *((1, 100 + i) for i in range(6))]
    assert all(job.noise is None for job in jobs)


def test_parts_of_a_scorecard() -> None:
    before = Scorecard("a", {"one/1": False, "one/2": True, "other/1": False})
    after = Scorecard("b", {"one/1": True, "one/2": True, "other/1": False})
    found = by_env((ONE, OTHER), after)
    assert found["one"].outcomes == {"one/1": True, "one/2": True} and found["other"].outcomes == {"other/1": False}
    assert by_env((ONE, OTHER, EnvConfig(name="third")), after).keys() == {"one", "other"}, "no test seed, no row"
    within = Scorecard("c", {"one/1": True, "one/two/1": False})
    assert by_task((ONE, EnvConfig(name="one/two")), within.outcomes) == {"one": 1.0, "one/two": 0.0}
    assert by_env((ONE,), after) == {} and by_task((ONE,), after.outcomes) == {}
    assert by_task((ONE, OTHER), before.outcomes) == {"one": 0.5, "other": 0.0}
