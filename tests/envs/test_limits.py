"""Whether episodes end: limits that are declared, and environments that declare none."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.config.config import Config
from agent.ready import episodes_end
from agent.records import Job
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run.folder import Run
from envs import EnvConfig
from envs.limits import LONGEST, time_limit
from policies.scripted import Random


class Line(gymnasium.Env):
    """A place on a line, seen as a shade: `falls` ends an episode off the middle, where a policy may learn to stay; `stops` after so many steps."""

    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})

    def __init__(self, falls: bool = False, raises: bool = False, stops: int = 0, **words: Any) -> None:
        self.falls, self.raises, self.stops, self.steps = falls, raises, stops, 0
        vars(self).update(words)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.place = 0.0
        return self.see(), {}

    def step(self, action: np.ndarray):
        self.place, self.steps = self.place + float(action[0]), self.steps + 1
        if self.raises:
            raise RuntimeError("it broke")
        return self.see(), 0.0, self.falls and abs(self.place) > 4, 0 < self.stops <= self.steps, {"success": False}

    def see(self) -> dict[str, np.ndarray]:
        return {"eye": np.full((16, 16, 3), np.clip(128 + self.place, 0, 255), np.uint8)}


def config(**changes: Any) -> EnvConfig:
    return EnvConfig(**{"id": f"{__name__}:Line", "cameras": ("eye",), "size": 16, "action_repeat": 100, **changes})


@pytest.mark.parametrize(
    ("env", "limit"),
    [
        (Line(), None),
        (gymnasium.wrappers.TimeLimit(Line(), 7), 7),
        (gymnasium.wrappers.OrderEnforcing(gymnasium.wrappers.TimeLimit(Line(), 7)), 7),
        (gymnasium.make("Reacher-v5"), 50),
        (gymnasium.make("etude/Reach-v0"), 24),
        (Line(max_path_length=500), 500),
        (Line(max_steps=100), 100),
        (Line(horizon=200, ignore_done=False), 200),
        (Line(horizon=200, ignore_done=True), None),
        (Line(_env=SimpleNamespace(_step_limit=1000.0)), 1000),
        (Line(_env=SimpleNamespace(_step_limit=float("inf"))), None),
        (Line(max_steps=None, max_path_length="long"), None),
    ],
)
def test_limits_that_are_declared_are_known(env: gymnasium.Env, limit: int | None) -> None:
    assert time_limit(env) == limit


@pytest.mark.parametrize(
    "changes",
    [
        {"max_episode_steps": 30},
        {"kwargs": {"stops": 20}},
        {"kwargs": {"raises": True}},
        {"kwargs": {"stops": 300, "max_steps": 300}},
        {"kwargs": {"stops": 250, "max_steps": 250}},
        {"kwargs": {"stops": 300, "max_steps": 100}},
        {"id": "Reacher-v5", "cameras": ()},
    ],
)
def test_an_environment_that_ends_by_itself_needs_no_limit(changes: dict[str, Any], tmp_path: Path) -> None:
    session = Session(Run(tmp_path, Config(env=config(**changes))))
    first: Any = session.environments.first
    before = first.env.unwrapped
    episodes_end(session)
    assert "max_episode_steps" not in changes or before.steps == 0, "a limit of TimeLimit is not tried"


@pytest.mark.parametrize(("falls", "says"), [(False, "random actions"), (True, "the middle of the action box at every step")])
def test_an_environment_without_end_is_refused(falls: bool, says: str, tmp_path: Path) -> None:
    """Also one whose end depends on the policy: one that stands still, before or after training, would wait for ever."""
    with pytest.raises(ValueError, match=rf"Line has no time limit, and {says} ended no episode within 10000 steps; set env\.max_episode_steps\."):
        episodes_end(Session(Run(tmp_path, Config(env=config(kwargs={"falls": falls})))))


@pytest.mark.parametrize("limit", [100, 150, LONGEST])
def test_an_environment_that_does_not_keep_its_limit_is_refused(limit: int, tmp_path: Path) -> None:
    says = rf"Line states a time limit of {limit} steps and does not keep it, and random actions ended no episode within 10000 steps; set env\."
    with pytest.raises(ValueError, match=says):
        episodes_end(Session(Run(tmp_path, Config(env=config(kwargs={"max_steps": limit})))))


def test_an_episode_that_outlasts_all_is_spoilt_where_no_limit_is_declared() -> None:
    environments = Environments(config(), 1)
    (episode,) = rollout(Random(-np.ones(1), np.ones(1), 1), environments, [Job(0, 0, (0,))])
    assert (
        len(episode) == LONGEST // 100
        and "decision 100: " in episode.faults[0]
        and "did not end this episode within 10000 steps; set env.max_episode_steps" in episode.faults[0]
    )
    (episode,) = rollout(Random(-np.ones(1), np.ones(1), 1), Environments(config(max_episode_steps=LONGEST + 500), 1), [Job(0, 0, (0,))])
    assert episode.truncated and not episode.faults
    (episode,) = rollout(Random(-np.ones(1), np.ones(1), 1), Environments(config(kwargs={"max_steps": 200}), 1), [Job(0, 0, (0,))])
    assert len(episode) == LONGEST // 100 and episode.faults, "a limit that is declared and never kept"


@pytest.mark.parametrize(("limit", "known"), [(10**9, None), (float("inf"), None), (float("nan"), None), (100_000, 100_000), (99.5, 100)])
def test_a_limit_that_no_episode_reaches_is_none(limit: float, known: int | None) -> None:
    line = Line()
    line.max_episode_steps = limit  # type: ignore[attr-defined]
    assert time_limit(line) == known
