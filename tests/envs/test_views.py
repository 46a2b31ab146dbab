"""Where frames come from: which geoms, which way up, what a source must be, and what is drawn where the environment draws too."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from envs import EnvConfig
from envs.adapt import Adapter
from envs.simulate import render
from envs.simulate.objects import find
from envs.simulate.render import mujoco

XML = """<mujoco><asset><texture name="board" type="2d" builtin="flat" rgb1="1 1 1" width="16" height="16"/><material name="board" texture="board"/>
  <hfield name="hill" nrow="8" ncol="8" size=".3 .3 .4 .1"/></asset>
  <worldbody><light pos="0 0 3"/><camera name="top" pos="0 0 2"/><geom name="table" type="box" size="2 2 .01" pos="0 0 -.1" material="board"/>
  <geom type="hfield" hfield="hill" pos="-.6 -.6 0" rgba=".5 .5 .5 1"/>
  <body name="ball" pos=".4 .5 .1"><joint type="slide" axis="1 0 0"/><geom size=".2" rgba="1 0 0 1" group="1" contype="0" conaffinity="0"/>
  <geom type="box" size=".25 .25 .25" rgba="0 1 0 1" group="0"/></body></worldbody></mujoco>"""
ABOVE = {"lookat": (0, 0, 0), "distance": 2, "azimuth": 90, "elevation": -90}


class Table(gymnasium.Env):
    """A red ball inside its green collision shape, on a table whose texture each episode repaints."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, repaints: bool = False, render_mode: str | None = None) -> None:
        self.repaints, self.render_mode = repaints, render_mode
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        if self.repaints:
            self.model.tex_data[:] = self.np_random.integers(0, 256)
            self.model.hfield_data[:] = self.np_random.random(64)
        mujoco.mj_forward(self.model, self.data)
        return np.zeros(2, np.float32), {"options": options}

    def step(self, action: np.ndarray):
        return np.zeros(2, np.float32), 0.0, False, False, {"success": False}


class Stack(gymnasium.Env):
    """Its observation may be two pictures."""

    observation_space, action_space = gymnasium.spaces.Box(0, 255, (6, 16, 16), np.uint8), gymnasium.spaces.Box(-1, 1, (2,))


def table(**config: Any) -> Adapter:
    return Adapter(EnvConfig(**({"id": f"{__name__}:Table", "cameras": ("top",), "size": 64, "action_repeat": 1} | config)))


def share(frame: np.ndarray, colour: int) -> float:
    """Return the share of pixels in which one colour of RGB is far above the others."""
    others = np.delete(frame.astype(int), colour, axis=-1).max(-1)
    return float((frame[..., colour].astype(int) - others > 60).mean())


def test_only_the_geom_groups_that_are_asked_for_are_drawn():
    usual, visual = table().reset(0).frames[0], table(geom_groups=(1,)).reset(0).frames[0]
    assert share(usual, 1) > 0.01 and share(usual, 0) == 0, "the collision shape hides the ball"
    assert share(visual, 0) > 0.01 and share(visual, 1) == 0


def test_what_is_not_drawn_hides_nothing():
    adapter = table(geom_groups=(1,))
    adapter.reset(0)
    inside = adapter.model.body("ball").id
    adapter.model.geom_bodyid[-1] = 0  # the shape belongs to the world now, as a cupboard's door would
    for groups, seen in (((1,), True), ((), False)):
        objects = {thing.name: thing for thing in find(adapter.model, adapter.data, ("top",), groups=groups)}
        assert (objects["red ball"].pixels[0] is not None) is seen, inside


@pytest.mark.parametrize("flip", ["vertical", "horizontal", "both"])
def test_a_camera_that_is_upside_down_or_mirrored_is_turned_over_and_its_questions_with_it(flip: Any):
    plain, adapter = table(geom_groups=(1,)), table(geom_groups=(1,), flip={"top": flip})
    expected = plain.reset(0).frames[0][:: -1 if flip != "horizontal" else 1, :: -1 if flip != "vertical" else 1]
    seen = adapter.reset(0).frames[0]
    assert (seen == expected).all() and (table(geom_groups=(1,), flip=flip).reset(0).frames[0] == seen).all()
    assert (adapter.render_frame(64) == seen).all(), "videos are turned over too"
    objects = find(adapter.model, adapter.data, adapter.mujoco_cameras, flips=(flip,), groups=(1,))
    place = next(thing.pixels[0] for thing in objects if thing.name == "red ball")
    assert place is not None
    rows, columns = np.nonzero(seen[..., 0].astype(int) - seen[..., 1] > 60)
    np.testing.assert_allclose(place * 64, [columns.mean() + 0.5, rows.mean() + 0.5], atol=1.5)


def test_a_camera_of_ones_own_shows_what_a_camera_of_the_model_there_shows_and_is_asked_about():
    """The model's camera `top` is 2 m above the origin and looks down, with y up in its frame."""
    adapter = table(cameras=("above", "top"), free_cameras={"above": ABOVE}, geom_groups=(1,))
    own, of_the_model = adapter.reset(0).frames
    assert np.abs(own.astype(int) - of_the_model).mean() < 1 and share(own, 0) > 0.01
    ball = next(thing for thing in find(adapter.model, adapter.data, adapter.mujoco_cameras, groups=(1,)) if thing.name == "red ball")
    np.testing.assert_allclose(ball.pixels[0], ball.pixels[1], atol=0.01)
    assert (adapter.render_frame(64) == own).all(), "videos show the first camera"
    level = {"lookat": (0.4, 0.5, 0.1), "distance": 1, "azimuth": 0, "elevation": 0}
    beside = table(cameras=("beside",), free_cameras={"beside": level}, geom_groups=(1,)).reset(0).frames[0]
    assert share(beside[16:48, 16:48], 0) > share(beside, 0) > 0.01, "the point that it looks at is in the middle"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"cameras": ("top",), "free_cameras": {"side": ABOVE}}, "env.free_cameras has 'side', which env.cameras does not name"),
        ({"free_cameras": {"top": ABOVE}}, "env.free_cameras has 'top', which the environment has already"),
        ({"free_cameras": {"render": ABOVE}}, "env.free_cameras has 'render', which the environment has already"),
        (
            {"id": "tests.envs.test_doctor:Dial", "cameras": ("side",), "free_cameras": {"side": ABOVE}},
            "env.free_cameras has 'side', and only a MuJoCo environment can be drawn from there",
        ),
        ({"cameras": ("nowhere",), "free_cameras": {"nowhere": ABOVE | {"distance": 0}}}, "distance"),
        ({"cameras": ("nowhere",), "free_cameras": {"nowhere": ABOVE | {"roll": 3}}}, "roll"),
        ({"flip": {"side": "both"}}, "env.flip names 'side', and the cameras are 'top'"),
        ({"cameras": ("side",)}, "there is no camera 'side'; it has 'top'"),
        (
            {"id": f"{__name__}:Stack", "cameras": ("observation",)},
            r"there is no camera 'observation' \(\[6, 16, 16\] may be 2 colour pictures side by side; give one, .*\); it has 'observation.0', ",
        ),
        ({"id": "tests.envs.test_doctor:Dial", "cameras": ("observation",), "geom_groups": (1,)}, "env.geom_groups has no effect"),
    ],
)
def test_a_key_without_effect_is_refused(config: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        table(**config)


def test_textures_and_heights_that_are_repainted_in_place_are_drawn_anew():
    """As a fresh camera draws them; also where two environments of one model, each with its own paint, take turns."""
    one, other = table(kwargs={"repaints": True}), table(kwargs={"repaints": True})
    for seed in range(4):
        for adapter, number in ((one, seed), (other, seed + 10), (one, seed)):
            frame = adapter.reset(number).frames[0]
            fresh = render.Camera(adapter.model, (64, 64))
            np.testing.assert_array_equal(frame, fresh.draw(adapter.model, adapter.data, "top"))
            fresh.close()
        np.testing.assert_array_equal(other.observe().frames[0], other.reset(seed + 10).frames[0])
    assert len({one.reset(seed).frames.tobytes() for seed in range(4)}) == 4


def test_what_opengl_reports_is_an_error_and_no_frame(monkeypatch: pytest.MonkeyPatch):
    from OpenGL import GL

    adapter = table(size=56)
    adapter.reset(0)
    camera = render.camera(adapter._views._source, adapter.model, (56, 56))
    camera._gl.make_current()
    GL.glDeleteFramebuffers(1, [camera._context.offFBO])  # as the end of a copied renderer does, which has the same numbers
    with pytest.raises(ValueError, match=r"OpenGL reports error \d+, so no frame was drawn"):
        adapter.step(np.zeros((1, 2)))
    render._CAMERAS.pop(next(key for key, each in render._CAMERAS.items() if each is camera))
    camera.close()


class Sighted(Table):
    """Draws into its observation with a renderer of its own, which it makes current once, as dm_control does."""

    observation_space = gymnasium.spaces.Dict({"own": gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8)})  # type: ignore[assignment]

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        _, info = super().reset(seed=seed)
        if not hasattr(self, "renderer"):
            self.renderer = mujoco.Renderer(self.model, 32, 32)
            self.renderer._gl_context.make_current()
            self.renderer._gl_context.make_current = lambda: None
        return self.look(), info

    def step(self, action: np.ndarray):
        self.model.geom_rgba[0, 0] = 0.5 + 0.5 * action[0]
        return self.look(), 0.0, False, False, {"success": False}

    def look(self) -> dict[str, np.ndarray]:
        self.renderer.update_scene(self.data, "top")
        return {"own": self.renderer.render()}


def test_an_environment_that_draws_itself_is_not_disturbed_by_our_cameras():
    alone, both = (table(id=f"{__name__}:Sighted", cameras=cameras) for cameras in (("own",), ("own", "top")))
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 1, 2))
    seen = {}
    for name, adapter in (("alone", alone), ("both", both)):
        seen[name] = [adapter.reset(0).frames[0], *(adapter.step(action).observation.frames[0] for action in actions)]
        adapter.env.unwrapped.renderer._gl_context.free()  # type: ignore[attr-defined]
    for one, other in zip(*seen.values(), strict=True):
        np.testing.assert_array_equal(one, other)


class Dark(gymnasium.Env):
    """Draws nothing, for one of several reasons."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space, action_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8), gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, render_mode: str | None = None) -> None:
        """Does not keep the mode."""


class Plain(Dark):
    def __init__(self) -> None:
        """Takes no mode at all."""


class Modeless(Dark):
    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]


class Human(Dark):
    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = "human"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Dark, r"Dark never sets its render_mode; write `self\.render_mode = render_mode`"),
        (Plain, r"Plain never sets its render_mode; write `self\.render_mode = render_mode` in an __init__ that takes it"),
        (Modeless, r"metadata\['render_modes'\] of Modeless lacks 'rgb_array'; add it"),
        (Human, r"Human has the render_mode 'human', and frames need 'rgb_array'"),
    ],
)
@pytest.mark.parametrize("registered", [True, False])
def test_an_environment_that_cannot_render_says_what_to_write(kind: type, says: str, registered: bool):
    name = f"Etude{kind.__name__}-v0" if registered else f"{__name__}:{kind.__name__}"
    if registered:
        gymnasium.register(name, entry_point=kind)
    try:
        with pytest.raises(ValueError, match=rf"{says}.*; or name one of 'observation' in env\.cameras\."):
            Adapter(EnvConfig(id=name, cameras=("render",)))
        assert Adapter(EnvConfig(id=name, cameras=("observation",))).config.id == name
    finally:
        gymnasium.registry.pop(name, None)


def test_options_go_to_each_reset():
    adapter = table(reset_options={"task": 3})
    for seed in range(2):
        adapter.reset(seed)
        assert adapter._info["options"] == {"task": 3}
    plain = table()
    plain.reset(0)
    assert plain._info["options"] is None
