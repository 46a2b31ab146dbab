"""tolerance(): 1 inside, 0.1 at the margin, and a smooth way down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.tasks.rewards import proximity, tolerance

numbers = st.floats(-1e3, 1e3)
lookahead_gains = st.floats(1e-3, 1e3)
bounds = st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))


@given(numbers, bounds, lookahead_gains)
def test_lies_in_0_to_1_and_is_1_exactly_inside(x: float, bounds: tuple[float, float], margin: float):
    reward = tolerance(x, bounds, margin)
    assert 0 <= reward <= 1
    if bounds[0] <= x <= bounds[1]:
        assert reward == 1
    elif min(abs(x - bounds[0]), abs(x - bounds[1])) > 1e-3 * margin:
        assert reward < 1


@given(bounds, lookahead_gains)
def test_is_a_tenth_at_the_margin_on_both_sides(bounds: tuple[float, float], margin: float):
    assert tolerance(bounds[0] - margin, bounds, margin) == pytest.approx(0.1, rel=1e-3)
    assert tolerance(bounds[1] + margin, bounds, margin) == pytest.approx(0.1, rel=1e-3)


@given(bounds, lookahead_gains, st.floats(0, 1e3), st.floats(0, 1e3))
def test_never_rises_with_distance(bounds: tuple[float, float], margin: float, one: float, other: float):
    near, far = sorted((one, other))
    assert tolerance(bounds[1] + near, bounds, margin) >= tolerance(bounds[1] + far, bounds, margin)
    assert tolerance(bounds[0] - near, bounds, margin) >= tolerance(bounds[0] - far, bounds, margin)


@given(bounds, lookahead_gains)
def test_leaves_the_bound_without_a_step(bounds: tuple[float, float], margin: float):
    assert tolerance(bounds[1] + 1e-3 * margin, bounds, margin) > 0.999


@pytest.mark.parametrize("margin", [0, -1])
def test_refuses_a_margin_that_is_not_positive(margin: float):
    with pytest.raises(AssertionError, match="margin"):
        tolerance(0, (0, 1), margin)


def test_nearness_counts_decimetres_and_centimetres():
    at = [proximity(np.array([0, 0, distance])) for distance in (0.30, 0.15, 0.05, 0.02, 0.003)]
    assert all(np.diff(at) > 0.05) and at[-1] == 1.0 and at[0] > 0
