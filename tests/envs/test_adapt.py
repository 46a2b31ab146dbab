"""Any Gymnasium environment behind one shape, and one sentence for each way in which it may be no good."""

from typing import Any

import gymnasium
import numpy as np
import pytest

import envs
from envs import render
from envs.adapt import Adapter, EnvConfig, Outcome
from envs.render import mujoco

XML = '<mujoco><worldbody><camera name="eye" pos="0 0 2"/><light pos="0 0 3"/><geom name="ball" size=".2" rgba="1 0 0 1"/></worldbody></mujoco>'


class Stranger(gymnasium.Env):
    """Somebody else's environment: plain observations, its own word for success, ends after `length` steps.

    What it says may be one value for always, or a list with one value a step.
    """

    def __init__(self, said: dict[str, Any], reward: Any = 0.5, length: int = 6) -> None:
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data = mujoco.MjData(self.model)
        self.observation_space, self.action_space = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Box(-1, 1, (2,))
        self.said, self.reward, self.length = said, reward, length

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        mujoco.mj_forward(self.model, self.data)
        self.steps = 0
        return np.zeros(2, np.float32), dict(self.said)

    def step(self, action: np.ndarray):
        self.steps += 1
        said = {key: word[self.steps - 1] if isinstance(word, list) else word for key, word in self.said.items()}
        return np.zeros(2, np.float32), self.reward, self.steps >= self.length, False, said


@pytest.fixture(autouse=True, scope="module")
def registered():
    gymnasium.register("Stranger-v0", entry_point=Stranger, disable_env_checker=True)
    yield
    del gymnasium.registry["Stranger-v0"]


def stranger(said: dict[str, Any], **config: Any) -> Adapter:
    kwargs = {key: config.pop(key) for key in ("reward", "length") if key in config}
    return Adapter(EnvConfig(action_repeat=1, id="Stranger-v0", kwargs={"said": said, **kwargs}, cameras=("eye",), size=32, **config))


def step(adapter: Adapter, count: int = 1) -> Outcome:
    adapter.reset(0)
    return adapter.step(still(count, 2))


def still(count: int, size: int = 3) -> np.ndarray:
    return np.zeros((count, size), np.float32)


def test_frames_instruction_and_state_of_our_own_tasks():
    adapter = Adapter(EnvConfig(action_repeat=1))
    seen = adapter.reset(0)
    assert seen.frames.shape == (2, 64, 64, 3) and seen.frames.dtype == np.uint8
    assert seen.instruction.startswith("touch the ")
    assert seen.state is not None and seen.state.shape == (9,) and seen.state.dtype == np.float32
    assert adapter.config.frame_names == ("front", "wrist")
    assert adapter.film(96, pretty=True).shape == (96, 96, 3)
    assert adapter.oracle().shape == adapter.action_space.shape


def test_each_environment_keeps_its_own_instruction():
    one, other = Adapter(EnvConfig(action_repeat=1)), Adapter(EnvConfig(action_repeat=1))
    first, second = one.reset(0).instruction, other.reset(2).instruction
    assert first != second
    assert (one.step(still(1)).observation.instruction, other.step(still(1)).observation.instruction) == (first, second)


def test_history_is_oldest_first_and_begins_with_repetitions():
    adapter = Adapter(EnvConfig(action_repeat=1, history=3, size=48))
    assert adapter.config.frame_names == ("front_2", "wrist_2", "front_1", "wrist_1", "front", "wrist")
    start = adapter.reset(0).frames
    assert start.shape == (6, 48, 48, 3)
    assert (start[:2] == start[2:4]).all() and (start[:2] == start[4:]).all()
    moved = adapter.step(np.ones((2, 3), np.float32)).observation.frames
    again = adapter.step(np.ones((2, 3), np.float32)).observation.frames
    assert (moved[:4] == start[2:]).all() and (moved[4:] != start[4:]).any()
    assert (again[:4] == moved[2:]).all() and (again[4:] != moved[4:]).any()
    assert (adapter.reset(0).frames == start).all(), "history leaks into the next episode"


def test_a_chunk_stops_where_the_episode_ends():
    adapter = Adapter(EnvConfig(action_repeat=1, cameras=("front",)))
    adapter.reset(0)
    horizon = envs.HORIZONS["Reach"]
    whole = adapter.step(still(horizon - 3))
    assert np.isfinite(whole.rewards).all() and not whole.truncated
    last = adapter.step(still(8))
    assert last.truncated and not last.terminated and not last.success
    assert np.isfinite(last.rewards).tolist() == [True] * 3 + [False] * 5
    assert last.rewards.shape == (8,) and last.rewards.dtype == np.float32


def test_success_anywhere_in_a_chunk_counts():
    outcome = step(stranger({"success": [False, True, False]}, length=3), 5)
    assert outcome.success and outcome.terminated and np.isfinite(outcome.rewards).tolist() == [True] * 3 + [False] * 2


def test_frames_are_drawn_once_a_chunk(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    draw = render.Camera.draw
    monkeypatch.setattr(render.Camera, "draw", lambda self, model, data, name: drawn.append(name) or draw(self, model, data, name))
    adapter = Adapter(EnvConfig(action_repeat=1))
    adapter.reset(0)
    assert drawn == ["front", "wrist"]
    adapter.step(still(4))
    assert drawn == ["front", "wrist"] * 2
    before = adapter.step(still(4), look=False).observation
    assert drawn == ["front", "wrist"] * 2
    assert before is not adapter.observe()


@pytest.mark.parametrize(
    ("said", "success"),
    [
        ({"is_success": 1.0}, True),
        ({"is_success": 0.0}, False),
        ({"success": np.bool_(True)}, True),
        ({"success": np.bool_(False)}, False),
        ({"won": np.array([1])}, True),
        ({"is_success": False, "success": True}, False),  # Gymnasium's own word comes first
    ],
)
def test_success_in_every_dialect(said: dict[str, Any], success: bool):
    outcome = step(stranger(said))
    assert outcome.success is success


def test_a_plain_observation_has_no_state_and_the_config_may_give_the_words():
    assert stranger({"success": 0}).reset(0).state is None
    assert stranger({"success": 0}).reset(0).instruction == ""
    assert stranger({"success": 0}, instruction="look at the ball").reset(0).instruction == "look at the ball"
    assert stranger({"success": 0}, reward=np.array([0.25])).reset(0).frames.shape == (1, 32, 32, 3)


def test_an_unknown_environment_is_named():
    with pytest.raises(ValueError, match=r"etude/Raech-v0.*etude tasks"):
        Adapter(EnvConfig(action_repeat=1, id="etude/Raech-v0"))


def test_an_unknown_camera_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match="no camera 'top'; it has 'front', 'wrist'"):
        Adapter(EnvConfig(action_repeat=1, cameras=("top",)))


def test_an_environment_without_success_is_named_with_what_it_says():
    with pytest.raises(ValueError, match=r"Stranger-v0 reports no success.*'is_success'.*holds 'score'"):
        step(stranger({"score": 1}))
    with pytest.raises(ValueError, match="holds nothing"):
        step(stranger({}))


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), -float("inf")])
def test_a_reward_that_is_no_number_is_named(reward: float):
    with pytest.raises(ValueError, match=f"Stranger-v0 returned the reward {reward}"):
        step(stranger({"success": 0}, reward=reward))


def test_an_environment_without_an_oracle_says_so():
    with pytest.raises(ValueError, match=r"Stranger-v0 has no scripted oracle.*demonstrate\.episodes"):
        stranger({"success": 0}).oracle()
