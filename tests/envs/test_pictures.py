"""Pictures of an observation whose values or planes are not what their space says."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from envs import EnvConfig
from envs.doctor import examine

SCENE = np.full((16, 16, 3), 220, np.uint8)
SCENE[4:8, 4:8], SCENE[10:12] = (220, 20, 20), 20


class Shown(gymnasium.Env):
    """Shows a scene in a form of its own; a mark moves in it."""

    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, space: Any, form: Any) -> None:
        self.observation_space, self.form, self.steps = space, form, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.where, self.steps = float(self.np_random.uniform(0, 15)), 0
        return self.see(), {"instruction": "go right"}

    def step(self, action: np.ndarray):
        self.where, self.steps = float(np.clip(self.where + action[0], 0, 15)), self.steps + 1
        return self.see(), self.where, False, self.steps >= 8, {"success": self.where > 14}

    def see(self) -> Any:
        scene = SCENE.copy()
        scene[:, round(self.where)] = 20
        return self.form(scene)


def box(low: float, high: float, dtype: type, *shape: int) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(low, high, shape or (16, 16, 3), dtype)  # type: ignore[arg-type]


FORMS = {
    "eight bits": (box(0, 255, np.uint8), lambda scene: scene),
    "dark": (box(0, 255, np.uint8), lambda scene: scene // 15),
    "shares of 1": (box(0, 1, np.float32), lambda scene: (scene / 255).astype(np.float32)),
    "-1 to 1": (box(-1, 1, np.float32), lambda scene: (scene / 127.5 - 1).astype(np.float32)),
    "shares as bytes": (box(0, 255, np.float32), lambda scene: (scene / 255).astype(np.float32)),
    "labels as bytes": (box(0, 255, np.uint8), lambda scene: (scene > 99).astype(np.uint8)),
    "nothing": (box(0, 255, np.float32), lambda scene: np.zeros((16, 16, 3), np.float32)),
    "12 of 16 bits": (box(0, 65535, np.uint16, 16, 16), lambda scene: scene[..., 0].astype(np.uint16) * 16),
    "shares as -1 to 1": (box(-1, 1, np.float32), lambda scene: (scene / 255).astype(np.float32)),
}
RANGE = "; scale the values, or declare their range."


def found(space: Any, form: Any, camera: str = "observation") -> tuple[list[str], list[str]]:
    """Return the faults and the notes about a camera."""
    kwargs = {"space": space, "form": form}
    diagnosis = examine(EnvConfig(id=f"{__name__}:Shown", kwargs=kwargs, cameras=(camera,), size=16, action_repeat=1), episodes=2, openings=1)
    return [each for each in diagnosis.faults if "amera" in each], [each for each in diagnosis.warnings if "amera" in each]


@pytest.mark.parametrize(
    ("form", "faults", "notes"),
    [
        ("eight bits", [], []),
        ("dark", [], []),
        ("shares of 1", [], []),
        ("-1 to 1", [], []),
        ("shares as bytes", ["is black: its values are 0.0784 to 0.863, and its observation space declares 0 to 255" + RANGE], []),
        ("labels as bytes", ["is black: its values are 0 to 1, and its observation space declares 0 to 255" + RANGE], []),
        ("nothing", ["is black: the environment draws nothing there."], []),
        ("12 of 16 bits", [], ["uses a part of its range: its values are 320 to 3.52e+03, and its observation space declares 0 to 65535" + RANGE]),
        ("shares as -1 to 1", [], ["uses a part of its range: its values are 0.0784 to 0.863, and its observation space declares -1 to 1" + RANGE]),
    ],
)
def test_a_range_that_the_picture_does_not_fill_is_said(form: str, faults: list[str], notes: list[str]) -> None:
    assert found(*FORMS[form]) == ([f"Camera 'observation' {each}" for each in faults], [f"Camera 'observation' {each}" for each in notes])


def stack(count: int) -> gymnasium.spaces.Box:
    return box(0, 255, np.uint8, count, 16, 16)


@pytest.mark.parametrize(
    ("space", "form", "said"),
    [
        (stack(12), lambda scene: np.concatenate([scene.transpose(2, 0, 1)] * 4), True),
        (stack(6), lambda scene: np.concatenate([scene.transpose(2, 0, 1), scene.transpose(2, 1, 0)]), True),
        (stack(6), lambda scene: np.stack([scene[..., 1]] * 6), False),
        (stack(4), lambda scene: np.concatenate([scene.transpose(2, 0, 1), scene[None, ..., 0]]), False),
    ],
)
def test_one_colour_of_a_stack_is_said_and_one_of_several_grey_frames_is_not(space: Any, form: Any, said: bool) -> None:
    count = space.shape[0]
    says = f"Camera 'observation.3' is a plane of [{count}, 16, 16], read as a grey picture, and may be one colour of {count // 3} pictures: give one"
    faults, notes = found(space, form, "observation.3")
    assert not faults and [each.startswith(says) for each in notes] == [True] * said


def grey_stack() -> gymnasium.Env:
    scene = Shown(box(0, 255, np.uint8, 16, 16), lambda scene: scene[..., 1])
    return gymnasium.wrappers.FrameStackObservation(scene, 3)


def test_three_stacked_grey_frames_are_told_from_colours_by_their_wrapper() -> None:
    config = EnvConfig(id=f"{__name__}:grey_stack", cameras=("observation",), size=16, action_repeat=1)
    says = "Camera 'observation' is three stacked grey frames, read as the colours of one; leave out the stack (env.history shows earlier frames)."
    assert says in examine(config, episodes=2, openings=1).warnings
    assert found(stack(3), lambda scene: scene.transpose(2, 0, 1)) == ([], [])
