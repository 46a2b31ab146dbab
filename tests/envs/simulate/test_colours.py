"""Colours of bodies: as a person would name them who looks at the frame."""

from typing import Any

import numpy as np
import pytest

from envs.simulate.colours import colour_of, named
from envs.simulate.render import Camera, mujoco
from envs.tasks.base import COLOURS

MODEL = """
<mujoco>
  <asset>
    <texture name="grass" type="cube" builtin="flat" rgb1="0.1 0.5 0.1" rgb2="0.1 0.5 0.1" width="64" height="64"/>
    <texture name="light" type="2d" builtin="flat" rgb1="0.9 0.9 0.9" width="512" height="512"/>
    <material name="grass" texture="grass"/> <material name="painted" texture="light" rgba="0.9 0.2 0.1 1"/>
    <material name="plain" rgba="0.2 0.3 0.9 1"/>
  </asset>
  <worldbody>
    <light pos="0 0 3"/> <camera name="top" pos="0 0 2"/>
    <body name="cube">{}</body>
  </worldbody>
</mujoco>"""
BOX = '<geom type="box" size="0.2 0.2 0.2" {}/>'


def body(*geoms: str) -> tuple[Any, Any, int]:
    model = mujoco.MjModel.from_xml_string(MODEL.format("".join(BOX.format(each) for each in geoms)))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data, model.body("cube").id


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_of_the_own_tasks_have_their_names(colour: str) -> None:
    assert named(*COLOURS[colour][:3]) == colour


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0.05, 0.3, 0.05), "green"),  # dark, and nearer to black by its numbers
        ((0.95, 0.75, 0.75), "white"),  # a red that is nearly white
        ((0.4, 0.05, 0.05), "red"),
        ((1, 0, 0.05), "red"),  # on the far side of the circle of hues
        ((0.02, 0.0, 0.0), "black"),
        ((0, 0, 0), "black"),
        ((1, 1, 1), "white"),
        ((0.5, 0.5, 0.52), "grey"),
        ((1, 0.5, 0), "orange"),
    ],
)
def test_a_shade_has_the_name_of_its_hue(rgb: tuple[float, float, float], name: str) -> None:
    assert named(*rgb) == name


@pytest.mark.parametrize(
    ("geoms", "groups", "name"),
    [
        (('material="grass"',), (), "green"),  # white times its texture
        (('material="painted"',), (), "red"),  # a light texture under red paint
        (('material="plain"',), (), "blue"),
        (('material="plain" rgba="1 0.1 0.1 1"',), (), "red"),  # a colour of its own beside a material's
        (('rgba="1 0 0 1" group="3"', 'rgba="0 0 1 1"'), (), "blue"),  # MuJoCo does not draw group 3
        (('rgba="1 0 0 1" group="0"', 'rgba="0 0 1 1" group="1"'), (1, 2), "blue"),  # robosuite's collision shapes
        (('rgba="1 0 0 0"', 'rgba="0 0.6 0 1"'), (), "green"),
        (('rgba="1 0 0 1" group="4"',), (), ""),
    ],
)
def test_the_name_is_of_what_is_drawn(geoms: tuple[str, ...], groups: tuple[int, ...], name: str) -> None:
    """The middle of a frame shows the colour of the name, or the black background."""
    model, data, cube = body(*geoms)
    assert colour_of(model, cube, groups) == name
    middle = Camera(model, (64, 64)).draw(model, data, "top", groups)[28:36, 28:36].reshape(-1, 3).mean(0) / 255
    assert named(*map(float, middle)) == (name or "black")


def test_a_mesh_is_named_by_its_part_of_a_texture() -> None:
    """Left half red, right half blue; the texture coordinates of the mesh lie in one half."""
    asset = """<texture name="halves" type="2d" builtin="flat" width="64" height="64"/> <material name="halves" texture="halves"/>
        <mesh name="part" vertex="0 0 0 1 0 0 0 1 0 0 0 1" texcoord="{0} .1 {0} .2 {0} .8 {0} .9"/>"""
    for u, colour in ((0.2, "red"), (0.8, "blue"), (1.2, "red")):  # beyond 1 a texture begins again
        text = MODEL.format('<geom type="mesh" mesh="part" material="halves"/>').replace("</asset>", asset.format(u) + "</asset>")
        model = mujoco.MjModel.from_xml_string(text)
        pixels = model.tex_data[int(model.tex_adr[model.texture("halves").id]) :].reshape(64, 64, 3)
        pixels[:, :32], pixels[:, 32:] = (220, 20, 20), (20, 20, 220)
        assert colour_of(model, model.body("cube").id) == colour


def test_a_large_texture_is_named_by_all_of_it() -> None:
    model, _, cube = body('material="painted"')
    rng, pixels = np.random.default_rng(0), model.tex_data[int(model.tex_adr[model.texture("light").id]) :].reshape(-1, 3)
    pixels[:] = np.where(rng.random((len(pixels), 1)) < 0.3, [255, 255, 255], [0, 0, 0])  # speckled: dark red in the mean
    assert colour_of(model, cube) == "red"
