"""Finds objects that have a unique name in a MuJoCo simulation, and their positions in frames: for questions with automatic answers."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.simulate.colours import colour_of
from envs.simulate.render import mujoco, visible


@dataclass(frozen=True)
class SceneObject:
    """An object with a name that no other object in the scene has."""

    name: str
    """Colour and noun, 'red ball'; or the name of a site; or 'tool'."""
    colour: str
    """Name of its colour; empty for a site and for the tool."""
    position: np.ndarray
    """float64[3], in world coordinates, metres."""
    pixels: tuple[np.ndarray | None, ...]
    """For each camera float64[2], x and y from the top left, in [0, 1] of the frame; None if the object is hidden or outside."""


def find(
    model: Any, data: Any, cameras: tuple[Any, ...], tool: str = "", flips: tuple[str, ...] = (), groups: tuple[int, ...] = ()
) -> list[SceneObject]:
    """Return the objects with unique names: coloured bodies outside the robot, named sites that belong to neither, and the robot's tool.

    Args:
        model: MuJoCo's MjModel.
        data: MuJoCo's MjData.
        cameras: names, or MjvCameras.
        tool: name of the site or body that is the tool. Empty: the site or body `tool`, else the end of the robot's longest chain of bodies.
        flips: how the frames of each camera are turned over (`env.flip`); empty: none is.
        groups: of the geoms that are drawn (`env.geom_groups`), which have colours and hide what is behind them; empty: MuJoCo's default.

    Raises:
        ValueError: there is no site or body of the name `tool`.
    """
    robots, poses = _robots(model), tuple(_camera_pose(model, data, camera) for camera in cameras)

    def places(position: np.ndarray, body: int) -> tuple[np.ndarray | None, ...]:
        pixels = (_project(model, data, pose, position, body, groups) for pose in poses)
        return tuple(_turned(pixel, flip) for pixel, flip in zip(pixels, flips or [""] * len(poses), strict=True))

    apart = [body for body in range(1, model.nbody) if model.body_rootid[body] not in robots]
    phrases = {body: phrase for body in apart if (phrase := _phrase(model, body, groups))}
    objects = [
        SceneObject(phrase, phrase.split(" ")[0], data.xpos[body].copy(), places(data.xpos[body], body))
        for body, phrase in phrases.items()
        if list(phrases.values()).count(phrase) == 1  # two red balls: neither can be named
    ]
    # Sites mark targets and handles. One on a body that has a phrase itself would name the same object twice.
    sites = [_noun(model.site(site).name) for site in range(model.nsite)]
    for site, name in enumerate(sites):
        position, body = data.site_xpos[site], int(model.site_bodyid[site])
        if name and sites.count(name) == 1 and name != "tool" and model.body_rootid[body] not in robots and body not in phrases:
            objects.append(SceneObject(name, "", position.copy(), places(position, body)))
    position, body = _tool(model, data, tool)
    if body:
        objects.append(SceneObject("tool", "", position.copy(), places(position, body)))
    return objects


def has_tool(model: Any, name: str) -> bool:
    """Return whether there is a site or body of a name."""
    return any(mujoco.mj_name2id(model, kind, name) >= 0 for kind in (mujoco.mjtObj.mjOBJ_SITE, mujoco.mjtObj.mjOBJ_BODY))


def _tool(model: Any, data: Any, name: str) -> tuple[np.ndarray, int]:
    """Return the tool's position, float64[3], and the index of its body; 0, the world, if there is no robot.

    Raises:
        ValueError: there is no site or body of that name.
    """
    site, body = (mujoco.mj_name2id(model, kind, name or "tool") for kind in (mujoco.mjtObj.mjOBJ_SITE, mujoco.mjtObj.mjOBJ_BODY))
    if site >= 0:
        return data.site_xpos[site], int(model.site_bodyid[site])
    if body >= 0:
        return data.xpos[body], body
    if name:
        raise ValueError(f"ground.tool is {name!r}, and the environment has no site or body of that name; give one that it has, or leave it empty.")
    robots = _robots(model)
    robot = [body for body in range(1, model.nbody) if model.body_rootid[body] in robots]
    body = max(robot, key=lambda body: _depth(model, body), default=0)
    return data.xpos[body], body


def _depth(model: Any, body: int) -> int:
    """Return how many bodies are between a body and the world, itself included."""
    depth = 0
    while body:
        body, depth = int(model.body_parentid[body]), depth + 1
    return depth


def _phrase(model: Any, body: int, groups: tuple[int, ...]) -> str:
    """Return 'red ball' for the body `ball_3` that is drawn in red; empty for a body without a name, and for one that is not drawn."""
    name = _noun(model.body(body).name)
    colour = colour_of(model, body, groups) if name else ""
    return f"{colour} {name}" if colour else ""


def _noun(name: str) -> str:
    """Return the name of a body or site as text, 'drawer handle' for `drawerHandle_2`."""
    return re.sub(r"[_\W\d]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip().lower()


def _robots(model: Any) -> set[int]:
    """Return the root bodies of kinematic trees that are robots: driven by an actuated joint, or welded to a mocap body (Fetch, Meta-World)."""
    joints = model.actuator_trnid[model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT, 0]
    welds = (model.eq_type == mujoco.mjtEq.mjEQ_WELD) & (model.eq_objtype == mujoco.mjtObj.mjOBJ_BODY)
    pairs = np.stack([model.eq_obj1id[welds], model.eq_obj2id[welds]], 1)
    led = pairs[(model.body_mocapid[pairs] >= 0).any(1)]  # both bodies of such a weld: the mocap body is no object either
    return {int(root) for root in model.body_rootid[np.concatenate([model.jnt_bodyid[joints], led.ravel()])]}


def _camera_pose(model: Any, data: Any, camera: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Return a camera's float64[3] position, float64[3, 3] axes (columns: right, up, back) and vertical field of view in degrees.

    Args:
        model: MuJoCo's MjModel.
        data: MuJoCo's MjData.
        camera: its name, or an MjvCamera that is fixed or free.
    """
    if isinstance(camera, str) or camera.type == mujoco.mjtCamera.mjCAMERA_FIXED:
        index = model.camera(camera).id if isinstance(camera, str) else camera.fixedcamid
        return data.cam_xpos[index], data.cam_xmat[index].reshape(3, 3), float(model.cam_fovy[index])
    # A free camera looks at a point from a distance; MuJoCo computes its pose only while it draws.
    turn, tilt = np.radians([camera.azimuth, camera.elevation])
    ahead = np.array([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)])
    right = np.array([np.sin(turn), -np.cos(turn), 0.0])
    return camera.lookat - camera.distance * ahead, np.stack([right, np.cross(right, ahead), -ahead], 1), float(model.vis.global_.fovy)


def _turned(pixel: np.ndarray | None, flip: str) -> np.ndarray | None:
    """Return a place in a frame after the frame was turned over."""
    across = np.array([flip in ("horizontal", "both"), flip in ("vertical", "both")])
    return None if pixel is None else np.where(across, 1 - pixel, pixel)


def _project(
    model: Any, data: Any, pose: tuple[np.ndarray, np.ndarray, float], point: np.ndarray, body: int, groups: tuple[int, ...]
) -> np.ndarray | None:
    """Return float64[2], the position of a point in a square frame, in [0, 1]; None if it is outside or hidden.

    Args:
        model: MuJoCo's MjModel.
        data: MuJoCo's MjData.
        pose: of the camera, as `_camera_pose` returns it.
        point: float64[3], world, metres.
        body: the body that the point belongs to, which does not hide it.
        groups: of the geoms that may hide it; empty: MuJoCo's default.
    """
    origin, axes, field = pose
    x, y, z = axes.T @ (point - origin)
    if z >= 0:  # cameras look along -z
        return None
    half = -z * np.tan(np.radians(field) / 2)
    pixel = np.array([0.5 + 0.5 * x / half, 0.5 - 0.5 * y / half])
    if (pixel < 0).any() or (pixel > 1).any():
        return None
    ray, hit = point - origin, np.zeros(1, np.int32)  # `hit`: the geom that the ray meets first, -1 for none
    distance = mujoco.mj_ray(model, data, origin, ray / np.linalg.norm(ray), visible(groups), 1, -1, hit)
    own = hit[0] >= 0 and model.geom_bodyid[hit[0]] == body
    # A hit within 3 cm of the point does not hide it: sites often lie on the surface of another body, or just inside.
    return pixel if own or distance < 0 or distance > np.linalg.norm(ray) - 0.03 else None
