"""The model's countdown: right digits as training data, learnt, and a reward that says nothing of the environment's."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.keys import CurateConfig, TuneConfig
from agent.config.read import parse
from agent.curate.credit import SUCCESS_BONUS, credit_to_go
from agent.label.steps_to_go import DIGITS, FAR, error, pace, predict, to_go, training_data, with_predicted_rewards
from agent.learning.trainer import train
from agent.records import Demonstration, Episode, Label, TrainingData
from policies import PolicyConfig, load

QUESTION = "how many steps to go: {instruction} ?"


def take(seed: int, count: int, hit: int | None = None, **changes: Any) -> Episode:
    rng = np.random.default_rng(seed)
    frames, tokens = rng.integers(0, 255, (count + 1, 1, 16, 16, 3), dtype=np.uint8), rng.integers(0, 1000, (count, 2))
    actions, rewards, logprobs = tokens[:, :, None].astype(np.float32), rng.random((count, 4)).astype(np.float32), np.zeros((count, 2), np.float32)
    ends = {"success": hit is not None, "first_success": hit, "success_at_end": hit is not None, "terminated": False, "truncated": True}
    made = Episode("t", seed, 0, "p", "touch the red ball", frames, actions, tokens, logprobs, rewards, **ends)
    return replace(made, **changes)


@given(count=st.integers(1, 40), unit=st.integers(1, 5), data=st.data())
def test_digits_fall_to_zero_at_success_and_never_do_without(count: int, unit: int, data: st.DataObject) -> None:
    hit = data.draw(st.none() | st.integers(0, count - 1))
    told = to_go(take(0, count, hit), unit)
    if hit is None:
        assert told == [FAR] * (count + 1)
    else:
        assert len(told) == hit + 2 and told[-1] == 0 and 0 not in told[:-1]
        assert all(0 <= a - b <= 1 for a, b in itertools.pairwise(told)) and max(told) <= FAR


def test_a_digit_stands_for_as_few_decisions_as_the_longest_demonstration_allows() -> None:
    assert [pace([take(0, 30, hit)]) for hit in (2, 8, 9, 26)] == [1, 1, 2, 3] and pace([]) == 1
    assert max(to_go(take(0, 30, 26), 3)) <= FAR


def test_training_data_are_of_each_digit_and_no_more_than_asked_for() -> None:
    told = training_data([take(i, 6, 2) for i in range(10)] + [take(9, 3)], QUESTION, 1, 24, np.random.default_rng(0))
    count = {digit: sum(each.answer == digit for each in told) for digit in DIGITS}
    assert len(told) == 24 and set(count.values()) <= {0, 4, 5} | {count["9"]} and count["9"] == 4, "four moments of the episode that failed"
    assert {each.question for each in told} == {"how many steps to go: touch the red ball ?"}


def test_a_model_learns_to_count_down() -> None:
    policy = load(PolicyConfig(batch_size=8), -np.ones(2), np.ones(2))
    shown = [take(i, 4, 3) for i in range(4)]
    before = error(shown, predict(policy, shown, QUESTION), 1)
    told = tuple(training_data(shown, QUESTION, 1, 100, np.random.default_rng(0)))
    situations = [episode.situation(0) for episode in shown]
    replies = policy.act(situations, None)
    config = TuneConfig(pg_coef=0, dpo_coef=0, bc_coef=0.1, learning_rate=1e-3, batch_size=8)
    train(
        policy,
        TrainingData(tuple(Demonstration(s, d.tokens) for s, d in zip(situations, replies, strict=True)), qa_examples=told),
        config,
        qa_coef=1,
        steps=40,
    )
    after = error(shown, predict(policy, shown, QUESTION), 1)
    assert before is not None and after is not None and after < 0.5 < before
    assert error([take(1, 3)], [np.zeros(4)], 1) is None


def test_credit_is_what_the_countdown_says_and_not_what_the_environment_says() -> None:
    told = np.array([3.0, 2.0, 2.5, 0.0])
    config = CurateConfig(credit="steps_to_go", discount=0.5)
    for rewards in (np.zeros((3, 4), np.float32), np.full((3, 4), 7, np.float32)):
        seen = with_predicted_rewards(take(0, 3, 2, rewards=rewards), told)
        cut_at_detected_success = Label.of(seen)
        steps = np.array([1, -0.5, 2.5]) / FAR
        steps[2] += SUCCESS_BONUS
        expected = [steps[0] + 0.5 * (steps[1] + 0.5 * steps[2]), steps[1] + 0.5 * steps[2], steps[2]]
        np.testing.assert_allclose(credit_to_go(seen, cut_at_detected_success, config), expected, atol=1e-6)
    cut = take(1, 2, 1)
    assert with_predicted_rewards(cut, told).rewards.shape == (2, 2), "of an episode that the detector ended sooner, no more than there is"
    with pytest.raises(ValueError, match=r"give demonstrate\.episodes more than 0"):
        parse({"curate": {"credit": "steps_to_go"}, "demonstrate": {"episodes": 0}}, "test")
