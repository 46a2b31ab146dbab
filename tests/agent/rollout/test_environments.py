"""Environments of which a process can have one only: a run has one, or a sentence says what to set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config.config import Config
from agent.config.keys import CollectConfig, EvaluateConfig, LabelConfig, TrackConfig
from agent.ready import ready
from agent.rollout.environments import Environments
from agent.rollout.session import Session
from agent.run.folder import Run
from envs import EnvConfig
from tests.envs.test_instances import Mark

ALONE = r"cannot be made beside another instance in one process \(RuntimeError: one simulator a process\); set collect\.num_envs to 1 and env"
DETECTOR = {"label": LabelConfig(by="detector")}
VARIATION = {"evaluate": EvaluateConfig(variations={"dark": {"shares": "the process"}})}


def once(timeout: float = 0, shares: str = "the process") -> EnvConfig:
    return EnvConfig(id=f"{Mark.__module__}:Mark", kwargs={"shares": shares}, cameras=("observation",), size=16, action_repeat=1, timeout=timeout)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """Opens sessions, and closes them."""
    sessions: list[Session] = []

    def opens(env: EnvConfig, **sections: Any) -> Session:
        config = Config(env=env, track=TrackConfig(mode="off"), collect=CollectConfig(num_envs=1), **sections)
        sessions.append(Session(Run(tmp_path / f"run-{len(sessions)}", config)))
        return sessions[-1]

    yield opens
    for session in sessions:
        session.close()
    assert Mark.alive == 0, "all are closed"


@pytest.mark.parametrize(("sections", "head"), [(DETECTOR, "^"), (VARIATION, "^evaluate.variations 'dark': ")])
def test_a_second_environment_that_cannot_be_made_is_told_at_the_start_with_what_to_set(sections: dict, head: str, opened: Any) -> None:
    with pytest.raises(ValueError, match=f"{head}.*Mark {ALONE}"):
        ready(opened(once(), **sections))


def test_with_a_time_limit_each_has_a_process_of_its_own(opened: Any) -> None:
    session = opened(once(timeout=60), **DETECTOR, **VARIATION)
    for environments in (session.environments, session.practice_environments, session.variation_environments("dark")):
        assert environments.first.reset(0).instruction == "go right"


def test_a_mistake_in_a_variation_is_told_as_one(opened: Any) -> None:
    session = opened(once(shares=""), evaluate=EvaluateConfig(variations={"odd": {"colour": 3}}))
    with pytest.raises(ValueError, match=r"cannot be made \(TypeError: .* unexpected keyword argument 'colour'\); give a Gymnasium id"):
        _ = session.environments, session.variation_environments("odd")


def test_after_a_fault_the_new_one_is_made_when_the_old_one_is_closed() -> None:
    environments = Environments(once(), 1)
    former = environments.first
    environments.renew(0)
    assert environments.first is not former and environments.acquire() is environments.first and Mark.alive == 1
    environments.close()
    assert Mark.alive == 0


def test_more_environments_than_a_process_can_have_are_told() -> None:
    environments = Environments(once(), 2)
    environments.acquire()
    with pytest.raises(ValueError, match=ALONE):
        environments.acquire()
    environments.close()
