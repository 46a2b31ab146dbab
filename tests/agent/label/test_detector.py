"""The detector: calibrated against the truth, measured on other episodes, and blind to what the environment says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.keys import CurateConfig
from agent.curate.rules import training_data_from
from agent.label.calibration import Calibration, calibrate, combine, logistic_regression, peaks, quality
from agent.label.detector import as_detector_labels, detect, detector_score, proximity, qa_examples
from agent.records import Episode, Label, PreferencePair
from policies import PolicyConfig, load

QUESTION = "is it done: {instruction} ?"


def take(seed: int, count: int, hit: int | None = None, **changes: Any) -> Episode:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 1000, (count, 2))
    rewards = rng.random((count, 4)).astype(np.float32)
    plain = Episode(
        task="t",
        seed=seed,
        attempt=int(rng.integers(10**6)),
        policy="p",
        instruction="touch the red ball",
        frames=rng.integers(0, 255, (count + 1, 1, 2, 2, 3), dtype=np.uint8),
        actions=tokens[:, :, None].astype(np.float32),
        tokens=tokens,
        logprobs=np.zeros((count, 2), np.float32),
        rewards=rewards,
        success=hit is not None,
        first_success=hit,
        success_at_end=hit is not None,
        terminated=False,
        truncated=True,
    )
    return replace(plain, **changes)


@given(st.integers(0, 10**6), st.floats(0.3, 3), st.floats(-2, 2))
def test_calibration_finds_what_an_opinion_is_worth(seed: int, slope: float, offset: float) -> None:
    """Outcomes drawn with the chance that some calibration gives: the fitted one gives nearly the same chances."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.02, 0.98, 4000)
    chance = Calibration(slope, offset)(scores)
    found = calibrate(scores, rng.random(4000) < chance)(scores)
    assert np.abs(found - chance).mean() < 0.04


def test_without_both_outcomes_opinions_are_taken_as_they_are() -> None:
    for truth in (np.ones(3, bool), np.zeros(3, bool)):
        np.testing.assert_allclose(calibrate(np.array([0.1, 0.5, 0.9]), truth)(np.array([0.2, 0.7])), [0.2, 0.7])


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.01]))
def test_a_logistic_regression_is_at_its_minimum_and_takes_weights_for_repeated_rows(seed: int, penalty: float) -> None:
    rng = np.random.default_rng(seed)
    x, targets, counts = np.c_[rng.normal(0, 1, (30, 2)), np.ones(30)], rng.uniform(0.05, 0.95, 30), rng.integers(1, 4, 30)
    ridge = np.array([penalty, penalty, 0.0])
    weighted = logistic_regression(x, targets, counts / counts.sum(), np.zeros(3), ridge)
    slope = x.T @ (counts / counts.sum() * (1 / (1 + np.exp(-x @ weighted)) - targets)) + 2 * ridge * weighted
    assert np.abs(slope).max() < 1e-4
    rows = np.repeat(np.arange(30), counts)
    repeated = logistic_regression(x[rows], targets[rows], np.full(len(rows), 1 / len(rows)), np.ones(3), ridge)
    np.testing.assert_allclose(repeated, weighted, atol=1e-3)


def test_a_perfect_detector_stays_finite() -> None:
    sure = calibrate(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, False, True, True]))
    assert np.isfinite([sure.slope, sure.offset]).all() and sure(np.array([0.0]))[0] < 0.5 < sure(np.array([1.0]))[0]


@given(st.integers(0, 10**6))
def test_quality_equals_its_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability, truth = np.round(rng.random(40), 1), rng.random(40) < 0.4
    if truth.all() or not truth.any():
        return
    found = quality(probability, truth)
    above = [float(a > b) + 0.5 * (a == b) for a in probability[truth] for b in probability[~truth]]
    assert found["auroc"] == pytest.approx(np.mean(above))
    assert found["balanced_accuracy"] == pytest.approx(((probability[truth] >= 0.5).mean() + (probability[~truth] < 0.5).mean()) / 2)
    assert found["true_yes"] + found["false_yes"] + found["true_no"] + found["false_no"] == 40
    assert found["brier"] == pytest.approx(np.mean((probability - truth) ** 2))


def test_peaks_are_the_best_before_a_success_and_from_it_on() -> None:
    won, lost = take(1, 4, hit=1), take(2, 2)
    scores, ends = peaks([np.array([0.1, 0.3, 0.8, 0.2, 0.9]), np.array([0.4, 0.6, 0.5])], [won, lost])
    np.testing.assert_allclose(scores, [0.3, 0.6, 0.9])
    np.testing.assert_array_equal(ends, [False, False, True])


def test_calibration_error_is_the_gap_between_rate_and_probability() -> None:
    probability = np.array([0.25] * 8 + [0.75] * 4)
    assert quality(probability, np.array([True] * 2 + [False] * 6 + [True] * 3 + [False]))["calibration_error"] == pytest.approx(0)
    assert quality(probability, np.array([True] * 8 + [False] * 4))["calibration_error"] == pytest.approx((8 * 0.75 + 4 * 0.75) / 12)


def test_a_moment_is_near_where_the_way_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = np.array([[64, 32, 32], [32, 32, 48], [32, 32, 33], [32, 32, 32]], float)  # 40, 20, 1.25 and 0 cm
    monkeypatch.setattr("policies.scoring.expected_numbers", lambda policy, frames, asked, numbers: ways)
    (near,) = proximity(None, [take(1, 3)], "how far: {instruction} ?")
    assert near[0] == pytest.approx(0) and near[3] == pytest.approx(1) and (np.diff(near) > 0.1).all()


def test_two_answers_together_tell_more_than_either() -> None:
    """Noise on one is not noise on the other; what is fitted on demonstrations parts other episodes better than each by itself."""
    rng = np.random.default_rng(0)

    def drawn(count: int) -> tuple[list[Episode], list[np.ndarray], list[np.ndarray]]:
        attempts = [take(i, 6, hit=3 if i % 2 else None) for i in range(count)]
        done = [np.arange(7) >= (7 if each.first_success is None else 4) for each in attempts]
        words = [1 / (1 + np.exp(-(2.0 * each - 1 + rng.normal(0, 1, 7)))) for each in done]
        return attempts, words, [0.1 * each + rng.normal(0, 0.05, 7) for each in done]

    shown, others = drawn(60), drawn(200)
    both = combine(shown[1], shown[2], shown[0])
    truth = np.concatenate([np.arange(7) >= (7 if each.first_success is None else 4) for each in others[0]])
    words, proximity = np.concatenate(others[1]), np.concatenate(others[2])
    together = quality(both(words, proximity), truth)
    assert both.word > 0 and both.proximity > 0
    assert together["auroc"] > 0.03 + max(quality(each, truth)["auroc"] for each in (words, 1 / (1 + np.exp(-proximity))))
    assert together["balanced_accuracy"] > 0.85


def test_what_comes_after_a_success_that_was_lost_counts_for_neither() -> None:
    attempts = [take(1, 4, hit=1, success_at_end=True), take(2, 4), take(3, 4, hit=1, success_at_end=False)]
    words = [np.array([0.1, 0.2, 0.9, 0.8, 0.9]), np.array([0.2, 0.1, 0.3, 0.2, 0.1]), np.array([0.1, 0.3, 0.1, 0.2, 0.1])]
    proximity = [0.5 * each for each in words]
    cut = [words[0], words[1], words[2][:3]], [proximity[0], proximity[1], proximity[2][:3]], [*attempts[:2], take(3, 2, hit=1)]
    assert combine(words, proximity, attempts) == combine(*cut)


@pytest.mark.parametrize("hit", [None, -1])
def test_where_all_moments_are_alike_the_word_counts_alone(hit: int | None) -> None:
    attempts = [take(i, 1, hit=hit) for i in (1, 2)]
    both = combine([np.full(2, 0.3)] * 2, [np.zeros(2)] * 2, attempts)
    np.testing.assert_allclose(both(np.array([0.2, 0.7]), np.array([5.0, -5.0])), [0.2, 0.7])


def test_the_peak_of_a_success_is_what_lasts_or_the_success_itself() -> None:
    attempts, told = [take(1, 4, hit=1), take(2, 4)], [np.array([0.1, 0.3, 0.6, 0.9, 0.8]), np.array([0.2, 0.4, 0.1, 0.1, 0.1])]
    for lasting, yes in ((True, 0.9), (False, 0.6)):
        scores, ends = peaks(told, attempts, lasting)
        assert scores.tolist() == [0.3, 0.4, yes] and ends.tolist() == [False, False, True]


def test_the_score_says_when() -> None:
    assert detector_score(np.array([0.1, 0.7, 0.9])).critique == "fulfilled at decision 2 of 3 (90%)"
    assert detector_score(np.array([0.1, 0.4, 0.1])).critique == "not fulfilled; nearest to it at decision 2 of 3 (40%), lost again after that"
    assert detector_score(np.array([0.3])).probability == pytest.approx(0.3)


def test_a_judged_episode_ends_where_the_detector_says_and_keeps_what_was_done() -> None:
    episode = take(1, 4)
    cut_at_detected_success = as_detector_labels(episode, np.array([0.1, 0.2, 0.6, 0.3, 0.9]))
    assert (
        cut_at_detected_success.success
        and cut_at_detected_success.first_success == 1
        and len(cut_at_detected_success) == 2
        and len(cut_at_detected_success.frames) == 3
    )
    np.testing.assert_array_equal(cut_at_detected_success.tokens, episode.tokens[:2])
    np.testing.assert_allclose(cut_at_detected_success.last_rewards, [0.2, 0.6], rtol=1e-6)
    never = as_detector_labels(episode, np.full(5, 0.2))
    assert not never.success and len(never) == 4


def test_nothing_that_the_environment_said_reaches_a_training_example() -> None:
    """The same episodes with other rewards and successes of the environment: the training data of the detector are the same to the bit."""
    rng = np.random.default_rng(0)
    attempts = [replace(take(100 + i, 5), seed=seed, attempt=i) for i, seed in enumerate((1, 1, 1, 1, 2, 2, 2, 2, 3, 3))]
    told = [np.clip(rng.normal(0.35, 0.3, 6), 0, 1) for _ in attempts]
    made = []
    for lie in (False, True):
        said = [replace(each, rewards=-each.rewards, success=True, first_success=3, success_at_end=True, terminated=True) for each in attempts]
        cut_at_detected_success = [as_detector_labels(each, p) for each, p in zip(said if lie else attempts, told, strict=True)]
        training_data = training_data_from(
            cut_at_detected_success,
            [Label.of(each, "detector") for each in cut_at_detected_success],
            [],
            CurateConfig(hindsight_weight=1.0),
            np.random.default_rng(1),
        )
        made.append(training_data)
    one, other = made
    assert one.samples and one.pairs and one.demonstrations
    for kind in ("demonstrations", "samples"):
        for a, b in zip(getattr(one, kind), getattr(other, kind), strict=True):
            np.testing.assert_array_equal(a.tokens, b.tokens)
    assert [t.advantage for t in one.samples] == [t.advantage for t in other.samples]
    assert _told(one.pairs) == _told(other.pairs)


def _told(pairs: tuple[PreferencePair, ...]) -> list[Any]:
    return [[reply.tokens.tolist() for reply in side] for pair in pairs for side in (pair.chosen, pair.rejected)]


def test_detector_training_data_are_half_yes_and_half_no() -> None:
    won, lost, brief = take(1, 4, hit=2), take(2, 3), take(3, 3, hit=1, success_at_end=False)
    training_data = qa_examples([won, lost, brief, replace(take(4, 1), faults=("step: OSError",))], QUESTION, 100, np.random.default_rng(0))
    yes = {each.frames.tobytes() for each in training_data if each.answer == "yes"}
    assert yes == {frames.tobytes() for frames in (won.frames[3], won.frames[4], brief.frames[2])}, "what follows only where it lasts"
    no = [each for each in training_data if each.answer == "no"]
    assert len(no) == 3 and not yes & {each.frames.tobytes() for each in no}
    assert {each.question for each in training_data} == {"is it done: touch the red ball ?"}
    few = qa_examples([won, lost], QUESTION, 2, np.random.default_rng(0))
    assert sorted(each.answer for each in few) == ["no", "yes"]


def test_a_success_is_none_of_what_others_were_told_to_do() -> None:
    """But of what the environment says that was done as well."""
    attempts = [take(i, 1, hit=0, instruction=words) for i, words in enumerate(("touch red", "touch blue", "touch either"))]
    attempts = [replace(each, achieved=(each.instruction, "touch either")) for each in attempts]
    asked = [qa_examples(attempts, "{instruction}", 100, np.random.default_rng(seed)) for seed in range(20)]
    denied = {(each.frames.tobytes(), each.question) for training_data in asked for each in training_data if each.answer == "no"}
    red, blue, either = (each.frames[1].tobytes() for each in attempts)
    assert {question for frames, question in denied if frames == red} == {"touch blue"}
    assert {question for frames, question in denied if frames == blue} == {"touch red"}
    assert {question for frames, question in denied if frames == either} == {"touch red", "touch blue"}


def test_noes_are_of_three_kinds_alike_and_none_of_other_wordings_where_nobody_says_what_was_achieved() -> None:
    attempts = [take(i, 6, hit=2, instruction=words, achieved=(words,)) for i, words in enumerate(("touch red", "touch blue"))] + [take(9, 8)]
    moments: list[set[bytes]] = [set(), set(), set()]
    for each in attempts[:2]:
        moments[0] |= {frames.tobytes() for frames in each.frames[:3]}
        moments[2] |= {frames.tobytes() for frames in each.frames[3:]}
    moments[1] = {frames.tobytes() for frames in attempts[2].frames}
    no = [each.frames.tobytes() for each in qa_examples(attempts, QUESTION, 12, np.random.default_rng(0)) if each.answer == "no"]
    assert [sum(each in kind for each in no) for kind in moments] == [2, 2, 2]
    silent = qa_examples([replace(each, achieved=()) for each in attempts], QUESTION, 100, np.random.default_rng(0))
    assert not moments[2] & {each.frames.tobytes() for each in silent if each.answer == "no"}


def test_opinions_are_those_of_each_moment_alone(situations: Any) -> None:
    policy = load(PolicyConfig(precision="float32"), -np.ones(3), np.ones(3))
    rng = np.random.default_rng(0)
    attempts = [replace(take(seed, 2), frames=rng.integers(0, 255, (3, 2, 64, 64, 3), dtype=np.uint8)) for seed in (1, 2)]
    told = detect(policy, [attempts[0], replace(attempts[1], instruction="touch the purple ball, please")], QUESTION)
    assert [len(each) for each in told] == [3, 3]
    alone = policy.probability("is it done: touch the purple ball, please ?", attempts[1].frames[2])
    assert told[1][2] == pytest.approx(alone, abs=1e-4)
