"""Environments that reset themselves within a step, and `reset` and `step` of another form than Gymnasium's."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from envs import EnvConfig
from envs.adapt import Adapter
from envs.simulate.render import mujoco
from envs.simulate.replay import restore, snapshot

XML = """<mujoco><worldbody><light pos="0 0 3"/><camera name="top" pos="0 0 2"/>
  <body><joint type="slide" axis="1 0 0"/><geom size=".2" rgba="1 0 0 1"/></body></worldbody></mujoco>"""


class Eager(gymnasium.Env):
    """A ball moves to the right; the step that ends an episode begins the next one, and says so in one of several ways."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16), np.uint8)})
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, way: str = "", render_mode: str | None = None) -> None:
        self.way, self.render_mode, self.steps = way, render_mode, 0
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.steps = 0
        return self.look(), {"success": False}

    def step(self, action: np.ndarray):
        self.steps += 1
        seen, ended, info = self.look(), self.steps >= 4, {"success": self.steps >= 4}
        if ended and self.way == "drops the result":  # as LeRobot's wrappers of LIBERO
            self.reset()
        elif ended and self.way == "keeps the end":
            last = seen
            seen, info = self.reset()
            info = {**info, "final_info": {"success": True}, "final_obs": last}
        elif ended and self.way == "loses the end":
            seen, info = self.reset()
        elif ended and self.way == "loses the observation":
            seen, _ = self.reset()
        return seen, 0.0, ended, False, info

    def look(self) -> dict[str, np.ndarray]:
        self.data.qpos[0] = self.steps / 5
        mujoco.mj_forward(self.model, self.data)
        return {"eye": np.full((16, 16), 50 * self.steps, np.uint8)}

    def render(self) -> np.ndarray:
        return np.full((16, 16, 3), 50 * self.steps, np.uint8)


class Wrapped(gymnasium.Wrapper):
    """Resets in a wrapper's step."""

    def step(self, action: Any):
        seen, reward, ended, cut, info = self.env.step(action)
        if ended:
            self.reset()
        return seen, reward, ended, cut, info


def wrapped(render_mode: str | None = None) -> gymnasium.Env:
    return Wrapped(Eager(render_mode=render_mode))


def episode(name: str, way: str = "") -> tuple[Adapter, Any]:
    adapter = Adapter(
        EnvConfig(id=f"{__name__}:{name}", kwargs={"way": way} if way else {}, cameras=("top", "render", "eye"), size=16, action_repeat=1)
    )
    adapter.reset(0)
    return adapter, adapter.step(np.zeros((4, 2)))


@pytest.mark.parametrize(
    ("name", "way"), [("Eager", "drops the result"), ("Eager", "keeps the end"), ("Eager", "loses the observation"), ("wrapped", "")]
)
def test_the_last_frame_is_of_the_episode_that_ended(name: str, way: str):
    _, expected = episode("Eager", "not at all")
    adapter, outcome = episode(name, way)
    assert outcome.success and outcome.terminated
    frames, last = outcome.observation.frames, expected.observation.frames
    np.testing.assert_array_equal(frames[:2], last[:2])
    assert (frames[2] == (150 if way == "loses the observation" else 200)).all(), "an observation that is lost is that of the step before"
    np.testing.assert_array_equal(adapter.render_frame(16), last[0])  # videos
    np.testing.assert_array_equal(adapter.reset(0).frames, episode("Eager", "not at all")[0].reset(0).frames)


def test_an_info_that_is_lost_is_named():
    with pytest.raises(ValueError, match="Eager: it resets itself in the step that ends an episode, and returns the info of the next one"):
        episode("Eager", "loses the end")


class Old(gymnasium.Env):
    """The interface of old Gym, in one way or another."""

    observation_space, action_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8), gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, way: str) -> None:
        self.way = way

    def reset(self, **named: Any):  # type: ignore[override]
        if self.way == "seedless" and named:
            raise TypeError("reset() got an unexpected keyword argument 'seed'")
        seen = np.zeros((16, 16, 3), np.uint8)
        return seen if self.way == "observation alone" else (seen, {})

    def step(self, action: np.ndarray):
        return (np.zeros((16, 16, 3), np.uint8), 0.0, False, {"success": False})


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("seedless", r"its reset does not accept what Gymnasium passes \(.*'seed'\); write reset\(self, \*, seed=None, options=None\)"),
        ("observation alone", r"its reset returned a ndarray, and Gymnasium needs \(observation, info\)"),
        ("four", r"its step returned .*\(observation, reward, terminated, truncated, info\).*; wrap an environment of old Gym by Shimmy"),
    ],
)
def test_the_old_interface_is_named_with_what_to_write(way: str, says: str, limit: int | None):
    config = EnvConfig(id=f"{__name__}:Old", kwargs={"way": way}, cameras=("observation",), size=16, max_episode_steps=limit)
    with pytest.raises(ValueError, match=rf"{__name__}:Old: {says}"):
        adapter = Adapter(config)
        adapter.reset(0)
        adapter.step(np.zeros((1, 2)))


def test_a_moment_that_is_restored_is_drawn_anew():
    adapter = Adapter(
        EnvConfig(id=f"{__name__}:Eager", kwargs={"way": "keeps the end"}, cameras=("render",), size=16, action_repeat=1, instruction="roll")
    )
    adapter.reset(0)
    moment = snapshot(adapter)
    for _ in range(4):
        adapter.step(np.zeros((1, 2), np.float32))
    restore(adapter, moment)
    assert adapter.observe().frames.max() == 0, "the ball is at its beginning; the kept frame of the end is brighter"
