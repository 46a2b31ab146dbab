"""Two hundred broken environments: none ends a run, and each is named."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.collect import Job, collect
from agent.workers import Workers
from envs import EnvConfig
from policies.scripted import Random

BROKEN = f"{Path(__file__).parent / 'broken.py'}:Broken"
ERRORS = (RuntimeError, KeyError, ValueError, OSError, MemoryError, ZeroDivisionError, AssertionError, RecursionError, SystemExit, StopIteration)
REWARDS = (float("nan"), float("inf"), None, "good", 1j, np.zeros(2), [], {})
FRAMES = (None, np.zeros((3, 3, 3), np.uint8), np.full((16, 16, 3), np.nan), np.zeros((16, 16)), np.full((16, 16, 3), 1e9), "picture", np.zeros(0))
INFOS = (None, {}, {"success": "maybe"}, {"success": float("nan")}, {"success": np.zeros(3)}, {"success": None}, 7)
STATES = (np.zeros(5), "five", np.zeros((2, 2, 2)), None)
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


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(ailment=AILMENTS, at=st.integers(0, 5), seed=st.integers(1, 9))
def test_no_broken_environment_ends_a_run_and_each_is_named(ailment: tuple[str, Any], at: int, seed: int) -> None:
    kind, value = ailment
    timeout = 2.0 if kind in ("hang", "death") else 0.0  # these two need a process to end
    kwargs = {"kind": kind, "value": value, "at": at}
    workers = Workers(EnvConfig(id=BROKEN, kwargs=kwargs, cameras=("eye",), size=16, action_repeat=1, timeout=timeout), 2)
    policy = Random(workers.first.actions.low, workers.first.actions.high, 1)
    episodes = list(collect(policy, workers, [Job(0, 0, (0,)), Job(seed, 0, (1,)), Job(0, 1, (2,))]))
    if timeout:
        workers.close()
    assert [(episode.seed, episode.take) for episode in episodes] == [(0, 0), (seed, 0), (0, 1)]
    assert not episodes[0].faults and not episodes[2].faults, "its neighbours are as sound as ever"
    harmless = kind == "close" or (kind == "reset" and at > 0) or (kind == "frame" and isinstance(value, np.ndarray) and value.shape == (16, 16))
    if not harmless:
        (fault,) = episodes[1].faults
        assert ("reset" in fault or "decision" in fault) and len(fault) > 15
        assert {"hang": "no answer", "death": "its process died"}.get(kind, "") in fault
