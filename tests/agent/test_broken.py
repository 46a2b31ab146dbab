"""Two hundred broken environments: none ends a run, and each is named."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.collect import Job, collect
from agent.workers import Workers
from envs import EnvConfig
from policies.scripted import Random

PLACES = ("reset", "step", "render", "close")
ERRORS = (RuntimeError, KeyError, ValueError, OSError, MemoryError, ZeroDivisionError, AssertionError, RecursionError, SystemExit, StopIteration)
REWARDS = (float("nan"), float("inf"), None, "good", 1j, np.zeros(2), [], {})
FRAMES = (None, np.zeros((3, 3, 3), np.uint8), np.full((16, 16, 3), np.nan), np.zeros((16, 16)), np.full((16, 16, 3), 1e9), "picture", np.zeros(0))
INFOS = (None, {}, {"success": "maybe"}, {"success": float("nan")}, {"success": np.zeros(3)}, {"success": None}, 7)
STATES = (np.zeros(5), "five", np.zeros((2, 2, 2)), None)
RETURNS = (None, (), (1, 2, 3), 7)


class Broken(gymnasium.Env):
    """Sound, but for one thing, from one step on."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space = gymnasium.spaces.Dict(
        {"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8), "state": gymnasium.spaces.Box(-1, 1, (2,))}  # type: ignore[arg-type]
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, kind: str, value: Any, at: int) -> None:
        self.kind, self.value, self.at, self.steps = kind, value, at, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.steps, self.sound = 0, seed == 0
        self._fail("reset")
        return self._see(), self._say()

    def step(self, action: np.ndarray):
        self.steps += 1
        self._fail("step")
        if self._is("returns"):
            return self.value
        return self._see(), self.value if self._is("reward") else 0.5, False, self.steps >= 6, self._say()

    def close(self) -> None:
        self._fail("close")

    def _is(self, kind: str) -> bool:
        return self.kind == kind and self.steps >= self.at and not getattr(self, "sound", True)

    def _fail(self, place: str) -> None:
        if self._is(place):
            raise self.value("it broke")

    def _see(self) -> Any:
        sight = {"eye": np.full((16, 16, 3), 40 * self.steps, np.uint8), "state": np.zeros(2)}
        if self._is("frame"):
            sight["eye"] = self.value
        if self._is("state"):
            sight["state"] = self.value
        return {} if self._is("keys") else sight

    def _say(self) -> Any:
        return self.value if self._is("info") else {"success": False, "instruction": "hold still"}


@pytest.fixture(autouse=True, scope="module")
def broken():
    gymnasium.register("Broken-v0", entry_point=Broken, disable_env_checker=True)
    yield
    del gymnasium.registry["Broken-v0"]


AILMENTS = st.one_of(
    st.tuples(st.sampled_from(("reset", "step", "close")), st.sampled_from(ERRORS)),
    st.tuples(st.just("reward"), st.sampled_from(REWARDS)),
    st.tuples(st.just("frame"), st.sampled_from(FRAMES)),
    st.tuples(st.just("info"), st.sampled_from(INFOS)),
    st.tuples(st.just("state"), st.sampled_from(STATES)),
    st.tuples(st.just("returns"), st.sampled_from(RETURNS)),
    st.tuples(st.just("keys"), st.none()),
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(ailment=AILMENTS, at=st.integers(0, 5), seed=st.integers(1, 9))
def test_no_broken_environment_ends_a_run_and_each_is_named(ailment: tuple[str, Any], at: int, seed: int) -> None:
    kind, value = ailment
    config = EnvConfig(id="Broken-v0", kwargs={"kind": kind, "value": value, "at": at}, cameras=("eye",), size=16, action_repeat=1)
    workers = Workers(config, 2)
    policy = Random(workers.first.actions.low, workers.first.actions.high, 1)
    episodes = list(collect(policy, workers, [Job(0, 0, (0,)), Job(seed, 0, (1,)), Job(0, 1, (2,))]))
    assert [(episode.seed, episode.take) for episode in episodes] == [(0, 0), (seed, 0), (0, 1)]
    assert not episodes[0].faults and not episodes[2].faults, "its neighbours are as sound as ever"
    harmless = kind == "close" or (kind == "reset" and at > 0) or (kind == "frame" and isinstance(value, np.ndarray) and value.shape == (16, 16))
    if not harmless:
        (fault,) = episodes[1].faults
        assert ("reset" in fault or "decision" in fault) and len(fault) > 15
