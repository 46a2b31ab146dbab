"""Environments that reset themselves within a step, and `reset` and `step` of another form than Gymnasium's."""

import copy
import inspect
import types
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


def objects(value: Any) -> np.ndarray:
    """Return an array of one object."""
    array = np.empty(1, object)
    array[0] = value
    return array


KEPT = {"keeps the end": lambda value: value, "keeps it in a list": lambda value: [value], "keeps it in an array": objects}  # as vectors do


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
        elif ended and self.way in KEPT:
            last = seen
            seen, info = self.reset()
            info = {**info, "final_info": KEPT[self.way]({"success": True}), "final_obs": KEPT[self.way](last)}
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
    ("name", "way"), [("Eager", "drops the result"), *(("Eager", way) for way in KEPT), ("Eager", "loses the observation"), ("wrapped", "")]
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


class Dark(gymnasium.ObservationWrapper):
    """Halves the brightness of what the eye sees."""

    def observation(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"eye": observation["eye"] // 2}


class Last(gymnasium.Wrapper):
    """Shows the last two observations, in two rows of one picture; it has a state of its own, and no `observation`."""

    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (32, 16), np.uint8)})

    def reset(self, **named: Any):
        seen, info = self.env.reset(**named)
        self.past = seen
        return self.both(seen), info

    def step(self, action: Any):
        seen, *others = self.env.step(action)
        return self.both(seen), *others

    def both(self, seen: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        past, self.past = self.past, seen
        return {"eye": np.concatenate([past["eye"], seen["eye"]])}


class Next(gymnasium.Wrapper):
    """Begins the next episode in the environment below it, and keeps the end of the last one in Gymnasium's way."""

    def step(self, action: Any):
        seen, reward, ended, cut, info = self.env.step(action)
        if not ended:
            return seen, reward, ended, cut, info
        begun, told = self.env.reset()
        return begun, reward, ended, cut, {**told, "final_obs": seen, "final_info": info}


class Unnoticed(Eager):
    """Begins the next episode without `reset`."""

    def step(self, action: np.ndarray):
        seen, reward, ended, cut, info = super().step(action)
        if ended and self.way == "says so":
            return Eager.look(self) | {"eye": np.zeros((16, 16), np.uint8)}, reward, ended, cut, {"final_obs": seen, "final_info": info}
        return seen, reward, ended, cut, info


INNER = {
    "itself": lambda way: Eager("keeps the end" if way else ""),
    "wrapper": lambda way: Next(Eager()) if way else Eager(),
    "unnoticed": lambda way: Unnoticed("says so" if way else ""),
    "between": lambda way: Next(Dark(Eager())) if way else Dark(Eager()),
    "lost": lambda way: Eager("loses the observation" if way else ""),
}


def outside(inner: str, wrappers: str, way: str = "") -> gymnasium.Env:
    env = INNER[inner](way)
    for wrapper in wrappers.split():
        env = {"Dark": Dark, "Last": Last, "Order": gymnasium.wrappers.OrderEnforcing}[wrapper](env)
    return env


@pytest.mark.parametrize("wrappers", ["Order", "Dark", "Dark Order", "Last", "Dark Last Dark"])
@pytest.mark.parametrize("inner", INNER)
def test_the_last_observation_goes_through_the_wrappers_outside(inner: str, wrappers: str) -> None:
    seen = {}
    for way in ("", "resets itself"):
        kwargs = {"inner": inner, "wrappers": wrappers, "way": way}
        adapter = Adapter(EnvConfig(id=f"{__name__}:outside", kwargs=kwargs, cameras=("eye",), size=32, action_repeat=1, instruction="roll"))
        adapter.reset(0)
        before = adapter.step(np.zeros((3, 2))).observation.frames
        outcome = adapter.step(np.zeros((1, 2)))
        assert outcome.terminated and outcome.success
        seen[way] = before if inner == "lost" and not way else outcome.observation.frames
    np.testing.assert_array_equal(seen["resets itself"], seen[""])


def test_the_signature_of_reset_and_step_stays_that_of_the_layer() -> None:
    adapter = Adapter(EnvConfig(id="etude/Reach-v0", size=32))
    assert list(inspect.signature(adapter.env.reset).parameters) == ["seed", "options"]
    assert list(inspect.signature(adapter.env.step).parameters) == ["action"]
    adapter.close()


def test_a_deep_copy_of_the_environment_steps_and_resets_by_itself() -> None:
    """As an expert that looks ahead would copy it; the adapter watches these methods of the environment alone."""
    config = EnvConfig(id=f"{__name__}:outside", kwargs={"inner": "itself", "wrappers": "Dark Order", "way": "x"}, cameras=("eye",), size=16)
    adapter = Adapter(config.model_copy(update={"instruction": "roll"}))
    adapter.reset(0)
    apart = copy.deepcopy(adapter.env)
    for _ in range(3):
        apart.step(np.zeros(2))
    assert (adapter.env.unwrapped.steps, apart.unwrapped.steps) == (0, 3)  # type: ignore[attr-defined]
    assert apart.step(np.zeros(2))[4]["final_obs"] is not None and apart.unwrapped.steps == 0  # type: ignore[attr-defined]
    adapter.env.step(np.zeros(2))
    apart.reset()
    assert adapter.env.unwrapped.steps == 1  # type: ignore[attr-defined]


class Settled(Eager):
    """Steps in its reset, and ends an episode there."""

    def reset(self, **named: Any):
        seen, info = super().reset(**named)
        if not getattr(self, "settling", False):
            self.settling = True
            for _ in range(4):
                self.step(np.zeros(2))
            self.settling = False
            seen, info = super().reset(**named)
        return seen, info


def test_steps_within_a_reset_are_no_end_of_an_episode() -> None:
    adapter = Adapter(EnvConfig(id=f"{__name__}:Settled", kwargs={"way": "keeps the end"}, cameras=("eye",), size=16, instruction="roll"))
    for _ in range(2):
        assert adapter.reset(0).frames.max() == 0 and not adapter.resets_itself
    plain = episode("Eager", "not at all")[1]
    adapter = Adapter(EnvConfig(id=f"{__name__}:Settled", cameras=("top", "render", "eye"), size=16, action_repeat=1))
    adapter.reset(0)
    np.testing.assert_array_equal(adapter.step(np.zeros((4, 2))).observation.frames, plain.observation.frames)


def test_an_info_that_is_lost_is_named_within_wrappers_too() -> None:
    adapter = Adapter(EnvConfig(id=f"{__name__}:lossy", cameras=("eye",), size=16, action_repeat=1, instruction="roll"))
    adapter.reset(0)
    with pytest.raises(ValueError, match="lossy: it resets itself in the step that ends an episode, and returns the info of the next one"):
        adapter.step(np.zeros((4, 2)))


def lossy() -> gymnasium.Env:
    class Copied(gymnasium.Wrapper):
        def step(self, action: Any):
            *others, info = self.env.step(action)
            return *others, dict(info)

    return Copied(Eager("loses the end"))


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
        return seen if self.way == "observation alone" else (seen, "start" if self.way == "info is text" else {})

    def step(self, action: np.ndarray):
        if self.way in ("two ends", "ends in words"):
            ends = (np.zeros(2, bool), False) if self.way == "two ends" else (False, "False")
            return (np.zeros((16, 16, 3), np.uint8), 0.0, *ends, {"success": False})
        return (np.zeros((16, 16, 3), np.uint8), 0.0, False, {"success": False})


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("seedless", r"its reset does not accept what Gymnasium passes \(.*'seed'\); write reset\(self, \*, seed=None, options=None\)"),
        ("observation alone", r"its reset returned a ndarray, and Gymnasium needs \(observation, info\), a dict"),
        ("info is text", r"its reset returned 2 values, the last a str, and Gymnasium needs \(observation, info\), a dict"),
        ("two ends", r"its step returned terminated array\(\[False, False\]\); it must be true or false"),
        ("ends in words", r"its step returned truncated 'False'; it must be true or false"),
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


class Terse(Old):
    """Gives no info at the reset, a mapping that is no dict after it, and the end of its episode as numpy's."""

    def reset(self, **named: Any):  # type: ignore[override]
        return np.zeros((16, 16, 3), np.uint8), None

    def step(self, action: np.ndarray):  # type: ignore[override]
        return np.zeros((16, 16, 3), np.uint8), 0.0, np.array([1]), None, types.MappingProxyType({"success": True})


def test_info_may_be_missing_or_any_mapping():
    adapter = Adapter(EnvConfig(id=f"{__name__}:Terse", kwargs={"way": ""}, cameras=("observation",), size=16, instruction="go"))
    adapter.reset(0)
    outcome = adapter.step(np.zeros((1, 2), np.float32))
    assert outcome.success and outcome.terminated and not outcome.truncated
