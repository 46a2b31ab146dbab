"""The gate: an exact paired test that cannot be passed by luck or by sitting another evaluation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from agent.evaluate.statistics import account, beats, compare, score, standing
from agent.records import Job, Rate, Scorecard
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from agent.run.layout import evaluation_name, gate_of
from envs import EnvConfig
from policies.scripted import Random


def card(outcomes: list[bool]) -> Scorecard:
    return Scorecard("x", {f"t/{i}": each for i, each in enumerate(outcomes)})


outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(outcomes)
def test_mcnemar_equals_its_definition_and_is_symmetric(pairs: list[tuple[bool, bool]]) -> None:
    one, two = card([a for a, _ in pairs]), card([b for _, b in pairs])
    result, mirror = compare(one, two), compare(two, one)
    won, lost = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    exact = min(1.0, 2 * binom.cdf(min(won, lost), won + lost, 0.5)) if won + lost else 1.0
    assert result.p_value == pytest.approx(exact)
    assert (result.gain, result.low) == pytest.approx((-mirror.gain, -mirror.high))
    assert -1 <= result.low <= result.gain <= result.high <= 1
    assert not (beats(one, two, 0.3) and beats(two, one, 0.3))


def test_the_same_policy_never_beats_itself() -> None:
    assert not beats(card([True, False] * 50), card([True, False] * 50), alpha=1.0)


def test_a_clear_gain_passes_and_a_lucky_one_does_not() -> None:
    before = card([False] * 100)
    assert beats(card([True] * 20 + [False] * 80), before, 0.05)
    assert not beats(card([True] * 4 + [False] * 96), before, 0.05)


def test_a_seed_that_the_environment_spoilt_counts_as_failed() -> None:
    environments = Environments(EnvConfig(), 1)
    space = environments.first.actions
    (episode,) = rollout(Random(space.low, space.high, 2), environments, [Job(3, 0, (1,))])
    won = replace(episode, success=True, first_success=0)
    name = f"{episode.task}/3"
    assert score("x", [won]).outcomes == {name: True}
    assert score("x", [replace(won, faults=("decision 1: it died",))]).outcomes == {name: False}


def test_before_is_the_better_of_base_and_warm_start() -> None:
    base, warm, after = card([True] * 9 + [False]), card([True] * 5 + [False] * 5), card([True] * 10)
    said = account({"base": base, "warm_start": warm}, after)
    assert said["before_is"] == "base" and said["before"] == said["base"] and said["warm_start"]["rate"] == 0.5
    assert (said["gain"], said["won"], said["lost"]) == (pytest.approx(0.1), 1, 0), "over the base, not over the warm start that harmed it"
    assert account({"base": warm, "warm_start": base}, after)["before_is"] == "warm_start"
    assert all({"rate", "low", "high", "n"} <= said[name].keys() for name in ("base", "warm_start", "before", "after"))


def test_what_a_success_takes_is_counted_on_seeds_that_both_pass() -> None:
    slow = Scorecard("slow", {"t/0": True, "t/1": True, "t/2": False}, {"t/0": (6, 24), "t/1": (4, 14), "t/2": (10, 40)})
    quick = Scorecard("quick", {"t/0": True, "t/1": False, "t/2": True}, {"t/0": (2, 7), "t/1": (10, 40), "t/2": (1, 4)})
    assert (standing(slow)["decisions_to_success"], standing(slow)["steps_to_success"]) == (5, 19)
    assert account({"base": slow}, quick)["both_pass"] == {"n": 1, "decisions": [6, 2], "steps": [24, 7]}
    assert account({"base": card([False])}, card([True]))["both_pass"]["n"] == 0 and standing(card([True]))["steps_to_success"] is None


def test_effort_ends_with_the_success() -> None:
    environments = Environments(EnvConfig(), 1)
    space = environments.first.actions
    (episode,) = rollout(Random(space.low, space.high, 2), environments, [Job(3, 0, (1,))])
    (whole,) = score("x", [replace(episode, success=False, first_success=None)]).effort.values()
    assert whole == (len(episode), np.count_nonzero(~np.isnan(episode.rewards)))
    (won,) = score("x", [replace(episode, success=True, first_success=1)]).effort.values()
    assert won == (2, np.count_nonzero(~np.isnan(episode.rewards[:2])))


def test_an_evaluation_in_two_parts_counts_all_its_seeds() -> None:
    first, further = Scorecard("x", {"t/0": True, "t/1": False}), Scorecard("x", {"t/2": True})
    assert first.and_also(further).success == Rate.of(2, 3)
    assert replace(first, effort={"t/0": (1, 4)}).and_also(replace(further, effort={"t/2": (2, 8)})).effort == {"t/0": (1, 4), "t/2": (2, 8)}


def test_the_name_of_a_gate_evaluation_says_whose_and_when_it_is() -> None:
    names = {(cycle, part): evaluation_name("gate", "abc", cycle=cycle, part=part) for cycle in (0, 1, 2, 12) for part in (0, 1, 2)}
    assert all(gate_of(name) == ("abc", cycle) for (cycle, _), name in names.items()) and len(set(names.values())) == 12
    assert gate_of(evaluation_name("test", "abc")) == gate_of(evaluation_name("test", "abc", "new colours")) == ("", None)


def test_different_evaluations_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different evaluation seeds"):
        compare(card([True, False]), card([True]))


@pytest.mark.parametrize(("successes", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (10, 10, 0.7225, 1.0)])
def test_wilson_interval(successes: int, n: int, low: float, high: float) -> None:
    rate = Rate.of(successes, n)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=2e-4)


def test_the_interval_of_the_gain_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        before = rng.random(200) < 0.4
        after = np.where(rng.random(200) < 0.3, rng.random(200) < 0.7, before)  # true gain 0.3 * (0.7 - 0.4)
        result = compare(card(after.tolist()), card(before.tolist()))
        covered += result.low <= 0.09 <= result.high
    assert covered / 400 > 0.92
