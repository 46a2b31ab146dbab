"""The control rate of an environment: which of its words is asked first, and what is none."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import pytest

from envs import EnvConfig, rate
from envs.adapt import Adapter


class Clocked(gymnasium.Env):
    """Has what it is given; `metadata` is Shimmy's where nothing else is said."""

    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, metadata: dict[str, Any], **words: Any) -> None:
        self.metadata = metadata  # type: ignore[misc]
        vars(self).update(words)


class Broken(Clocked):
    """Has a property that raises."""

    @property
    def dt(self) -> float:
        raise RuntimeError("not before the reset")


DM_CONTROL = SimpleNamespace(control_timestep=lambda: 0.025)


@pytest.mark.parametrize(
    ("env", "steps"),
    [
        (Clocked({"render_fps": 12}), 12.0),
        (Clocked({"render_fps": 80}, dt=0.0125), 80.0),
        (Clocked({"render_fps": 30}, dt=0.05), 20.0),
        (Clocked({}, dt=0.002, control_freq=20), 20.0),
        (Clocked({"render_fps": 10}, dt=0.01, control_hz=10), 10.0),
        (Clocked({"render_fps": 10}, _env=DM_CONTROL), 40.0),
        (Clocked({"render_fps": 13}, dt=0.08), 12.5),
        (gymnasium.wrappers.TimeLimit(Clocked({}, dt=0.1), 5), 10.0),
        (Broken({"render_fps": 8}), 8.0),
        (Clocked({"render_fps": 25}, dt=0.0), 25.0),
        (Clocked({"render_fps": 25}, control_freq=float("nan"), dt="fast"), 25.0),
        (Clocked({"render_fps": -1}), None),
        (Clocked({"render_fps": None}), None),
        (Clocked({}), None),
    ],
)
def test_the_most_exact_word_is_taken(env: gymnasium.Env, steps: float | None) -> None:
    assert rate.control_rate(env) == steps


@pytest.mark.parametrize(("name", "steps"), [("etude/Reach-v0", 20.0), ("Reacher-v5", 50.0), ("Pendulum-v1", 20.0)])
def test_environments_as_they_are(name: str, steps: float) -> None:
    assert rate.control_rate(gymnasium.make(name)) == steps


def test_where_none_is_said_one_is_assumed_and_the_adapter_has_it() -> None:
    adapter = Adapter(EnvConfig(id=f"{__name__}:silent", cameras=("eye",)))
    assert adapter.rate == rate.ASSUMED == 20


def silent() -> gymnasium.Env:
    env = Clocked({})
    env.observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3))})
    return env
