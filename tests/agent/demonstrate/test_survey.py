"""What all actions of a dataset tell: two values or glitches, what the codec loses of the rest, and rest itself."""

import numpy as np
import pytest

from agent.demonstrate.survey import Survey, codec_loss, outlier_sentences
from policies.codec import Codec

CONTINUOUS = np.zeros(2, int)


def moves(rows: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.4, 0.4, (rows, 2))


def glitched(rows: int, values: tuple[float, ...]) -> np.ndarray:
    actions = moves(rows)
    actions[np.arange(len(values)) * 7 + 3, 0] = values
    return actions


# --- glitches ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "values"), [(1000, (100.0,)), (1000, (1000.0,)), (1000, (-1000.0,)), (1000, (1000.0, -900.0, 800.0)), (60, (1000.0,)), (12, (1e30,))]
)
def test_a_few_glitches_are_no_gripper(rows: int, values: tuple[float, ...]) -> None:
    survey = Survey.of([glitched(rows, values)])
    assert not survey.two_valued.any() and survey.outliers.tolist() == [True, False]
    low, high = np.array(survey.bounds).T
    assert -0.4 <= low[0] < -0.2 and 0.2 < high[0] <= 0.4
    codec = Codec(np.arange(33)[:, None], low, high, 1)
    assert len({int(codec.encode(np.array([[x, 0.0]]))[0]) for x in np.linspace(low[0], high[0], 50)}) == 33
    (said,) = outlier_sentences(survey)
    assert f"far from all others in action number 0: {max(values, key=abs):g}, beside" in said
    assert outlier_sentences(Survey.of([moves()])) == []


@pytest.mark.parametrize("closed", [500, 100, 5, 1])
@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_a_gripper_is_one_however_seldom_it_closes(closed: int, noise: float) -> None:
    """Values that differ by noise alone are one, be they two, or many where the gripper closes in more than one row of a hundred."""
    gripper = np.where(np.arange(1000) < closed, 0.0, 1.0) - noise * (np.arange(1000) % 2)
    survey = Survey.of([np.stack([moves()[:, 0], gripper], 1)])
    assert survey.two_valued.tolist() == [False, True] and not survey.outliers.any()
    assert survey.bounds[1] == (-noise if closed > 1 else 0.0, 1.0)
    if closed >= 100:
        wide = np.where(np.arange(1000) < closed, 0.0, 1.0) + np.linspace(0, 0.005, 1000)
        assert Survey.of([wide[:, None]]).two_valued.all()


@pytest.mark.parametrize("glitch", [0.3, 20.0, 1000.0])
def test_a_glitch_hides_no_loss(glitch: float) -> None:
    """Bins that are 62 wide beside actions of +-0.4 lose all of them; bins of +-0.4 lose next to nothing, though they clip the glitch."""
    actions = glitched(1000, (glitch,))[:, None].astype(np.float32)
    coarse = Codec(np.arange(33)[:, None], np.array([-1000.0, -0.4]), np.array([1000.0, 0.4]), 1)
    fine = Codec(np.arange(33)[:, None], np.array([-0.4, -0.4]), np.array([0.4, 0.4]), 1)
    lost = codec_loss([actions], coarse)
    assert lost[0] > 0.9 and lost[1] < 0.05
    assert (codec_loss([actions], fine) < 0.05).all()


# --- rest ----------------------------------------------------------------------------------------------------------------


def test_beside_a_glitch_the_others_are_no_rest() -> None:
    actions = glitched(1000, (1000.0,))
    actions[200:210] = 0
    state = np.cumsum(np.concatenate([np.zeros((1, 2)), actions.clip(-1, 1)]), 0)
    idle = Survey.of([actions]).idle(actions[:, None], CONTINUOUS, state)
    assert idle[200:210].all() and idle.sum() <= 12


def test_a_target_of_zero_is_no_rest_while_the_state_moves_there() -> None:
    targets = np.array([[1.0, 0.7]] * 10 + [[0.0, 0.0]] * 20)
    survey = Survey.of([targets, moves()])
    state = np.concatenate([np.zeros(10), np.linspace(1, 0.1, 11), np.full(10, 0.1)])[:, None]
    idle = survey.idle(targets[:, None], CONTINUOUS, state)
    assert not idle[10:20].any() and idle[20:].all()
    noise = 1e-5 * np.random.default_rng(0).normal(size=(31, 1))
    noisy = survey.idle(targets[:, None], CONTINUOUS, np.concatenate([state + noise, noise], 1))
    assert not noisy[10:20].any() and noisy[20:].all(), "a number of the state that is noise alone does not move"
    assert not survey.idle(targets[:, None], CONTINUOUS, None).any(), "without a state, zeros may be targets"
    assert not survey.idle(targets[:, None], CONTINUOUS, np.ones((31, 1))).any(), "and with one that never changes"
    assert not survey.idle(targets[:, None], np.array([4, 4]), state).any(), "of labels none means rest"
