"""A replay counts as exact only where something of it could be compared."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agent.demonstrate.readers import Recording, _replay

STEPS = 3
RECORDED = {"place": np.arange(STEPS + 1.0)[:, None], "goal": np.ones((STEPS + 1, 2))}
PLACE, GOAL = np.array([float(STEPS)]), np.ones(2)


def replay(raw: Any, recorded: Any = RECORDED, rewards: Any = 0.0, replayed: Any = 0.0) -> Recording | str:
    """Replay three steps in an environment that ends with the observation `raw`, and gives `replayed` rewards in place of the recorded ones."""
    observation, rewards = SimpleNamespace(frames=np.zeros((1, 8, 8, 3), np.uint8), state=None, instruction="go"), np.full(STEPS, rewards)
    outcome = SimpleNamespace(rewards=[replayed], success=False, terminated=False, achieved=())
    adapter: Any = SimpleNamespace(raw=raw, reset=lambda seed: observation, observe=lambda: observation, step=lambda action, look: outcome)
    return _replay(adapter, SimpleNamespace(id=0, rewards=rewards, observations=recorded), np.zeros((STEPS, 1)), 7, 1)


@pytest.mark.parametrize("raw", [{"place": PLACE, "goal": GOAL}, {"place": PLACE, "more": GOAL}, {"goal": GOAL, "place": np.zeros((4, 4))}])
def test_observations_of_the_same_name_and_shape_are_compared(raw: Any) -> None:
    assert isinstance(replay(raw), Recording)
    assert replay({name: value + 0.1 for name, value in raw.items()}) == "did not replay exactly"
    assert replay(raw, rewards=1.0) == "did not replay exactly"


@pytest.mark.parametrize(
    ("raw", "recorded"),
    [
        ({"other": PLACE}, RECORDED),
        ({"place": np.zeros(5)}, RECORDED),
        (PLACE, RECORDED),
        ({"place": PLACE}, np.zeros((STEPS + 1, 1))),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((STEPS + 1, 8, 8, 3), np.uint8)),
    ],
)
def test_where_nothing_can_be_compared_rewards_have_to_tell(raw: Any, recorded: Any) -> None:
    assert replay(raw, recorded) == "did not replay exactly: there is no reward, and no observation of the same name and shape"
    assert isinstance(replay(raw, recorded, rewards=-0.5, replayed=-0.5), Recording)
