"""Things: they are where the pictures show them."""

import numpy as np
import pytest

from envs import TASKS, EnvConfig
from envs.adapt import Adapter
from envs.simulate.objects import find
from envs.simulate.render import mujoco
from envs.tasks.base import COLOURS


@pytest.mark.parametrize("task", TASKS)
def test_a_thing_is_where_its_colour_is(task: str) -> None:
    """Project with our geometry, then look at the renderer's pixel: an oracle that shares no code with the projection."""
    adapter, hits, looked = Adapter(EnvConfig(id=task, size=128)), 0, 0
    for seed in range(20):
        frames = adapter.reset(49_500_000 + seed).frames
        for thing in find(adapter.model, adapter.data, adapter.mujoco_cameras):
            for frame, pixel in zip(frames, thing.pixels, strict=True):
                if thing.colour in COLOURS and pixel is not None:
                    x, y = np.minimum((pixel * 128).astype(int), 127)
                    shown = frame[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(-1, 3) / 255.0
                    nearest = [min(COLOURS, key=lambda c: float(np.abs(rgb / rgb.max() - np.array(COLOURS[c][:3])).sum())) for rgb in shown]
                    looked, hits = looked + 1, hits + (thing.colour in nearest)
    assert looked > 60 and hits / looked > 0.9


def test_a_free_camera_sees_where_its_picture_shows() -> None:
    """Reacher is drawn as its `render()` looks, by no camera of the model; its target is painted blue here, as nothing else is."""
    adapter = Adapter(EnvConfig(id="Reacher-v5", cameras=("render",), size=128, instruction="reach", success="reward > 1"))
    adapter.model.geom("target").rgba = 0, 0, 1, 1
    adapter.mujoco_cameras[0].azimuth, adapter.mujoco_cameras[0].elevation = 130, -60  # from nowhere in particular
    for seed in range(10):
        frame = adapter.reset(seed).frames[0].astype(float)
        target = next(thing for thing in find(adapter.model, adapter.data, adapter.mujoco_cameras) if thing.name == "blue target")
        blue = np.argwhere((frame[..., 2] > 2 * frame[..., 0]) & (frame[..., 2] > 2 * frame[..., 1]))
        assert len(blue) and target.pixels[0] is not None and np.abs(target.pixels[0][::-1] * 128 - blue.mean(axis=0)).max() < 2.5


def test_robots_that_are_led_by_a_mocap_body_are_no_things() -> None:
    """As in Fetch and Meta-World: a weld to a body that the environment moves is what drives the arm; sites of the world are things."""
    model = mujoco.MjModel.from_xml_string("""
        <mujoco><worldbody>
            <site name="goal" pos="0.3 0 0.1"/> <geom name="floor" type="plane" size="1 1 0.1"/>
            <camera name="front" pos="0 -2 1" xyaxes="1 0 0 0 0.45 0.9"/>
            <body name="handle" mocap="true" pos="0 0 0.5"><site name="grip"/></body>
            <body name="arm"><joint/><geom size="0.05"/><body name="finger" pos="0 0 0.5"><joint/><geom size="0.02"/></body></body>
            <body name="block_1" pos="0.2 0 0.1"><freejoint/><geom size="0.04" rgba="0.9 0.1 0.1 1"/></body>
        </worldbody><equality><weld body1="handle" body2="finger"/></equality></mujoco>""")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    objects = {thing.name: thing for thing in find(model, data, ("front",))}
    assert set(objects) == {"red block", "goal", "tool"} and np.allclose(objects["tool"].position, [0, 0, 0.5])
    assert all(thing.pixels[0] is not None for thing in objects.values())


def test_what_is_behind_the_hand_is_not_asked_for() -> None:
    adapter = Adapter(EnvConfig())
    hidden = 0
    for seed in range(60):
        adapter.reset(49_800_000 + seed)
        hidden += sum(thing.pixels[0] is None for thing in find(adapter.model, adapter.data, ("front", "wrist")))
    assert hidden > 0


@pytest.mark.parametrize(("group", "groups", "hidden"), [(3, (), False), (0, (), True), (0, (1, 2), False), (1, (1, 2), True)])
def test_only_what_is_drawn_hides(group: int, groups: tuple[int, ...], hidden: bool) -> None:
    model = mujoco.MjModel.from_xml_string(f"""
        <mujoco><worldbody>
            <camera name="front" pos="0 -2 0.1" xyaxes="1 0 0 0 0 1"/>
            <body name="block" pos="0 0 0.1"><freejoint/><geom size="0.04" rgba="0.9 0.1 0.1 1" group="2"/></body>
            <geom type="box" size="0.5 0.01 0.5" pos="0 -1 0" group="{group}"/>
        </worldbody></mujoco>""")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    block = next(thing for thing in find(model, data, ("front",), groups=groups) if thing.name == "red block")
    assert (block.pixels[0] is None) == hidden
