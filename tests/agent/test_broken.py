"""Two hundred broken environments: none ends a run, and each is named."""

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.records import Job
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from envs import EnvConfig
from policies.scripted import Random

BROKEN = f"{Path(__file__).parent / 'broken.py'}:Broken"


class Wordless(Exception):
    """Its words raise another error."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


ERRORS = (RuntimeError, KeyError, ValueError, OSError, MemoryError, ZeroDivisionError, AssertionError, RecursionError, SystemExit, StopIteration)
ERRORS += (Wordless,)
REWARDS = (float("nan"), float("inf"), 1e300, -1e39, 3e38, None, "good", 1j, np.zeros(2), [], {})
FRAMES = (None, np.zeros((3, 3, 3), np.uint8), np.full((16, 16, 3), np.nan), np.zeros((16, 16)), np.full((16, 16, 3), 1e9), "picture", np.zeros(0))
INFOS = (None, {}, {"success": "maybe"}, {"success": float("nan")}, {"success": np.zeros(3)}, {"success": None}, 7)
STATES = (np.zeros(5), "five", np.zeros((2, 2, 2)), None, np.array([0, np.nan]), np.array([1e300, 0]))
RETURNS = (None, (), (1, 2, 3), 7)


AILMENTS = st.one_of(
    st.tuples(st.sampled_from(("reset", "step", "close")), st.sampled_from(ERRORS)),
    st.tuples(st.just("reward"), st.sampled_from(REWARDS)),
    st.tuples(st.just("frame"), st.sampled_from(FRAMES)),
    st.tuples(st.just("info"), st.sampled_from(INFOS)),
    st.tuples(st.just("state"), st.sampled_from(STATES)),
    st.tuples(st.just("returns"), st.sampled_from(RETURNS)),
    st.tuples(st.just("keys"), st.none()),
    st.tuples(st.just("hang"), st.none()),
    st.tuples(st.just("death"), st.sampled_from((signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL))),
)


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("reward", 1e300, "Broken returned the reward 1e\\+300; a reward must be one finite number, of at most 1e\\+18 in size"),
        ("reward", None, "returned the reward None"),
        ("state", np.array([0, np.nan]), "its state holds NaN"),
        ("step", Wordless, "Wordless: its message raises RuntimeError"),
        ("info", {"success": float("nan")}, "success must be true or false, 0 or 1"),
    ],
)
def test_what_went_wrong_is_said_and_costs_the_episode(kind: str, value: Any, says: str) -> None:
    config = EnvConfig(id=BROKEN, kwargs={"kind": kind, "value": value, "at": 2}, cameras=("eye",), size=16, action_repeat=1)
    environments = Environments(config, 2)
    one, two = rollout(Random(-np.ones(2), np.ones(2), 1), environments, [Job(1, 0, (1,)), Job(0, 0, (0,))])
    assert re.fullmatch(f"decision 1: .*{says}.*", one.faults[0]) and not two.faults


class Own(BaseException):
    """An environment's own, which is no Exception."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, Own])
@pytest.mark.parametrize("kind", ["step", "reset"])
def test_what_is_no_exception_costs_the_episode_too(kind: str, error: type[BaseException]) -> None:
    """Ctrl-C raises a KeyboardInterrupt by no statement."""
    config = EnvConfig(id=BROKEN, kwargs={"kind": kind, "value": error, "at": 2 if kind == "step" else 0}, cameras=("eye",), size=16, action_repeat=1)
    environments = Environments(config, 2)
    one, two = rollout(Random(-np.ones(2), np.ones(2), 1), environments, [Job(1, 0, (1,)), Job(0, 0, (0,))])
    assert re.fullmatch(f"(decision 1|reset): RuntimeError: {error.__name__}.*", one.faults[0]) and not two.faults


@pytest.mark.parametrize("error", [KeyboardInterrupt, Wordless])
def test_in_a_process_of_its_own_an_environment_raises_what_it_likes(error: type[BaseException]) -> None:
    """There a KeyboardInterrupt is not the user's."""
    config = EnvConfig(id=BROKEN, kwargs={"kind": "step", "value": error, "at": 2}, cameras=("eye",), size=16, action_repeat=1, timeout=60)
    environments = Environments(config, 2)
    one, two = rollout(Random(-np.ones(2), np.ones(2), 1), environments, [Job(1, 0, (1,)), Job(0, 0, (0,))])
    environments.close()
    assert re.fullmatch(f"decision 1: RuntimeError: {error.__name__}: .*", one.faults[0]) and not two.faults


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(ailment=AILMENTS, at=st.integers(0, 5), seed=st.integers(1, 9))
def test_no_broken_environment_ends_a_run_and_each_is_named(ailment: tuple[str, Any], at: int, seed: int) -> None:
    kind, value = ailment
    timeout = 2.0 if kind in ("hang", "death") else 0.0  # these two need a process to end
    kwargs = {"kind": kind, "value": value, "at": at}
    environments = Environments(EnvConfig(id=BROKEN, kwargs=kwargs, cameras=("eye",), size=16, action_repeat=1, timeout=timeout), 2)
    policy = Random(environments.first.actions.low, environments.first.actions.high, 1)
    episodes = list(rollout(policy, environments, [Job(0, 0, (0,)), Job(seed, 0, (1,)), Job(0, 1, (2,))]))
    if timeout:
        environments.close()
    assert [(episode.seed, episode.attempt) for episode in episodes] == [(0, 0), (seed, 0), (0, 1)]
    assert not episodes[0].faults and not episodes[2].faults, "its neighbours are as sound as ever"
    harmless = kind == "close" or (kind == "reset" and at > 0) or (kind == "frame" and isinstance(value, np.ndarray) and value.shape == (16, 16))
    not_yet = kind == "info" and isinstance(value, dict) and value.get("success", 0) is None
    if not harmless and not not_yet:
        (fault,) = episodes[1].faults
        assert ("reset" in fault or "decision" in fault) and len(fault) > 15
        assert {"hang": "no answer", "death": "its process died"}.get(kind, "") in fault
