"""Action spaces as rows of numbers: what comes out is always in the space, and what is in the space survives."""

import json
import re
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from envs.spaces import Actions

SPACES: list[Any] = [
    spaces.Box(-2, 3, (3,)),
    spaces.Box(np.array([[-1.0, 0.0], [2.0, -9.0]]), np.array([[1.0, 5.0], [2.0, 9.0]]), dtype=np.float64),
    spaces.Box(0, 255, (2,), np.uint8),
    spaces.Box(-1, 1, (), np.float32),
    spaces.Box(0, 1, (2,), np.bool_),
    spaces.Discrete(5),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([2, 7]),
    spaces.MultiDiscrete([[2, 3], [4, 5]]),
    spaces.MultiBinary(4),
    spaces.MultiBinary([2, 2]),
]


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (0,)), spaces.Box(-1, 1, (2, 0))])
def test_a_space_without_dimension_is_refused(space: Any) -> None:
    with pytest.raises(ValueError, match="has no dimension"):
        Actions(space)


@pytest.mark.parametrize("space", SPACES, ids=str)
@given(seed=st.integers(0, 10**6))
def test_every_row_of_numbers_is_an_action(space: Any, seed: int) -> None:
    actions, rng = Actions(space), np.random.default_rng(seed)
    assert space.contains(actions.to_env(rng.normal(0, 10, len(actions))))
    assert space.contains(actions.to_env(actions.sample(rng)))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_action_survives_the_way_there_and_back(space: Any) -> None:
    actions = Actions(space)
    space.seed(0)
    for _ in range(50):
        drawn = space.sample()
        np.testing.assert_allclose(actions.to_env(actions.from_env(drawn)), drawn, rtol=1e-6)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_actions_written_into_a_file_are_the_same_when_read(space: Any) -> None:
    actions = Actions(space)
    read = Actions.from_description(json.loads(json.dumps(actions.description())))
    for name in ("low", "high", "counts"):
        np.testing.assert_allclose(getattr(read, name), getattr(actions, name), rtol=1e-6)
    drawn = actions.to_env(actions.sample(np.random.default_rng(0)))
    assert type(drawn) is type(read.to_env(actions.from_env(drawn))) and space.contains(read.to_env(actions.from_env(drawn)))


def test_infinite_bounds_are_named_with_the_remedy() -> None:
    endless = spaces.Box(-np.inf, np.inf, (2,))
    with pytest.raises(ValueError, match=r"infinite bounds.*env\.action_bounds"):
        Actions(endless)
    assert Actions(endless, (-1, 1)).low.tolist() == [-1, -1]
    with pytest.raises(ValueError, match=r"infinite bounds.*env\.action_bounds"):
        Actions(spaces.Box(np.array([-1, -np.inf]), np.array([1, 0]), dtype=np.float64))


@pytest.mark.parametrize("bound", [np.finfo(np.float32).max, np.finfo(np.float64).max, 1e10], ids=str)
def test_a_box_that_bounds_nothing_counts_as_infinite(bound: Any) -> None:
    """A bin of it would be wider than every useful action, so that all actions but one would saturate."""
    box = spaces.Box(-bound, bound, (2,), np.float64)
    with pytest.raises(ValueError, match=r"which bound nothing; say which actions to use by env\.action_bounds"):
        Actions(box)
    assert Actions(box, (-bound, bound) if bound < 1e30 else (-1, 1)).high.tolist() == [bound if bound < 1e30 else 1] * 2


def test_bounds_are_of_all_dimensions_or_of_each_and_narrower_or_wider() -> None:
    box = spaces.Box(-1, 1, (2, 2), np.float32)
    assert Actions(box, (-2, 0.5)).low.tolist() == [-2] * 4
    each = Actions(box, ((-0.02, 0.02), (-3, 3), (0, 0), (0, 1)))
    np.testing.assert_array_equal(each.to_env(np.full(4, 9)), np.array([[0.02, 3], [0, 1]], np.float32))
    assert Actions.from_description(json.loads(json.dumps(each.description()))).high.tolist() == each.high.tolist() == [0.02, 3, 0, 1]


@pytest.mark.parametrize(
    ("space", "bounds", "says"),
    [
        (spaces.Box(-1, 1, (4,)), ((-1, 1), (-2, 2)), "2 pairs, and its actions have 4 numbers; give one pair for all of them, or one for each"),
        (spaces.Box(-1, 1, (4,)), (-1, 1e39), "cannot have all of that; give a narrower range"),
        (spaces.Box(0, 255, (1,), np.uint8), (-1, 9), "of type uint8, cannot have all of that; give a narrower range"),
        (spaces.Discrete(3), (0, 1), "Its actions are Discrete, whose values are fixed, and env.action_bounds is for a Box; remove that key"),
        (spaces.MultiBinary(3), (0, 1), "Its actions are MultiBinary"),
    ],
)
def test_bounds_that_do_not_fit_the_space_are_one_sentence(space: Any, bounds: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Actions(space, bounds)


def test_other_spaces_are_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="Dict are not supported; wrap"):
        Actions(spaces.Dict({"arm": spaces.Box(-1, 1)}))


def test_numbers_of_a_box_of_truth_values_are_rounded_at_one_half() -> None:
    """A cast alone would make all but 0 true."""
    actions = Actions(spaces.Box(0, 1, (4,), np.bool_))
    assert actions.to_env([0.03, 0.49, 0.51, 1]).tolist() == [False, False, True, True]
    with pytest.raises(ValueError, match="of type bool, cannot have all of that"):
        Actions(actions.space, (-1, 1))


@pytest.mark.parametrize("space", [spaces.Discrete(5), spaces.Discrete(3, start=-1)], ids=str)
def test_a_label_comes_in_the_type_that_the_space_draws(space: Any) -> None:
    given = Actions(space).to_env(np.ones(1))
    assert type(given) is type(space.sample()) and given.item() == 1


@pytest.mark.parametrize(
    ("space", "label", "allowed"),
    [
        (spaces.Discrete(5), 7, "1 finite numbers, whole and of 0 to 4"),
        (spaces.Discrete(5), 2.7, "1 finite numbers, whole and of 0 to 4"),
        (spaces.Discrete(5, start=1), 0, "1 finite numbers, whole and of 1 to 5"),
        (spaces.MultiDiscrete([3, 3]), [-1, 1], "2 finite numbers, whole and of 0 to 2"),
        (spaces.MultiDiscrete([3, 2]), [2, 2], r"2 finite numbers, whole and of \[0, 0\] to \[2, 1\]"),
        (spaces.MultiBinary(2), [0.5, 1], "2 finite numbers, whole and of 0 to 1"),
    ],
    ids=str,
)
def test_a_label_that_the_space_lacks_is_refused(space: Any, label: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"the expert gave {re.escape(str(label))}, and an action is {allowed}\."):
        Actions(space).from_env(label)


def test_a_label_may_be_a_float_and_a_box_exceeded() -> None:
    assert Actions(spaces.Discrete(5)).from_env(np.float32(3.9999)).tolist() == [np.float32(3.9999)]
    assert (
        Actions(spaces.Box(-1, 1, (2,))).from_env([9, -9]).tolist() == Actions(spaces.Box(0, 9, (2,), np.uint8)).from_env([9, -9]).tolist() == [9, -9]
    )


def test_what_raises_any_error_when_it_is_read_is_no_action() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"the expert gave tensor\(.*grad=True\), and an action is 2 finite numbers\."):
        Actions(spaces.Box(-1, 1, (2,))).from_env(torch.zeros(2, requires_grad=True))
