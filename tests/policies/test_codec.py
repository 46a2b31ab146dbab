"""The codec: every id round-trips, every allowed reply parses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.check import lost_bins
from policies.codec import Codec

BINS = np.arange(10, 43)[:, None]
DIGITS = np.array([[3, 10 + i // 10, 10 + i % 10] for i in range(100)])


def codec(numerals: np.ndarray) -> Codec:
    return Codec(numerals, np.array([-1.0, 0.0]), np.array([1.0, 5.0]), chunk=3)


@pytest.mark.parametrize("numerals", [BINS, DIGITS])
def test_every_id_decodes_and_encodes_to_itself(numerals: np.ndarray) -> None:
    each = codec(numerals)
    for i in range(each.num_bins):
        tokens = np.tile(numerals[i], 6)
        np.testing.assert_array_equal(each.encode(each.decode(tokens)), tokens)


@pytest.mark.parametrize("numerals", [BINS, DIGITS])
@given(seed=st.integers(0, 10**6))
def test_any_allowed_reply_parses(numerals: np.ndarray, seed: int) -> None:
    each, rng = codec(numerals), np.random.default_rng(seed)
    written = np.zeros((2, 0), np.int64)
    for _ in range(each.length):
        allowed = each.allowed(written)
        assert allowed.any(1).all()
        drawn = [each.vocabulary_U[rng.choice(np.flatnonzero(row))] for row in allowed]
        written = np.concatenate([written, np.array(drawn)[:, None]], axis=1)
    for row in written:
        actions = each.decode(row)
        assert (actions >= each.low - 1e-6).all() and (actions <= each.high + 1e-6).all()


def test_masks_repeat_what_was_allowed() -> None:
    each = codec(DIGITS)
    tokens = np.stack([each.encode(np.zeros((3, 2))), each.encode(np.ones((3, 2)))])
    masks = each.masks(tokens)
    assert masks is not None
    for j in range(each.length):
        np.testing.assert_array_equal(masks[:, j], each.allowed(tokens[:, :j]))
        assert masks[np.arange(2), j, each.columns(tokens[:, j])].all()


@given(st.lists(st.floats(-9, 9), min_size=6, max_size=6))
def test_encoding_takes_the_nearest_bin_and_clips(values: list[float]) -> None:
    each = codec(BINS)
    actions = np.array(values).reshape(3, 2)
    back = each.decode(each.encode(actions))
    half = (each.high - each.low) / (each.num_bins - 1) / 2
    assert (np.abs(back - np.clip(actions, each.low, each.high)) <= half + 1e-6).all()


def test_a_scale_widens_the_bins_and_what_lies_beyond_the_box_is_its_border() -> None:
    numerals = np.arange(10, 75)[:, None]
    wide = Codec(numerals, np.array([-1.0, 0.0]), np.array([1.0, 2.0]), 1, np.array([0, 3]), scale=2.5)
    assert wide.decode(np.array([10, 10])).tolist() == [[-1, 0]] and wide.decode(np.array([74, 12])).tolist() == [[1, 2]]  # a discrete number stays
    np.testing.assert_allclose(wide.decode(np.array([42 + 4, 11])), [[4 * 2.5 / 32, 1]])
    inside = [i for i in range(65) if abs(i - 32) * 2.5 / 32 <= 1]
    assert all(wide.encode(wide.decode(np.array([10 + i, 11]))).tolist() == [10 + i, 11] for i in inside) and len(inside) == 25
    assert wide.encode(np.array([[9.0, 1]])).tolist() == wide.encode(np.array([[1.0, 1]])).tolist()


@given(st.floats(1.0, 20.0), st.floats(-1.2, 1.2))
def test_with_any_scale_no_bin_decodes_nearer_and_every_reply_comes_back(scale: float, value: float) -> None:
    """With a scale of 5 and 65 bins the last bin inside the box is 0.94: an action of 1.0 is the border, which the bins outside decode to."""
    wide = Codec(np.arange(65)[:, None], np.array([-1.0]), np.array([1.0]), chunk=1, scale=scale)
    decoded_N = np.array([wide.decode(np.array([i])).item() for i in range(65)])
    assert abs(wide.decode(wide.encode(np.array([[value]]))).item() - np.clip(value, -1, 1)) <= np.abs(decoded_N - np.clip(value, -1, 1)).min() + 1e-6
    assert lost_bins(wide) == 0


def test_a_foreign_reply_is_refused() -> None:
    with pytest.raises(ValueError, match="not an action reply"):
        codec(BINS).decode(np.zeros(6, np.int64))


@pytest.mark.parametrize("numerals", [BINS, DIGITS])
@given(seed=st.integers(0, 10**6))
def test_discrete_dimensions_take_only_values_that_exist(numerals: np.ndarray, seed: int) -> None:
    each = Codec(numerals, np.array([-1.0, 2.0, 0.0]), np.array([1.0, 5.0, 0.0]), chunk=2, counts=np.array([0, 4, 1]))
    rng, written = np.random.default_rng(seed), np.zeros((1, 0), np.int64)
    for _ in range(each.length):
        written = np.append(written, [[each.vocabulary_U[rng.choice(np.flatnonzero(each.allowed(written)[0]))]]], axis=1)
    actions = each.decode(written[0])
    assert set(actions[:, 1].tolist()) <= {2.0, 3.0, 4.0, 5.0} and (actions[:, 2] == 0).all()
    np.testing.assert_array_equal(each.encode(actions), written[0])
    masks = each.masks(written)
    assert masks is not None and masks[0, np.arange(each.length), each.columns(written[0])].all()


def test_impossible_discrete_values_are_refused() -> None:
    each = Codec(BINS, np.zeros(1), np.array([3.0]), chunk=1, counts=np.array([4]))
    assert [each.decode(np.array([10 + i]))[0, 0] for i in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="does not have"):
        each.decode(np.array([14]))
    with pytest.raises(
        ValueError, match=r"200 values, and policy\.codec writes 33 numbers; raise policy\.num_bins, if the model has more number tokens, or wrap the"
    ):
        Codec(BINS, np.zeros(1), np.array([199.0]), chunk=1, counts=np.array([200]))


@pytest.mark.parametrize(("numerals", "thoughts"), [(BINS, np.arange(5, 70)[:, None]), (DIGITS, None)])
@given(seed=st.integers(0, 10**6))
def test_a_thought_stands_before_the_actions_and_does_not_change_them(numerals: np.ndarray, thoughts: np.ndarray | None, seed: int) -> None:
    plain, rng = codec(numerals), np.random.default_rng(seed)
    each = Codec(numerals, plain.low, plain.high, 3, thought=4, thoughts_MK=thoughts)
    written = np.zeros((1, 0), np.int64)
    for _ in range(each.length):
        written = np.append(written, [[each.vocabulary_U[rng.choice(np.flatnonzero(each.allowed(written)[0]))]]], axis=1)
    thought, action = written[0, : each.thought_length], written[0, each.thought_length :]
    assert {tuple(row) for row in thought.reshape(4, -1).tolist()} <= {tuple(row) for row in (numerals if thoughts is None else thoughts).tolist()}
    np.testing.assert_array_equal(each.decode(written[0]), plain.decode(action))
    np.testing.assert_array_equal(each.encode(plain.decode(action)), action)
    masks = each.masks(written)
    assert masks is None or masks[0, np.arange(each.length), each.columns(written[0])].all()
    assert (masks is None) == (thoughts is None and numerals is BINS)


def test_a_token_is_forced_where_it_follows_from_those_before() -> None:
    spaced = np.array([[1, 10 + i // 10, 10 + i % 10] for i in range(100)])  # ' 00' .. ' 99'
    codec = Codec(spaced, -np.ones(2), np.ones(2), 1, np.array([0, 3]))
    assert [codec.forced(place) for place in range(6)] == [True, False, False, True, True, False], "three values are 00, 01 and 02"
    assert not any(Codec(BINS, -np.ones(2), np.ones(2), 1).forced(place) for place in range(2))
