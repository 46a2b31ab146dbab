"""Going back: two futures of one moment are the same, bit by bit, if the same is done."""

import types
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from envs import TASKS, EnvConfig
from envs.adapt import Adapter
from envs.simulate.render import mujoco
from envs.simulate.replay import prove, replay, restore, snapshot

MUJOCO = ["Reacher-v5", "Pusher-v5", "HalfCheetah-v5"]


def adapter_of(name: str) -> Adapter:
    if name in TASKS:
        return Adapter(EnvConfig(id=name, size=32))
    kwargs = {"width": 48, "height": 48}
    return Adapter(EnvConfig(id=name, kwargs=kwargs, success="reward > 99", size=32, action_repeat=2))


@pytest.mark.parametrize("name", [*TASKS, *MUJOCO])
def test_both_ways_are_exact_on_mujoco(name: str) -> None:
    proofs = prove(adapter_of(name), range(60_000_000, 60_000_008), np.random.default_rng(0))
    assert proofs["snapshot"].exact, proofs
    assert proofs["replay"].exact, proofs


def test_a_snapshot_can_be_used_again_and_elsewhere() -> None:
    one, other, still = adapter_of(TASKS[1]), adapter_of(TASKS[1]), np.zeros((1, 3))
    one.reset(5)
    one.step(np.ones((1, 3)))
    moment = snapshot(one)
    expected = one.step(still).observation.frames
    for _ in range(2):
        one.step(-np.ones((1, 3)))
        restore(one, moment)
        np.testing.assert_array_equal(one.step(still).observation.frames, expected)
    other.reset(6)
    restore(other, moment)
    np.testing.assert_array_equal(other.step(still).observation.frames, expected)


def test_the_time_limit_goes_back_too() -> None:
    adapter = adapter_of("etude/Reach-v0")
    adapter.reset(0)
    moment = snapshot(adapter)
    counts = []
    for _ in range(2):
        restore(adapter, moment)
        counts.append(0)
        while not adapter.step(np.zeros((1, 3))).truncated:
            counts[-1] += 1
    assert counts == [5, 5]


class Marked(gymnasium.Env):
    """Moves a marker of its model at each step, and keeps the simulation's own array of velocities to begin with, inside another object."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    observation_space, action_space = gymnasium.spaces.Box(-9, 9, (1,)), gymnasium.spaces.Box(-1, 1, (1,))
    XML = """<mujoco><worldbody><light pos="0 0 2"/><camera name="top" pos="0 0 2"/><site pos="0 .1 .1" size=".1" rgba="1 0 0 1"/>
      <body name="ball"><joint name="x" type="slide" axis="1 0 0"/><geom size=".1"/></body></worldbody>
      <actuator><motor joint="x"/></actuator></mujoco>"""

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(self.XML)
        self.data = mujoco.MjData(self.model)
        self.robot = types.SimpleNamespace(start=self.data.qvel, data=self.data)
        self.ball = self.data.body("ball").xpos

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qvel[:] = self.robot.start
        return self.data.qpos.copy(), {"success": False}

    def step(self, action: np.ndarray):
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, 20)
        self.model.site_pos[0, 1] += 0.1
        return self.data.qpos.copy(), float(self.data.qpos[0]), False, False, {"success": False}


def test_what_an_environment_moves_in_its_model_and_shares_with_its_data_goes_back() -> None:
    gymnasium.register("Marked-v0", entry_point=Marked, disable_env_checker=True)
    try:
        adapter = Adapter(EnvConfig(id="Marked-v0", cameras=("top",), size=32, action_repeat=1))
        adapter.reset(0)
        adapter.step(np.ones((1, 1)))
        moment = snapshot(adapter)
        expected = adapter.step(np.ones((1, 1)))
        restore(adapter, moment)
        again = adapter.step(np.ones((1, 1)))
        np.testing.assert_array_equal(again.observation.frames, expected.observation.frames)
        assert adapter.env.unwrapped.robot.start is adapter.data.qvel
        assert np.shares_memory(adapter.env.unwrapped.ball, adapter.data.xpos)
        adapter.reset(0)
        assert adapter.data.qvel[0] == 0
    finally:
        del gymnasium.registry["Marked-v0"]


class Peeking(Marked):
    """As Fetch: to be looked at brings derived quantities up to date, and the next step reads them."""

    def _render_callback(self) -> None:
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: np.ndarray):
        return super().step(action - self.data.xpos[1, :1])


def test_looking_does_not_change_what_happens() -> None:
    gymnasium.register("Peeking-v0", entry_point=Peeking, disable_env_checker=True)
    try:
        adapter = Adapter(EnvConfig(id="Peeking-v0", cameras=("top",), size=32, action_repeat=1))
        rewards = []
        for look in (True, False):
            adapter.reset(0, look)
            rewards.append([float(adapter.step(np.ones((1, 1)), look).rewards[0]) for _ in range(5)])
        assert rewards[0] == rewards[1] and len(set(rewards[0])) == 5
    finally:
        del gymnasium.registry["Peeking-v0"]


class Diced(gymnasium.Env):
    """Draws from its own generator, from a helper's, and (if it cheats) from one that no reset seeds."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)
    fate = np.random.default_rng(0)

    def __init__(self, cheats: bool = False, render_mode: str | None = None) -> None:
        self.cheats, self.render_mode = cheats, render_mode
        self.helper = {"dice": np.random.default_rng(0), "thrown": []}

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.helper = {"dice": np.random.default_rng(seed), "thrown": []}
        return self._see(), {"success": False}

    def step(self, action: int):
        self.helper["thrown"].append(int(self.helper["dice"].integers(256)))
        return self._see(), float(self.np_random.random()), False, False, {"success": False}

    def _see(self) -> np.ndarray:
        extra = type(self).fate.integers(256) if self.cheats else 0
        return np.full((16, 16, 3), (sum(self.helper["thrown"]) + extra) % 256, np.uint8)


def test_generators_and_helpers_go_back_without_mujoco() -> None:
    gymnasium.register("Diced-v0", entry_point=Diced, disable_env_checker=True)
    try:
        honest = Adapter(EnvConfig(id="Diced-v0", cameras=("observation",), size=16))
        assert all(proof.exact for proof in prove(honest, range(5), np.random.default_rng(0)).values())
        cheat = Adapter(EnvConfig(id="Diced-v0", kwargs={"cheats": True}, cameras=("observation",), size=16))
        proofs = prove(cheat, range(5), np.random.default_rng(0))
        assert not proofs["snapshot"].exact and "frames differ at seed 0" in proofs["replay"].difference
    finally:
        del gymnasium.registry["Diced-v0"]


def test_replay_shows_the_history_that_was_seen() -> None:
    adapter = Adapter(EnvConfig(history=3, size=32))
    adapter.reset(3)
    opening = [np.full((1, 3), value, np.float32) for value in (0.5, -0.5, 0.2, 0.3)]
    expected = [adapter.step(actions) for actions in opening][-1].observation.frames
    replay(adapter, 3, opening)
    np.testing.assert_array_equal(adapter._observed.frames, expected)
