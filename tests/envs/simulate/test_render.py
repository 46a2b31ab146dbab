"""Cameras: fast frames look like pretty ones, belong to their caller, and come from the right environment."""

import copy

import gymnasium
import numpy as np
import pytest

import envs
from envs.adapt import Adapter, EnvConfig
from envs.simulate import render
from envs.simulate.render import mujoco


def scene(task: str = envs.TASKS[0], seed: int = 0):
    env = gymnasium.make(task, cameras=())
    env.reset(seed=seed)
    return env, env.unwrapped


BOARD = """<mujoco><asset><texture name="t" type="2d" builtin="checker" width="64" height="64" rgb1="{}" rgb2="0 0 0"/>
<material name="m" texture="t" texrepeat="4 4"/></asset><worldbody><light pos="0 0 3"/>
<geom type="plane" size="{} 1 1" material="m"/><camera name="top" pos="0 0 2"/></worldbody></mujoco>"""


def test_a_scene_is_drawn_with_its_own_textures_however_many_there_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(render, "MAX_CAMERAS", 2)
    monkeypatch.setattr(render, "_CAMERAS", {})
    boards = {name: mujoco.MjModel.from_xml_string(BOARD.format(rgb, size)) for name, rgb, size in (
        ("red", "1 0 0", 1), ("blue", "0 0 1", 1), ("green", "0 1 0", 1), ("narrow", "1 0 0", 0.2)
    )}  # fmt: skip
    geometries = {name: render.geometry_checksum(model) for name, model in boards.items()}
    assert geometries["red"] == geometries["blue"] == geometries["green"] != geometries["narrow"]
    assert len({render.paint_checksum(model) for model in boards.values()}) == 3
    seen = {}
    for name in ("red", "blue", "green", "narrow", "red", "blue"):
        model = boards[name]
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        camera = render.camera(f"board {geometries[name]}", model, (32, 32))
        frame = camera.draw(model, data, "top", paint=render.paint_checksum(model))
        np.testing.assert_array_equal(frame, seen.setdefault(name, frame))
        assert len(render._CAMERAS) <= 2
    for camera in render._CAMERAS.values():
        camera.close()
    brightest = {name: int(frame.sum((0, 1)).argmax()) for name, frame in seen.items()}
    assert brightest == {"red": 0, "blue": 2, "green": 1, "narrow": 0} and not np.array_equal(seen["red"], seen["narrow"])


@pytest.mark.parametrize("task", envs.TASKS)
@pytest.mark.parametrize("name", ["front", "wrist"])
def test_fast_and_pretty_frames_differ_a_little(task: str, name: str):
    env, inner = scene(task)
    fast, pretty = (render.camera(inner.source, inner.model, (64, 64), p).draw(inner.model, inner.data, name).astype(int) for p in (False, True))
    assert 0 < np.abs(fast - pretty).mean() < 8  # grey levels of 255
    assert np.abs(fast - pretty).mean() < fast.std() / 4
    env.close()


def test_a_frame_is_a_fresh_copy():
    env, inner = scene()
    camera = render.camera(inner.source, inner.model, (64, 64))
    first = camera.draw(inner.model, inner.data, "front")
    kept = first.copy()
    for _ in range(5):
        env.step(np.ones(3, np.float32))
    second = camera.draw(inner.model, inner.data, "front")
    assert not np.shares_memory(first, second)
    assert (first == kept).all() and (first != second).any()
    assert first.flags.c_contiguous and first.dtype == np.uint8
    env.close()


@pytest.mark.parametrize("task", envs.TASKS)
def test_interleaved_environments_draw_as_if_they_were_alone(task: str):
    """Every copy of a task shares one GL context, and tasks share a process: none may see the other's scene."""
    other = envs.TASKS[(envs.TASKS.index(task) + 1) % len(envs.TASKS)]
    configs = [EnvConfig(id=task), EnvConfig(id=task), EnvConfig(id=other, size=96)]
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 2, 4)).astype(np.float32)

    def play(adapter: Adapter, seed: int):
        yield adapter.reset(seed).frames
        for action in actions:
            yield adapter.step(action[:, : len(adapter.actions)]).observation.frames

    alone = [list(play(Adapter(config), seed)) for seed, config in enumerate(configs)]
    together = zip(*(play(Adapter(config), seed) for seed, config in enumerate(configs)), strict=True)
    for moment, frames in enumerate(together):
        for i, frame in enumerate(frames):
            assert (frame == alone[i][moment]).all()
    assert (alone[0][0] != alone[1][0]).any()


def test_frames_are_rgb_with_the_first_row_on_top():
    model = mujoco.MjModel.from_xml_string("""<mujoco><worldbody>
        <camera name="above" pos="0 0 2"/><light pos="0 0 3"/>
        <geom size=".2" pos="-.4 .4 0" rgba="1 0 0 1"/><geom size=".2" pos=".4 -.4 0" rgba="0 0 1 1"/>
    </worldbody></mujoco>""")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    frame = render.Camera(model, (64, 64)).draw(model, data, "above")  # x points right, y points up
    assert frame[:32, :32, 0].max() > 100 > frame[32:, :, 0].max()
    assert frame[32:, 32:, 2].max() > 100 > frame[:32, :, 2].max()


def test_what_is_drawn_beside_geoms_is_not_left_out():
    sites = "".join(f'<site pos="{x / 50 - 1} 0 0" size="0.04" rgba="1 0 0 1"/>' for x in range(100))
    model = mujoco.MjModel.from_xml_string(f'<mujoco><worldbody><camera name="top" pos="0 0 3"/><geom size="0.1"/>{sites}</worldbody></mujoco>')
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    frame = render.camera("many sites", model, (64, 64)).draw(model, data, "top").astype(int)
    assert (frame[..., 0] - frame[..., 1] > 40).any(axis=0)[8:-8].sum() > 40  # red from the left edge to the right, less the geom
    copy.copy(data)  # a full scene leaves MuJoCo's stack in use, and then this raises


def test_without_a_renderer_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: int):
        raise RuntimeError("no EGL device")

    env, inner = scene()
    monkeypatch.setattr(render.mujoco, "GLContext", broken)
    with pytest.raises(ValueError, match=r"no EGL device.*apt-get install"):
        render.Camera(inner.model, (64, 64))
    env.close()
