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
