"""The state: one key of the observation, or several joined in order."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.config.read import parse, write
from envs import EnvConfig
from envs.adapt import Adapter
from envs.state import has_state, read_state, state_box, state_size

OBSERVATION = {"arm": {"joints": np.arange(3.0), "speed": np.arange(3.0, 5.0)}, "grip": 7.0, "state": np.ones(2)}


class Arm(gymnasium.Env):
    """Has its proprioception under several keys, as LIBERO and robosuite."""

    box = gymnasium.spaces.Box
    observation_space = gymnasium.spaces.Dict(
        {
            "arm": gymnasium.spaces.Dict({"joints": box(-9, 9, (3,)), "speed": box(-9, 9, (2,))}),
            "grip": box(-9, 9, (1,)),
            "eye": box(0, 255, (16, 16)),
        }
    )
    action_space = box(-1, 1, (2,))

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        return {**OBSERVATION, "eye": np.zeros((16, 16))}, {}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("", [1, 1]),
        ("grip", [7]),
        (("grip", "arm.joints"), [7, 0, 1, 2]),
        (("arm.speed", "grip", "arm.joints"), [3, 4, 7, 0, 1, 2]),
        ((), [1, 1]),
    ],
)
def test_several_keys_are_joined_in_their_order(state: Any, expected: list[float]):
    read = read_state(OBSERVATION, state)
    assert read is not None and read.tolist() == expected and read.dtype == np.float32


def test_its_size_is_known_before_an_episode_begins():
    space = Arm.observation_space
    assert state_size(space, ("grip", "arm.joints")) == 4 and state_size(space, "arm.speed") == 2 and state_size(space, "") == 0
    assert state_size(space, ("grip", "nothing")) == 0


def test_its_ends_are_known_as_far_as_the_space_tells() -> None:
    a, b = gymnasium.spaces.Box(-1, 2, (1,)), gymnasium.spaces.Box(np.array([0.0, -np.inf]), np.array([5.0, np.inf]))
    space = gymnasium.spaces.Dict({"a": a, "in": gymnasium.spaces.Dict({"b": b}), "c": gymnasium.spaces.Discrete(3)})
    assert [each.tolist() for each in state_box(space, ("in.b", "a"))] == [[0, -np.inf, -1], [5, np.inf, 2]]
    assert [each.tolist() for each in state_box(space, "c")] == [[-np.inf], [np.inf]]
    assert [each.tolist() for each in state_box(a, "all")] == [[-1], [2]]
    assert [each.tolist() for each in state_box(space, "")] == [each.tolist() for each in state_box(a, "")] == [[], []]


def test_a_list_of_keys_in_a_config():
    config = parse({"env": {"state": ["grip", "arm.joints"]}}, "test")
    assert config.envs[0].state == ("grip", "arm.joints") and "grip" in write(config)
    adapter = Adapter(EnvConfig(id=f"{__name__}:Arm", cameras=("eye",), size=16, state=("grip", "arm.speed")))
    state = adapter.reset(0).state
    assert state is not None and state.tolist() == [7, 3, 4] and adapter.state_size == 3
    with pytest.raises(ValueError, match=r"env\.state is 'grip', 'wrist', and the observation holds 'arm', 'grip', 'state', 'eye'"):
        Adapter(EnvConfig(id=f"{__name__}:Arm", cameras=("eye",), size=16, state=("grip", "wrist"))).reset(0)


def test_a_key_that_holds_no_numbers_is_named_where_it_is_asked_for_and_else_left() -> None:
    for strange in ({"tip": np.zeros(2)}, "moving", [[1, 2], [3]]):
        assert not has_state({"state": strange}, "") and not has_state({}, "") and has_state({"state": [1]}, "")
        with pytest.raises(ValueError, match=r"env\.state reads 'state', which is a .* and no numbers"):
            read_state({"state": strange}, "state")


def test_keys_may_hold_dots() -> None:
    space = gymnasium.spaces.Dict({"observation.state": gymnasium.spaces.Box(-1, 1, (3,))})
    assert state_size(space, "observation.state") == 3 and read_state({"observation.state": np.arange(3)}, "observation.state") is not None


class Pair(gymnasium.Env):
    """Its observation is a picture, the arm, and a dict."""

    parts = gymnasium.spaces.Box(0, 255, (16, 16), np.uint8), gymnasium.spaces.Box(-9, 9, (2,)), gymnasium.spaces.Dict({"grip": Arm.box(-9, 9, (1,))})
    observation_space, action_space = gymnasium.spaces.Tuple(parts), Arm.box(-1, 1, (2,))

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        return (np.zeros((16, 16), np.uint8), np.arange(2.0), {"grip": np.array([7.0])}), {}


def pair(state: Any) -> Adapter:
    return Adapter(EnvConfig(id=f"{__name__}:Pair", cameras=("observation.0",), size=16, state=state, instruction="go"))


@pytest.mark.parametrize(
    ("state", "expected"), [("1", [0, 1]), ("observation.1", [0, 1]), ("2.grip", [7]), (("observation.2.grip", "1"), [7, 0, 1]), ("", None)]
)
def test_parts_of_a_tuple_are_named_by_number_as_cameras_are(state: Any, expected: Any) -> None:
    adapter = pair(state)
    read = adapter.reset(0).state
    assert (read if read is None else read.tolist()) == expected and adapter.state_size == len(expected or ())


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("3", r"env\.state is '3', and the observation holds '0', '1', '2'"),
        ("2", r"env\.state reads '2', which is a dict and no numbers; name a key of numbers within it"),
        ("arm", r"env\.state reads 'arm', which is a tuple and no numbers; name a part .* by its place, such as 'observation\.1'"),
    ],
)
def test_a_part_of_a_tuple_that_holds_no_numbers_is_said(state: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        pair(state).reset(0)


def test_a_tuple_of_equal_parts_is_a_state_as_a_whole() -> None:
    read = read_state((np.zeros(2), np.ones(2)), "observation")
    assert read is not None and read.tolist() == [0, 0, 1, 1]
