"""The critic: calibrated against the truth, measured on other takes, and blind to what the environment says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.keys import CurateConfig
from agent.curate.rules import curate
from agent.label.calibration import Calibration, calibrate, peaks, quality, sight
from agent.label.detector import answers, as_judged, nearness, opine, verdict
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
        take=int(rng.integers(10**6)),
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
    opinions = rng.uniform(0.02, 0.98, 4000)
    chance = Calibration(slope, offset)(opinions)
    found = calibrate(opinions, rng.random(4000) < chance)(opinions)
    assert np.abs(found - chance).mean() < 0.04


def test_without_both_outcomes_opinions_are_taken_as_they_are() -> None:
    for truth in (np.ones(3, bool), np.zeros(3, bool)):
        np.testing.assert_allclose(calibrate(np.array([0.1, 0.5, 0.9]), truth)(np.array([0.2, 0.7])), [0.2, 0.7])


def test_a_perfect_critic_stays_finite() -> None:
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
    opinions, ends = peaks([np.array([0.1, 0.3, 0.8, 0.2, 0.9]), np.array([0.4, 0.6, 0.5])], [won, lost])
    np.testing.assert_allclose(opinions, [0.3, 0.6, 0.9])
    np.testing.assert_array_equal(ends, [False, False, True])


def test_calibration_error_is_the_gap_between_rate_and_probability() -> None:
    probability = np.array([0.25] * 8 + [0.75] * 4)
    assert quality(probability, np.array([True] * 2 + [False] * 6 + [True] * 3 + [False]))["calibration_error"] == pytest.approx(0)
    assert quality(probability, np.array([True] * 8 + [False] * 4))["calibration_error"] == pytest.approx((8 * 0.75 + 4 * 0.75) / 12)


def test_a_moment_is_near_where_the_way_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = np.array([[64, 32, 32], [32, 32, 48], [32, 32, 33], [32, 32, 32]], float)  # 40, 20, 1.25 and 0 cm
    monkeypatch.setattr("policies.scoring.tell", lambda policy, frames, asked, numbers: ways)
    (near,) = nearness(None, [take(1, 3)], "how far: {instruction} ?")
    assert near[0] == pytest.approx(0) and near[3] == pytest.approx(1) and (np.diff(near) > 0.1).all()


def test_two_answers_together_tell_more_than_either() -> None:
    """Noise on one is not noise on the other; what is fitted on demonstrations parts other takes better than each by itself."""
    rng = np.random.default_rng(0)

    def drawn(count: int) -> tuple[list[Episode], list[np.ndarray], list[np.ndarray]]:
        takes = [take(i, 6, hit=3 if i % 2 else None) for i in range(count)]
        done = [np.arange(7) >= (7 if each.first_success is None else 4) for each in takes]
        words = [1 / (1 + np.exp(-(2.0 * each - 1 + rng.normal(0, 1, 7)))) for each in done]
        return takes, words, [0.1 * each + rng.normal(0, 0.05, 7) for each in done]

    shown, others = drawn(60), drawn(200)
    both = sight(shown[1], shown[2], shown[0])
    truth = np.concatenate([np.arange(7) >= (7 if each.first_success is None else 4) for each in others[0]])
    words, near = np.concatenate(others[1]), np.concatenate(others[2])
    together = quality(both(words, near), truth)
    assert both.word > 0 and both.near > 0
    assert together["auroc"] > 0.03 + max(quality(each, truth)["auroc"] for each in (words, 1 / (1 + np.exp(-near))))
    assert together["balanced_accuracy"] > 0.85


def test_what_comes_after_a_success_that_was_lost_counts_for_neither() -> None:
    takes = [take(1, 4, hit=1, success_at_end=True), take(2, 4), take(3, 4, hit=1, success_at_end=False)]
    words = [np.array([0.1, 0.2, 0.9, 0.8, 0.9]), np.array([0.2, 0.1, 0.3, 0.2, 0.1]), np.array([0.1, 0.3, 0.1, 0.2, 0.1])]
    near = [0.5 * each for each in words]
    cut = [words[0], words[1], words[2][:3]], [near[0], near[1], near[2][:3]], [*takes[:2], take(3, 2, hit=1)]
    assert sight(words, near, takes) == sight(*cut)


@pytest.mark.parametrize("hit", [None, -1])
def test_where_all_moments_are_alike_the_word_counts_alone(hit: int | None) -> None:
    takes = [take(i, 1, hit=hit) for i in (1, 2)]
    both = sight([np.full(2, 0.3)] * 2, [np.zeros(2)] * 2, takes)
    np.testing.assert_allclose(both(np.array([0.2, 0.7]), np.array([5.0, -5.0])), [0.2, 0.7])


def test_the_peak_of_a_success_is_what_lasts_or_the_success_itself() -> None:
    takes, told = [take(1, 4, hit=1), take(2, 4)], [np.array([0.1, 0.3, 0.6, 0.9, 0.8]), np.array([0.2, 0.4, 0.1, 0.1, 0.1])]
    for lasting, yes in ((True, 0.9), (False, 0.6)):
        opinions, ends = peaks(told, takes, lasting)
        assert opinions.tolist() == [0.3, 0.4, yes] and ends.tolist() == [False, False, True]


def test_the_verdict_says_when() -> None:
    assert verdict(np.array([0.1, 0.7, 0.9])).critique == "fulfilled at decision 2 of 3 (90%)"
    assert verdict(np.array([0.1, 0.4, 0.1])).critique == "not fulfilled; nearest to it at decision 2 of 3 (40%), lost again after that"
    assert verdict(np.array([0.3])).probability == pytest.approx(0.3)


def test_a_judged_take_ends_where_the_critic_says_and_keeps_what_was_done() -> None:
    episode = take(1, 4)
    judged = as_judged(episode, np.array([0.1, 0.2, 0.6, 0.3, 0.9]))
    assert judged.success and judged.first_success == 1 and len(judged) == 2 and len(judged.frames) == 3
    np.testing.assert_array_equal(judged.tokens, episode.tokens[:2])
    np.testing.assert_allclose(judged.closing, [0.2, 0.6], rtol=1e-6)
    never = as_judged(episode, np.full(5, 0.2))
    assert not never.success and len(never) == 4


def test_nothing_that_the_environment_said_reaches_a_lesson() -> None:
    """The same takes with other rewards and successes of the environment: the lessons of the critic are the same to the bit."""
    rng = np.random.default_rng(0)
    takes = [replace(take(100 + i, 5), seed=seed, take=i) for i, seed in enumerate((1, 1, 1, 1, 2, 2, 2, 2, 3, 3))]
    told = [np.clip(rng.normal(0.35, 0.3, 6), 0, 1) for _ in takes]
    made = []
    for lie in (False, True):
        said = [replace(each, rewards=-each.rewards, success=True, first_success=3, success_at_end=True, terminated=True) for each in takes]
        judged = [as_judged(each, p) for each, p in zip(said if lie else takes, told, strict=True)]
        lessons = curate(judged, [Label.of(each, "critic") for each in judged], [], CurateConfig(hindsight=1.0), np.random.default_rng(1))
        made.append(lessons)
    one, other = made
    assert one.trials and one.pairs and one.demonstrations
    for kind in ("demonstrations", "trials"):
        for a, b in zip(getattr(one, kind), getattr(other, kind), strict=True):
            np.testing.assert_array_equal(a.tokens, b.tokens)
    assert [t.advantage for t in one.trials] == [t.advantage for t in other.trials]
    assert _told(one.pairs) == _told(other.pairs)


def _told(pairs: tuple[PreferencePair, ...]) -> list[Any]:
    return [[reply.tokens.tolist() for reply in side] for pair in pairs for side in (pair.chosen, pair.rejected)]


def test_critic_lessons_are_half_yes_and_half_no() -> None:
    won, lost, brief = take(1, 4, hit=2), take(2, 3), take(3, 3, hit=1, success_at_end=False)
    lessons = answers([won, lost, brief, replace(take(4, 1), faults=("step: OSError",))], QUESTION, 100, np.random.default_rng(0))
    yes = {each.frames.tobytes() for each in lessons if each.answer == "yes"}
    assert yes == {frames.tobytes() for frames in (won.frames[3], won.frames[4], brief.frames[2])}, "what follows only where it lasts"
    no = [each for each in lessons if each.answer == "no"]
    assert len(no) == 3 and not yes & {each.frames.tobytes() for each in no}
    assert {each.question for each in lessons} == {"is it done: touch the red ball ?"}
    few = answers([won, lost], QUESTION, 2, np.random.default_rng(0))
    assert sorted(each.answer for each in few) == ["no", "yes"]


def test_a_success_is_none_of_what_others_were_told_to_do() -> None:
    """But of what the environment says that was done as well."""
    takes = [take(i, 1, hit=0, instruction=words) for i, words in enumerate(("touch red", "touch blue", "touch either"))]
    takes = [replace(each, achieved=(each.instruction, "touch either")) for each in takes]
    asked = [answers(takes, "{instruction}", 100, np.random.default_rng(seed)) for seed in range(20)]
    denied = {(each.frames.tobytes(), each.question) for lessons in asked for each in lessons if each.answer == "no"}
    red, blue, either = (each.frames[1].tobytes() for each in takes)
    assert {question for frames, question in denied if frames == red} == {"touch blue"}
    assert {question for frames, question in denied if frames == blue} == {"touch red"}
    assert {question for frames, question in denied if frames == either} == {"touch red", "touch blue"}


def test_noes_are_of_three_kinds_alike_and_none_of_other_wordings_where_nobody_says_what_was_achieved() -> None:
    takes = [take(i, 6, hit=2, instruction=words, achieved=(words,)) for i, words in enumerate(("touch red", "touch blue"))] + [take(9, 8)]
    moments: list[set[bytes]] = [set(), set(), set()]
    for each in takes[:2]:
        moments[0] |= {frames.tobytes() for frames in each.frames[:3]}
        moments[2] |= {frames.tobytes() for frames in each.frames[3:]}
    moments[1] = {frames.tobytes() for frames in takes[2].frames}
    no = [each.frames.tobytes() for each in answers(takes, QUESTION, 12, np.random.default_rng(0)) if each.answer == "no"]
    assert [sum(each in kind for each in no) for kind in moments] == [2, 2, 2]
    silent = answers([replace(each, achieved=()) for each in takes], QUESTION, 100, np.random.default_rng(0))
    assert not moments[2] & {each.frames.tobytes() for each in silent if each.answer == "no"}


def test_opinions_are_those_of_each_moment_alone(situations: Any) -> None:
    policy = load(PolicyConfig(vision_precision="float32"), -np.ones(3), np.ones(3))
    rng = np.random.default_rng(0)
    takes = [replace(take(seed, 2), frames=rng.integers(0, 255, (3, 2, 64, 64, 3), dtype=np.uint8)) for seed in (1, 2)]
    told = opine(policy, [takes[0], replace(takes[1], instruction="touch the purple ball, please")], QUESTION)
    assert [len(each) for each in told] == [3, 3]
    alone = policy.probability("is it done: touch the purple ball, please ?", takes[1].frames[2])
    assert told[1][2] == pytest.approx(alone, abs=1e-4)
