"""Credit: which way it points, and what is left of it where few episodes can be compared."""

from dataclasses import replace

import numpy as np
import pytest

from agent.config.keys import CurateConfig
from agent.curate.credit import SUCCESS_BONUS, _design, _leave_one_out, advantages, credit_to_go
from agent.records import Episode, Label
from tests.agent.made import episode

RNG = np.random.default_rng


def second(places: object, gains: object) -> np.ndarray:
    """The advantage of each second decision, which gains so much where the reward was so high."""
    made = [episode(seed, 0, [place, place + gain], False) for seed, (place, gain) in enumerate(zip(places, gains, strict=True))]  # type: ignore[call-overload]
    return np.array([row[1] for row in told(*made, discount=0.0)])


def told(*episodes: Episode, **config: object) -> list[np.ndarray]:
    """The advantages of each episode's decisions."""
    values = iter(advantages([(each, Label.of(each)) for each in episodes], CurateConfig(**config)))  # type: ignore[arg-type]
    return [np.array([next(values).advantage for _ in range(len(each))]) for each in episodes]


def test_progress_counts_what_follows_and_success_counts_extra() -> None:
    config = CurateConfig(discount=0.5)
    take = episode(1, 0, [0.4, 0.6, 1.0], True)
    expected_last = (1.0 - 0.6) + SUCCESS_BONUS
    expected_middle = (0.6 - 0.4) + 0.5 * expected_last
    got = credit_to_go(take, Label.of(take), config)
    np.testing.assert_allclose(got, [0.4 + 0.5 * expected_middle, expected_middle, expected_last], rtol=1e-5)


def test_credit_by_reward_and_by_outcome() -> None:
    take = episode(1, 0, [0.4, 0.6, 1.0], True)
    earned = np.nanmean(take.rewards, axis=1)
    by_reward = credit_to_go(take, Label.of(take), CurateConfig(credit="reward", discount=1.0))
    np.testing.assert_allclose(by_reward, [earned.sum() + 1, earned[1:].sum() + 1, earned[2] + 1], rtol=1e-5)
    by_outcome = credit_to_go(take, Label.of(take), CurateConfig(credit="outcome", discount=1.0))
    np.testing.assert_allclose(by_outcome, [1.0, 1.0, 1.0])


def test_a_slow_episode_earns_no_more_than_a_quick_one() -> None:
    quick, slow = episode(1, 0, [0.5, 1.0], True), episode(1, 1, [0.5, 0.5, 0.5, 1.0], True)
    first = {t.tokens[0]: t.advantage for t in advantages([(e, Label.of(e)) for e in (quick, slow)], CurateConfig())}
    assert first[0] > first[100]


def test_advantages_are_centred_and_of_unit_spread() -> None:
    rng = RNG(1)
    attempts = [episode(s, k, list(rng.random(3)), bool(rng.random() < 0.5)) for s in range(20) for k in range(4)]
    values = np.array([t.advantage for t in advantages([(e, Label.of(e)) for e in attempts], CurateConfig())]).reshape(20, 4, 3)
    np.testing.assert_allclose(values[..., 0].mean(1), 0, atol=1e-9)  # first decisions: within each seed
    np.testing.assert_allclose(values.mean((0, 1)), 0, atol=0.02)  # later ones: each against the others
    assert values.std() == pytest.approx(1, abs=1e-3)


def test_a_task_with_larger_rewards_does_not_drown_another() -> None:
    rng = RNG(1)
    small = [episode(s, k, list(rng.random(3)), bool(rng.random() < 0.5)) for s in range(10) for k in range(4)]
    large = [replace(episode(s, k, list(100 * rng.random(3) - 100), False), task="u") for s in range(10) for k in range(4)]
    alone, among = (
        [t.advantage for t in advantages([(e, Label.of(e)) for e in attempts], CurateConfig())][: 3 * len(small)]
        for attempts in (small, small + large)
    )
    assert alone == among


def test_an_easy_place_earns_no_credit() -> None:
    """What a decision gains only because its place is far from the goal is expected, and so no advantage."""
    far = [episode(s, k, [0.1, 0.9], False) for s in range(5) for k in range(2)]
    near = [episode(s, k, [0.8, 0.9], False) for s in range(5, 10) for k in range(2)]
    samples = advantages([(e, Label.of(e)) for e in far + near], CurateConfig(discount=0.0))
    assert max(abs(t.advantage) for t in samples[1::2]) < 0.01


def test_the_first_decision_is_credited_with_all_that_it_brought() -> None:
    """One decision each, of four environment steps: what the reward was after the first of them is no place to measure from."""
    far = replace(episode(1, 0, [0.9], False), rewards=np.array([[0.9, 0.9, 0.9, 0.9]], np.float32))
    near = replace(episode(1, 1, [0.4], False), rewards=np.array([[0.1, 0.2, 0.3, 0.4]], np.float32))
    good, bad = told(far, near)
    assert good == pytest.approx(1, abs=1e-4) and bad == pytest.approx(-1, abs=1e-4)


def test_first_decisions_held_for_one_step_are_told_apart() -> None:
    one_step = [replace(episode(1, take, [end], False), rewards=np.array([[end]], np.float32)) for take, end in enumerate((0.9, 0.1))]
    good, bad = told(*one_step)
    assert good > 0.9 and bad < -0.9


def test_where_a_seed_begins_changes_no_advantage() -> None:
    rng = RNG(3)
    attempts = [episode(s, k, list(rng.random(3) / 2), False) for s in range(4) for k in range(3)]
    lifted = [replace(each, rewards=each.rewards + np.float32(0.25)) for each in attempts]
    np.testing.assert_allclose(np.concatenate(told(*attempts)), np.concatenate(told(*lifted)), atol=1e-5)


@pytest.mark.parametrize("count", [3, 4, 6, 10, 30, 100])
def test_few_episodes_left_at_a_decision_do_not_explain_themselves_away(count: int) -> None:
    """Gains that have nothing to do with the place: a curve through three of them would leave nothing, one through six 9 % of their variance."""
    rng, kept, signs = RNG(count), [], []
    for _ in range(200):
        gains, design = rng.normal(0, 1, count), _design(rng.random(count))
        surprise = _leave_one_out(gains, design)
        kept.append(surprise.var() / gains.var())
        signs.append(np.corrcoef(surprise, gains)[0, 1])
    assert np.median(kept) > 0.9 and np.mean(signs) > 0.85


def test_what_the_place_explains_is_no_surprise() -> None:
    places = RNG(0).random(100)
    assert np.abs(_leave_one_out(3 - 2 * places + places**2, _design(places))).max() < 1e-9


def test_one_episode_far_from_all_others_does_not_take_all_the_credit() -> None:
    rng = RNG(0)
    places, gains = np.append(0.1 + 0.01 * rng.standard_normal(63), 0.9), rng.normal(0, 0.1, 64)
    surprise = _leave_one_out(gains, _design(places))
    assert abs(surprise[-1]) < 0.1 and np.corrcoef(surprise[:-1], gains[:-1])[0, 1] > 0.98


def test_three_gains_keep_their_order() -> None:
    large, negative, small = second((0.2, 0.5, 0.4), (0.8, -0.1, 0.2))
    assert large > 0 > small > negative


def test_an_episode_that_is_alone_has_no_advantage() -> None:
    assert np.abs(told(episode(1, 0, [0.2, 0.9], False))[0]).max() == 0
    long, short = told(episode(1, 0, [0.2, 0.9], False), episode(1, 1, [0.1], False))
    assert long[1] == 0 and long[0] > 0 > short[0]
