"""Any Gymnasium environment behind one shape, and one sentence for each way in which it may be no good."""

import os
import time
from enum import StrEnum
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

import envs
from envs.adapt import Adapter, EnvConfig, Outcome
from envs.frames import picture
from envs.simulate import render
from envs.simulate.render import mujoco

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
    assert adapter.render_frame(96, pretty=True).shape == (96, 96, 3)
    assert adapter.oracle().shape == (len(adapter.actions),)


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
    max_episode_steps = envs.MAX_EPISODE_STEPS["Reach"]
    whole = adapter.step(still(max_episode_steps - 3))
    assert np.isfinite(whole.rewards).all() and not whole.truncated
    last = adapter.step(still(8))
    assert last.truncated and not last.terminated and not last.success
    assert np.isfinite(last.rewards).tolist() == [True] * 3 + [False] * 5
    assert last.rewards.shape == (8,) and last.rewards.dtype == np.float32


def test_success_once_and_success_at_the_end_are_told_apart():
    outcome = step(stranger({"success": [False, True, False]}, length=3, terminate_on_success=False), 5)
    assert outcome.success and not outcome.success_at_end and outcome.terminated
    assert np.isfinite(outcome.rewards).tolist() == [True] * 3 + [False] * 2


def test_an_episode_ends_at_its_first_success():
    outcome = step(stranger({"success": [False, True, False]}, length=3), 5)
    assert outcome.success and outcome.success_at_end and outcome.terminated
    assert np.isfinite(outcome.rewards).tolist() == [True] * 2 + [False] * 3


def test_frames_are_drawn_once_a_chunk(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    draw = render.Camera.draw
    monkeypatch.setattr(render.Camera, "draw", lambda self, model, data, name, *more: drawn.append(name) or draw(self, model, data, name, *more))
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
    with pytest.raises(ValueError, match=r"Stranger-v0: It reports no success.*'is_success'.*holds 'score'"):
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


# --- environments without MuJoCo, and the traps of field-notes 2.3 to 2.5 -----------------------------------------------


class Painter(gymnasium.Env):
    """Observations with pictures in unusual forms, written into one buffer; no MuJoCo; says what to do in its own way."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}  # type: ignore[misc]

    def __init__(self, space: gymnasium.Space | None = None, render_mode: str | None = None, forgets: bool = False) -> None:
        self.render_mode, self.forgets, self.mission = render_mode, forgets, "fill the square"
        self.action_space = space or gymnasium.spaces.Discrete(4, start=1)
        box = gymnasium.spaces.Box
        cameras = {"top": box(0, 1, (3, 20, 30), np.float32), "side": box(0, 255, (40, 40, 1), np.uint8)}
        parts = {"pixels": gymnasium.spaces.Dict(cameras), "many": box(0, 255, (2, 24, 24, 3), np.uint8), "agent_pos": box(-9, 9, (2,))}
        self.observation_space = gymnasium.spaces.Dict(parts)  # type: ignore[arg-type]
        self.seen = {
            "pixels": {"top": np.zeros((3, 20, 30), np.float32), "side": np.zeros((40, 40, 1), np.uint8)},
            "many": np.zeros((2, 24, 24, 3), np.uint8),
            "agent_pos": np.zeros(2),
        }
        self.taken: list[Any] = []
        self.listener: Any = print

    def _see(self, value: int) -> dict[str, Any]:
        self.seen["pixels"]["top"][0] = value / 255
        self.seen["pixels"]["side"][:] = value
        self.seen["many"][1, ..., 2] = value
        self.seen["agent_pos"][:] = value
        return self.seen

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.steps = 0
        return self._see(10), {"colour": "teal", "room": {"name": "hall"}}

    def step(self, action: Any):
        self.steps += 1
        self.taken.append(action)
        word = {"won": np.float32(self.steps >= 3)}
        if self.steps == 4 and self.forgets:  # resets itself inside step, as LIBERO's wrappers do
            last = {key: part.copy() for key, part in self._see(200).items() if key != "pixels"} | {
                "pixels": {key: part.copy() for key, part in self.seen["pixels"].items()}
            }
            return self._see(10), 0.0, True, False, {"won": np.float32(0), "final_info": {"won": np.float32(1)}, "final_obs": last}
        return self._see(10 + 20 * self.steps), np.array([1.0]), self.steps >= 6, False, word

    def render(self) -> np.ndarray:
        return np.full((50, 60, 3), 7, np.uint8)


@pytest.fixture(autouse=True, scope="module")
def painter():
    gymnasium.register("Painter-v0", entry_point=Painter, disable_env_checker=True)
    yield
    del gymnasium.registry["Painter-v0"]


def painted(**config: Any) -> Adapter:
    return Adapter(EnvConfig(**({"id": "Painter-v0", "action_repeat": 1, "size": 16} | config)))


def test_frames_come_from_anywhere_and_in_any_form():
    adapter = painted(cameras=("pixels.top", "pixels.side", "many.1", "render"))
    frames = adapter.reset(0).frames
    assert frames.shape == (4, 16, 16, 3) and frames.dtype == np.uint8
    assert (frames[0, 3:13] == [10, 0, 0]).all() and (frames[1] == 10).all() and (frames[2] == [0, 0, 10]).all() and (frames[3, 2:14] == 7).all()
    assert (frames[0, :2] == 0).all() and (frames[3, 0] == 0).all(), "an image that is not square has black borders"
    assert adapter.model is None and adapter.render_frame(32).shape == (32, 32, 3)
    with pytest.raises(ValueError, match=r"no camera 'top'; it has 'many.0', 'many.1', 'pixels.side', 'pixels.top'"):
        painted(cameras=("top",))


def test_an_environment_that_writes_into_one_buffer_does_not_change_the_past():
    adapter = painted(cameras=("pixels.side", "many.1"), state="agent_pos", size=24)
    before = adapter.reset(0)
    kept = before.frames.copy(), before.state.copy()  # type: ignore[union-attr]
    after = adapter.step(np.ones((1, 1))).observation
    assert (before.frames == kept[0]).all() and (before.state == kept[1]).all() and (after.frames != kept[0]).any()


def test_rewards_of_shape_one_are_numbers_and_only_truth_is_success():
    adapter = painted(success="won", terminate_on_success=False)
    adapter.reset(0)
    first, second = adapter.step(np.ones((2, 1))), adapter.step(np.ones((1, 1)))
    assert not first.success and second.success and second.rewards.tolist() == [1.0]
    for score in (0.7, -1, 0.31):
        with pytest.raises(ValueError, match=rf"info\['success'\] is {score}; success must be true or false, 0 or 1"):
            step(stranger({"success": [0, score]}, length=2), 2)


def test_success_may_be_the_end_or_known_only_there():
    assert step(stranger({}, success="terminated"), 6).success and not step(stranger({}, success="terminated"), 5).success
    assert not step(stranger({}, success="truncated"), 6).success
    late = step(stranger({"success": [None, None, True]}, length=3), 3)
    assert late.success and late.success_at_end


def test_an_environment_that_resets_itself_is_asked_about_the_end_not_the_new_beginning():
    adapter = painted(kwargs={"forgets": True}, success="won", terminate_on_success=False)
    adapter.reset(0)
    outcome = adapter.step(np.ones((9, 1)))
    assert outcome.success_at_end and outcome.terminated and np.isfinite(outcome.rewards).sum() == 4
    assert (adapter.raw["agent_pos"] == 200).all(), "the observation of the end, not of the new beginning"


def test_instructions_by_template_by_list_and_by_attribute():
    assert painted().reset(0).instruction == "fill the square"
    assert painted(instruction="paint it {colour} in the {room.name}").reset(0).instruction == "paint it teal in the hall"
    assert painted(instruction="{mission}, please").reset(0).instruction == "fill the square, please"
    listed = painted(instruction=("one", "two", "{colour}"))
    drawn = [listed.reset(seed).instruction for seed in range(30)]
    assert set(drawn) == {"one", "two", "teal"} and drawn == [listed.reset(seed).instruction for seed in range(30)]
    with pytest.raises(ValueError, match=r"names \{color\}, which neither info \('colour', 'room'\)"):
        painted(instruction="paint it {color}").reset(0)


class Backend:
    """An object of an environment's own, as simulators have."""

    arm, os, fleet = "left arm", os, os.environ

    def say(self) -> str:
        return "a method"


@pytest.mark.parametrize(
    "name",
    [
        "__init__.__globals__.gymnasium.os.environ",
        "backend.os.environ",
        "backend.fleet",
        "backend.fleet.SECRET",
        "backend",
        "backend.say",
        "backend.say.__globals__",
        "backend.__class__.__name__",
        "_hidden",
        "room._secret",
        "reset.__func__.__globals__",
        "metadata",
        "spec.entry_point",
        "colour.upper",
        "things",
    ],
)
def test_a_placeholder_reaches_nothing_but_text_and_numbers_of_the_environment(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "a password")
    adapter = painted(instruction=f"paint {{{name}}}")
    inner: Any = adapter.env.unwrapped
    inner.backend, inner._hidden, inner.objects = Backend(), "hidden", np.array([object()])
    reset = inner.reset
    inner.reset = lambda **named: (reset(**named)[0], {"colour": "teal", "room": {"name": "hall", "_secret": "hidden"}})
    with pytest.raises(ValueError, match=r"which neither info .* has as a text or numbers; names that begin with _ are not read") as error:
        adapter.reset(0)
    assert "password" not in str(error.value)


def test_placeholders_take_text_and_numbers_of_every_kind():
    values = {"a": 3, "b": np.float32(0.5), "c": np.arange(2), "d": b"word", "e": ["x", 1], "f": True, "g": Side.LEFT}
    adapter = painted(instruction=" ".join(f"{{{name}}}" for name in values) + " {backend.arm}")
    inner: Any = adapter.env.unwrapped
    inner.backend, reset = Backend(), inner.reset
    inner.reset = lambda **named: (reset(**named)[0], values)
    assert adapter.reset(0).instruction == "3 0.5 [0 1] word ['x', 1] True left left arm"


class Side(StrEnum):
    LEFT = "left"


def test_the_step_limit_of_the_config_cuts_the_episode():
    adapter = painted(max_episode_steps=2)
    adapter.reset(0)
    outcome = adapter.step(np.ones((5, 1)))
    assert outcome.truncated and not outcome.terminated and np.isfinite(outcome.rewards).sum() == 2


def test_discrete_actions_arrive_as_the_environment_wants_them():
    adapter = painted()
    adapter.reset(0)
    adapter.step(np.array([[1.0], [4.0], [9.0]]))
    assert adapter.env.unwrapped.taken == [1, 4, 4] and type(adapter.env.unwrapped.taken[0]) is np.int64  # type: ignore[attr-defined]


def test_environments_from_files_modules_and_entry_points(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "mine.py"
    file.write_text(
        "import gymnasium, numpy as np\n"
        "class Mine(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(0, 255, (12, 12, 3), np.uint8)\n"
        "    action_space = gymnasium.spaces.Box(-1, 1, (2,))\n"
        "    def __init__(self, shade=3): self.shade = shade\n"
        "    def reset(self, *, seed=None, options=None): return np.full((12, 12, 3), self.shade, np.uint8), {}\n"
        "    def step(self, action): return self.reset()[0], 0.0, False, False, {'success': False}\n"
        "def build(shade=3): return Mine(shade)\n"
    )
    adapter = Adapter(EnvConfig(id=f"{file}:build", kwargs={"shade": 9}, cameras=("observation",), size=12, max_episode_steps=5))
    assert (adapter.reset(0).frames == 9).all()
    monkeypatch.syspath_prepend(tmp_path)
    assert (Adapter(EnvConfig(id="mine:Mine", cameras=("observation",))).reset(0).frames == 3).all()
    for wrong, why in (
        (f"{tmp_path}/none.py:build", "no file"),
        (f"{file}:biuld", "biuld"),
        ("mine:Nobody", "Nobody"),
        ("nomodule:X-v0", "nomodule"),
    ):
        with pytest.raises(ValueError, match=f"cannot be made .*{why}.*give a Gymnasium id"):
            Adapter(EnvConfig(id=wrong))


def test_vectors_of_environments_are_refused(tmp_path: Any):
    file = tmp_path / "many.py"
    file.write_text("import gymnasium\ndef build(): return gymnasium.make_vec('CartPole-v1', 2)\n")
    with pytest.raises(ValueError, match="vector of environments"):
        Adapter(EnvConfig(id=f"{file}:build"))


@pytest.mark.parametrize("name", ["Reacher-v5", "Pusher-v5", "InvertedPendulum-v5"])
def test_render_of_gymnasiums_own_environments_is_drawn_by_the_fast_camera(name: str):
    adapter = Adapter(EnvConfig(id=name, success="reward > 99", size=64))
    ours = adapter.reset(0).frames[0].astype(int)
    inner: Any = adapter.env.unwrapped
    inner.mujoco_renderer._get_viewer("rgb_array").make_context_current()  # Gymnasium takes it for granted that nobody else draws
    theirs = picture(adapter.env.render(), 64).astype(int)
    assert theirs.std() > 5 and np.abs(ours - theirs).mean() < 12 and np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9


def test_attributes_are_set_and_misspelt_ones_named():
    adapter = painted(attributes={"mission": "leave it empty"})
    assert adapter.reset(0).instruction == "leave it empty"
    with pytest.raises(ValueError, match=r"env\.attributes names 'misson', which Painter does not have"):
        painted(attributes={"misson": ""})


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"step": 3}, "'step', which is a method of Painter; name an attribute that holds a value"),
        ({"_see": None}, "'_see', which is a method of Painter; name an attribute that holds a value"),
        ({"unwrapped": 1}, r"'unwrapped', which cannot be set in Painter \(AttributeError: .*\)"),
    ],
)
def test_attributes_that_would_replace_a_method_are_refused_when_the_environment_is_made(attributes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=rf"^env\.attributes names {says}\.$"):
        painted(attributes=attributes)


def test_a_function_that_is_kept_as_a_value_may_be_replaced() -> None:
    assert painted(attributes={"listener": None}).env.unwrapped.listener is None  # type: ignore[attr-defined]


class Deaf(Painter):
    """Ignores the seed of `reset`, as Meta-World does; listens to the old `seed()`."""

    def seed(self, seed: int) -> None:
        self.drawn = np.random.default_rng(seed).integers(256)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        self.steps = 0
        return self._see(int(self.drawn)), {}


def test_an_environment_that_ignores_the_seed_of_reset_is_seeded_in_the_old_way():
    gymnasium.register("Deaf-v0", entry_point=Deaf, disable_env_checker=True)
    adapter = Adapter(EnvConfig(id="Deaf-v0", cameras=("many.1",), size=24))
    first = [adapter.reset(seed).frames for seed in (1, 2, 1)]
    assert (first[0] == first[2]).all() and (first[0] != first[1]).any()
    del gymnasium.registry["Deaf-v0"]


def test_an_old_way_of_seeding_that_is_not_implemented_is_none(monkeypatch: pytest.MonkeyPatch):
    def seed(self: Any, seed: int) -> None:
        raise NotImplementedError

    monkeypatch.setattr(Painter, "seed", seed, raising=False)
    assert painted(cameras=("many.1",), size=24).reset(3).instruction == "fill the square"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("go left", ("go left",)),
        (np.array(["go left", "go up"]), ("go left", "go up")),
        (np.array(["go left", "go up"], object), ("go left", "go up")),
        (np.array("go left"), ("go left",)),
        (np.zeros(3), ()),
        (np.array([1, "a"], object), ()),
        ({"a": 1}, ()),
    ],
)
def test_fulfilled_instructions_are_texts_and_numbers_under_that_name_are_left(given: Any, expected: tuple[str, ...]):
    adapter = stranger({"success": 0, "achieved": given})
    adapter.reset(0)
    assert adapter.achieved == expected


def test_many_numbers_under_the_name_of_fulfilled_instructions_cost_no_time():
    adapter = stranger({"success": 0, "achieved": np.zeros(2_000_000)})
    adapter.reset(0)
    began = time.perf_counter()
    assert adapter.achieved == () and time.perf_counter() - began < 0.05


class Odd(gymnasium.Env):
    """Is made with whatever spaces it is given, or ends the process."""

    def __init__(self, action_space: Any = None, observation_space: Any = None, ends: bool = False) -> None:
        if ends:
            raise SystemExit(3)
        if action_space is not None:
            self.action_space = action_space
        self.observation_space = observation_space


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"ends": True}, r"cannot be made \(SystemExit: 3\)"),
        ({}, r"its action_space is None; it should be a gymnasium\.Space"),
        ({"action_space": gymnasium.spaces.Box(-1, 1, (2,))}, r"its observation_space is None; it should be a gymnasium\.Space"),
        ({"action_space": gymnasium.spaces.Box(-1, 1, (0,)), "observation_space": gymnasium.spaces.Box(-1, 1, (2,))}, "has no dimension"),
    ],
)
def test_a_constructor_that_ends_and_spaces_that_are_none_are_one_sentence(kwargs: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=f"Odd.*{says}"):
        Adapter(EnvConfig(id=f"{__name__}:Odd", kwargs=kwargs, cameras=("observation",)))
