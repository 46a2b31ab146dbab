"""Names the colour in which a body of a MuJoCo model is drawn."""

import colorsys
from typing import Any

import numpy as np

from envs.simulate.render import mujoco, visible

HUES = {"red": 0, "orange": 30, "yellow": 52, "green": 125, "blue": 230, "purple": 290}  # degrees; a colour gets the name of the nearest one
GREYS = {"black": 0.15, "grey": 0.55, "white": 0.95}  # brightness of what has no hue
FAINT = 0.3  # least saturation of a hue
DARK = 0.12  # brightness below which everything is black
UNSET = (0.5, 0.5, 0.5, 1)  # MuJoCo's default of a geom's colour; any other takes the place of its material's
SAMPLE = 4096  # pixels of a texture that are looked at


def colour_of(model: Any, body: int, groups: tuple[int, ...] = ()) -> str:
    """Return the name of a body's colour, which is that of its first geom that is drawn; empty if none is.

    Args:
        model: MuJoCo's MjModel.
        body: its index.
        groups: of the geoms that are drawn (`env.geom_groups`); empty: MuJoCo's default.
    """
    first, drawn = int(model.body_geomadr[body]), visible(groups)
    geoms = range(first, first + int(model.body_geomnum[body]))
    paints = (_paint(model, geom) for geom in geoms if drawn[model.geom_group[geom]])
    return next((named(*rgba[:3]) for rgba in paints if rgba[3] > 0.1), "")  # more transparent ones are collision geometry or markers


def named(red: float, green: float, blue: float) -> str:
    """Return the name of a colour, RGB in [0, 1]: by its hue, so that shade and light do not matter, or by its brightness where it has none."""
    hue, saturation, brightness = colorsys.rgb_to_hsv(red, green, blue)
    if saturation < FAINT or brightness < DARK:
        return min(GREYS, key=lambda grey: abs(GREYS[grey] - brightness))
    return min(HUES, key=lambda name: abs((360 * hue - HUES[name] + 180) % 360 - 180))  # hues lie on a circle


def _paint(model: Any, geom: int) -> np.ndarray:
    """Return a geom's colour, float64[4], RGBA in [0, 1]: its own or that of its material, times the mean of the texture if it has one."""
    rgba, material = model.geom_rgba[geom].astype(float), int(model.geom_matid[geom])
    if material < 0:
        return rgba
    if np.array_equal(rgba, UNSET):
        rgba = model.mat_rgba[material].astype(float)
    roles = model.mat_texid[material]
    texture = max(int(roles[mujoco.mjtTextureRole.mjTEXROLE_RGB]), int(roles[mujoco.mjtTextureRole.mjTEXROLE_RGBA]))
    if texture >= 0:
        rgba[:3] *= _pixels(model, geom, texture).mean(0) / 255
    return rgba


def _pixels(model: Any, geom: int, texture: int) -> np.ndarray:
    """Return uint8[N, 3 or 1] pixels of a texture: those at the vertices of a mesh that says which part of it belongs where, else of all of it."""
    start, channels = int(model.tex_adr[texture]), int(model.tex_nchannel[texture])
    width, height = int(model.tex_width[texture]), int(model.tex_height[texture])
    pixels = model.tex_data[start : start + width * height * channels].reshape(height, width, channels)[..., :3]
    mesh = int(model.geom_dataid[geom]) if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH else -1
    count, flat = int(model.mesh_texcoordnum[mesh]) if mesh >= 0 else 0, model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_2D
    if not count or not flat:
        return pixels.reshape(height * width, -1)[:: -(-height * width // SAMPLE)]
    first = int(model.mesh_texcoordadr[mesh])
    u, v = model.mesh_texcoord[first : first + count : -(-count // SAMPLE)].T % 1  # a texture repeats beyond its edges
    return pixels[(v * (height - 1)).astype(int), (u * (width - 1)).astype(int)]
