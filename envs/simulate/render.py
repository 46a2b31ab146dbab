"""MuJoCo cameras that are fast with a software renderer.

Shadows and multisampling make a software renderer 6 to 30 times slower, and change a frame by a few grey levels on average. So they are off unless
a video is made (`pretty`).
"""

import functools
import os
import zlib
from typing import Any

import gymnasium

from envs.simulate import backend

PROBLEM = backend.choose()  # before MuJoCo is imported; empty if a backend works

import mujoco as _mujoco  # noqa: E402
import numpy as np  # noqa: E402

mujoco: Any = _mujoco  # its type stubs lack most names used here

MAX_CAMERAS = 32  # in the cache below
MAX_GEOMS = 10_000  # in a scene, as in MuJoCo's Renderer; sites, tendons and skins count too, and any beyond this number are not drawn
MISSING = "No frame can be drawn with MUJOCO_GL={backend}: {why}. To fix it, {install}, then set MUJOCO_GL=egl."


class Camera:
    """Draws frames of models from one XML file. All environments of a task use the same camera, and so the same GL context.

    Args:
        model: the model whose geometry is uploaded to the graphics driver; models drawn later may differ from it in poses and colours only.
        size: height and width of a frame, pixels.
        pretty: shadows and 4x multisampling, for videos.

    Raises:
        ValueError: no frame can be drawn on this machine.
    """

    def __init__(self, model: Any, size: tuple[int, int], pretty: bool = False) -> None:
        if PROBLEM:
            raise ValueError(PROBLEM)
        height, width = size
        shadows, samples = model.vis.quality.shadowsize, model.vis.quality.offsamples
        own_width, own_height = model.vis.global_.offwidth, model.vis.global_.offheight
        # The context reads these four settings when it is made, and never later. The model is shared, so they are restored below.
        if not pretty:
            model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
        model.vis.global_.offwidth, model.vis.global_.offheight = max(width, 64), max(height, 64)
        try:
            self._gl = mujoco.GLContext(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        except Exception as error:  # each backend has its own error types
            raise ValueError(MISSING.format(backend=os.environ.get("MUJOCO_GL", "(unset)"), why=error, install=backend.INSTALL)) from error
        model.vis.quality.shadowsize, model.vis.quality.offsamples = shadows, samples
        model.vis.global_.offwidth, model.vis.global_.offheight = own_width, own_height
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=MAX_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = pretty
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = pretty
        self._option, self._perturb, self._view = mujoco.MjvOption(), mujoco.MjvPerturb(), mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)

    def draw(self, model: Any, data: Any, camera: Any) -> np.ndarray:
        """Return a fresh uint8[h, w, 3] frame of a camera (its name, or an MjvCamera), RGB, first row on top."""
        self._gl.make_current()
        if isinstance(camera, str):
            self._view.fixedcamid = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
            camera = self._view
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, self._option, self._perturb, camera, everything, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return self._pixels[::-1].copy()  # OpenGL counts rows from below

    def close(self) -> None:
        """Free what the graphics driver holds."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()


_CAMERAS: dict[tuple[str, tuple[int, int], bool], Camera] = {}


def camera(source: str, model: Any, size: tuple[int, int], pretty: bool = False) -> Camera:
    """Return the camera of this process for models with the geometry of `source`.

    Args:
        source: a name for the geometry; models with equal names share a camera.
        model: one of them; used if the camera must be made.
        size: height and width of a frame, pixels.
        pretty: shadows and multisampling.
    """
    key = (source, size, pretty)
    if key not in _CAMERAS:
        if len(_CAMERAS) >= MAX_CAMERAS:  # reached by environments that make a new scene at every reset
            _CAMERAS.pop(next(iter(_CAMERAS))).close()
        _CAMERAS[key] = Camera(model, size, pretty)
    return _CAMERAS[key]


def geometry_checksum(model: Any) -> int:
    """Return a checksum of the parts of a model that are uploaded when a camera is made: meshes, textures, height fields, planes."""
    planes = model.geom_size[model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE.value]
    parts = (model.mesh_vert, model.mesh_face, model.mesh_texcoord, model.tex_data, model.hfield_data, planes)
    return functools.reduce(lambda checksum, part: zlib.crc32(part.tobytes(), checksum), parts, 0)


def view_of(env: Any, model: Any) -> Any:
    """Return an MjvCamera with the view that `render()` of a Gymnasium MuJoCo environment has; None for other environments.

    If the environment does not define the point to look at, Gymnasium uses the median position of the geoms at the first frame, which depends on the
    first episode. Here it is their median in the model's rest position, so a seed always gives the same frame.
    """
    inner = env.unwrapped
    drawing = (each for each in (inner, *vars(inner).values()) if hasattr(each, "mujoco_renderer"))  # mazes and kitchens wrap another one
    renderer: Any = getattr(next(drawing, None), "mujoco_renderer", None)
    if model is None or not hasattr(renderer, "default_cam_config") or not hasattr(renderer, "camera_id"):
        return None
    view = mujoco.MjvCamera()
    if renderer.camera_id not in (None, -1):
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, renderer.camera_id
        return view
    rest = mujoco.MjData(model)
    mujoco.mj_kinematics(model, rest)
    view.type, view.fixedcamid, view.distance = mujoco.mjtCamera.mjCAMERA_FREE, -1, model.stat.extent
    view.lookat[:] = np.median(rest.geom_xpos, axis=0)
    for name, value in (renderer.default_cam_config or {}).items():
        if isinstance(value, np.ndarray):
            getattr(view, name)[:] = value
        else:
            setattr(view, name, value)
    view.type = mujoco.mjtCamera.mjCAMERA_FREE  # the settings above may have changed it; Gymnasium does the same
    return view


def renderer_name() -> str:
    """Return the name of the GL renderer, such as 'llvmpipe (LLVM 15.0.6, 256 bits)'; empty before the first camera is made."""
    if not _CAMERAS:
        return ""
    from OpenGL import GL

    return (GL.glGetString(GL.GL_RENDERER) or b"").decode()


def mujoco_of(env: gymnasium.Env) -> tuple[Any, Any]:
    """Return MuJoCo's MjModel and MjData of an environment, also of dm_control behind Shimmy; (None, None) if it has none."""
    inner: Any = env.unwrapped
    for holder in (inner, getattr(inner, "_env", None)):
        if isinstance(getattr(holder, "model", None), mujoco.MjModel):
            return holder.model, holder.data  # type: ignore[union-attr]
        physics = getattr(holder, "physics", None)
        if physics is not None:
            return physics.model.ptr, physics.data.ptr
    return None, None
