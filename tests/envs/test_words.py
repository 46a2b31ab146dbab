"""The instruction in all the forms in which environments give it, and attributes of wrappers."""

from enum import StrEnum
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from envs import EnvConfig
from envs.adapt import Adapter
from envs.words import KEYS, instruction


class Side(StrEnum):
    LEFT = "go left"


class Speaker(gymnasium.Env):
    """Says what to do as an attribute or method."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    observation_space, action_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8), gymnasium.spaces.Box(-1, 1, (2,))

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        return np.zeros((16, 16, 3), np.uint8), {}

    def step(self, action: np.ndarray):
        return np.zeros((16, 16, 3), np.uint8), 0.0, False, False, {"success": False}


def said(value: Any, key: str = "instruction", where: str = "info") -> str:
    env = Speaker()
    info, observation = {}, {}
    if where == "env":
        setattr(env, key, value)
    else:
        {"info": info, "observation": observation}[where][key] = value
    return instruction("", 0, info, observation, env)


@pytest.mark.parametrize("where", ["info", "observation", "env"])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "value",
    ["go left", b"go left", np.str_("go left"), np.array("go left"), np.array(["go left"]), ["go left"], ("go left",), Side.LEFT, [b"go left"]],
)
def test_every_form_is_its_text(value: Any, key: str, where: str):
    assert said(value, key, where) == "go left"


def test_a_method_is_called():
    assert said(lambda: "go left", where="env") == said(lambda: ["go left"], "task_description", "env") == "go left"
    assert said(lambda where: "go left", where="env") == "", "one that needs arguments is something else"

    def broken() -> str:
        raise KeyError("task")

    with pytest.raises(ValueError, match=r"its method instruction\(\) fails with KeyError: 'task'; return the instruction as text"):
        said(broken, where="env")


@pytest.mark.parametrize("value", [None, "", [], [None], np.zeros(384, np.float32), 7, {"a": "b"}, object(), gymnasium.Env])
def test_what_is_no_text_gives_way_to_the_next_name(value: Any):
    assert said(value) == ""
    env = Speaker()
    env.lang = "go left"  # type: ignore[attr-defined]
    assert instruction("", 0, {"instruction": value, "lang": value}, {}, env) == "go left"


def test_one_of_several_is_drawn_by_seed():
    texts = ["go left", "stop"]
    drawn = [instruction("", seed, {"instruction": texts}, {}, Speaker()) for seed in range(20)]
    assert set(drawn) == {*texts} and drawn == [instruction("", seed, {"instruction": texts}, {}, Speaker()) for seed in range(20)]


@pytest.mark.parametrize("words", [["go", "left"], ("go", "left"), np.array(["go", "left"]), [b"go", b"left"], ["go ", "left"]])
def test_single_words_are_those_of_one_sentence(words: Any):
    assert [said(words), said(words, "mission", "env")] == ["go left"] * 2
    assert said(["go left", 0.9]) in ("go left", "") and said(["stop"]) == "stop"


class Carrier(gymnasium.Wrapper):
    """Carries what the environment lacks."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.task_description, self.speed, self.terminate_on_success = "go left", 1.0, True

    def oracle(self, steps: int) -> np.ndarray:
        return np.full(2, self.speed)


def carried() -> gymnasium.Env:
    return gymnasium.wrappers.TimeLimit(Carrier(Speaker()), 5)


def test_what_a_wrapper_carries_is_heard():
    config = EnvConfig(id=f"{__name__}:carried", cameras=("observation",), size=16, attributes={"speed": 0.5}, terminate_on_success=False)
    adapter = Adapter(config)
    assert adapter.reset(0).instruction == "go left" and adapter.has_oracle and (adapter.oracle() == 0.5).all()
    carrier = adapter.env.env  # type: ignore[attr-defined]
    assert carrier.terminate_on_success is False and not hasattr(adapter.env.unwrapped, "speed")
    assert Adapter(config.model_copy(update={"instruction": "at {speed}"})).reset(0).instruction == "at 0.5"
    with pytest.raises(ValueError, match=r"env\.attributes names 'sped', which Speaker does not have"):
        Adapter(config.model_copy(update={"attributes": {"sped": 1}}))


@pytest.mark.parametrize("template", ["{info[task]}", "{ gone }", "{task!r}", "{}", "{ }", "go to {task-id}"])
@pytest.mark.parametrize("observation", [{}, np.zeros(3)], ids=["dict", "array"])
def test_a_placeholder_that_names_nothing_is_an_error_in_every_spelling(template: str, observation: Any) -> None:
    with pytest.raises(ValueError, match=r"env\.instruction names"):
        instruction(template, 0, {"task": "press"}, observation, Speaker())


def test_a_placeholder_may_name_a_key_with_dots_dashes_or_spaces_around() -> None:
    info = {"task.description": "press", "task-id": 7, "task": {"name": "lift"}}
    assert instruction("{ task.description } {task-id} {task.name}", 0, info, {}, Speaker()) == "press 7 lift"


def test_blank_words_are_none_and_so_is_the_code_of_a_language() -> None:
    assert said("   ") == said("en", "lang", "env") == "" and said("go left", "lang") == "go left"
    assert instruction(" ", 0, {"instruction": "go left"}, {}, Speaker()) == "go left"
