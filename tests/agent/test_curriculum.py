"""Sharing among tasks: nothing is lost, and practice goes where success is rare."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from agent.curriculum import attention, by_env, by_task, diversity, exam_jobs, fork_points, lacking, pick, share, warmer
from agent.records import Episode, Scorecard
from envs import EnvConfig
from envs.spaces import Actions

ONE, OTHER = EnvConfig(name="one"), EnvConfig(name="other", weight=3)


@given(count=st.integers(0, 500), weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=9))
def test_shares_add_up_and_are_as_near_as_whole_numbers_can_be(count: int, weights: list[float]) -> None:
    got, exact = share(count, weights), np.array(weights) / sum(weights) * count
    assert sum(got) == count and min(got) >= min(1, count // len(weights))
    for mine, due in zip(got, exact, strict=True):
        assert abs(mine - due) < 1 or due < 1 or any(other < 1 for other in exact), "off by one at most, where nobody needed a least share"


def take(number: int, closing: list[float], success: bool = False, **changes: Any) -> Episode:
    count = len(closing)
    blank = np.zeros((count, 1), np.float32)
    rewards = np.array(closing, np.float32)[:, None]
    hit = count - 1 if success else None
    frames, tokens = np.zeros((count + 1, 1, 1, 1, 3), np.uint8), blank.astype(int)
    made = Episode("t", 1, number, "p", "go", frames, blank[..., None], tokens, blank, rewards, success, hit, success, False, True)
    return replace(made, **changes)


def test_forks_begin_before_the_worst_decision_of_failed_takes() -> None:
    slipped, fell = take(0, [0.3, 0.5, 0.4]), take(1, [0.6, 0.1, 0.2])
    others = [take(2, [0.9, 0.2, 1.0], success=True), take(3, [0.1, 0.2, 0.3]), take(4, [0.1]), take(5, [0.9, 0.0], faults=("step: OSError",))]
    assert [(e.take, t) for e, t in fork_points([slipped, fell, *others], 9)] == [(1, 1), (0, 2)]
    assert [(e.take, t) for e, t in fork_points([slipped, fell, *others], 1)] == [(1, 1)]


def test_further_seeds_are_practised_until_enough_tell_something_or_too_many_were_tried() -> None:
    both = [take(0, [0.1, 0.2], success=True), take(1, [0.1, 0.2])]
    mixed = [replace(each, seed=seed) for seed in range(4) for each in both]
    alike = [replace(both[1], seed=seed, take=number) for seed in range(4) for number in range(2)]
    assert lacking(mixed, 4, 6) == (0, 0)
    assert lacking(alike, 4, 6) == (0, 4)
    assert lacking(alike + [replace(each, seed=each.seed + 4) for each in alike], 4, 6) == (4, 2)
    assert lacking(alike + [replace(each, seed=each.seed + 4) for each in mixed], 4, 6) == (4, 0)
    assert lacking(alike, 4, 0) == (0, 0)
    assert lacking([*alike, replace(both[0], fork_of=("t/0/0", 1))], 4, 6) == (0, 4), "a fork tells nothing about a seed"


def test_what_fails_is_practised_most() -> None:
    weak, strong = attention((ONE, ONE), (0.1, 0.9), 0.3)
    assert weak / strong == pytest.approx(np.exp(0.8 / 0.3))
    assert attention((ONE, OTHER), (None, 0.5), 0.3) == pytest.approx([1, 3])
    assert np.isfinite(attention((ONE, ONE), (0.0, 1.0), 1e-5)).all()
    even = attention((ONE, ONE), (0.0, 1.0), 1e6)
    assert even[0] == pytest.approx(even[1], rel=1e-5)


RATES = st.dictionaries(st.integers(0, 30), st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12)


@given(count=st.integers(1, 20), history=st.lists(RATES, max_size=4), again=st.floats(0, 0.6), recheck=st.floats(0, 0.4))
def test_a_cycle_has_all_its_seeds_once_and_no_more_old_ones_than_it_was_told(count: int, history: list, again: float, recheck: float) -> None:
    picked = pick(count, range(100, 100 + count), history, again, recheck)
    last = {seed: rate for rates in history for seed, rate in rates.items()}
    assert len(picked) == len(set(picked)) == count
    solved = [seed for seed in picked if last.get(seed) == 1]
    unsettled = [seed for seed in picked if last.get(seed, 1) < 1]
    assert len(solved) <= recheck * count and len(unsettled) <= again * count
    if left := [seed for seed, rate in last.items() if rate < 1 and seed not in picked]:
        assert len(unsettled) == int(again * count)
        assert all(abs(last[mine] - 0.5) <= abs(last[other] - 0.5) for mine in unsettled for other in left), "those that teach most"


def test_a_solved_seed_is_set_aside_and_comes_back_when_it_fails() -> None:
    history: list[dict[int, float]] = [{1: 1.0, 2: 0.5, 3: 1.0}]
    assert pick(3, range(10, 13), history, 1.0, 0.0) == [2, 10, 11], "solved ones rest"
    history.append({1: 0.75, 2: 1.0})  # 1 was rechecked
    assert pick(3, range(10, 13), history, 1.0, 0.34) == [1, 3, 10], "the failed one again, and the one that rested longest"


def test_exams_have_the_same_seeds_whoever_sits_them() -> None:
    jobs = exam_jobs((ONE, OTHER), 8, 100)
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


def test_takes_are_as_far_apart_as_their_first_actions_spread_in_the_action_box() -> None:
    actions = Actions(spaces.Box(-2, 2, (1,)))
    begun = [take(i, [0.1, 0.9], actions=np.array([[[first]], [[9.0]]], np.float32)) for i, first in enumerate((-1, 1))]
    assert diversity(begun, actions) == pytest.approx(0.5)
    elsewhere = replace(begun[0], seed=2)  # alone on its seed
    assert diversity([*begun, elsewhere, replace(begun[0], faults=("x",)), replace(begun[0], fork_of=("t/1/0", 1))], actions) == pytest.approx(0.25)
    assert diversity([], actions) == 0


@given(temperature=st.floats(0.2, 3), met=st.floats(0, 2), wanted=st.floats(0.01, 0.99), first=st.floats(0.3, 2))
def test_a_temperature_follows_what_was_met_and_keeps_its_bounds(temperature: float, met: float, wanted: float, first: float) -> None:
    now = warmer(temperature, met, wanted, first)
    assert first / 2 <= now <= 2 * first
    if first / 2 < now < 2 * first:
        assert (now > temperature) == (wanted > met) or now == pytest.approx(temperature)
