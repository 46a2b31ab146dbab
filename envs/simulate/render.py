"""Cameras: which GL backend draws, and how to draw fast in software.

Shadows and multisampling cost a software renderer 6 to 30 times its speed and change a frame by a few grey levels on
average, so they are off unless a film is made (`pretty`).
"""

import functools
import os
import zlib
from typing import Any

import gymnasium

from envs.simulate import backend

BROKEN = backend.choose()  # before MuJoCo is imported

import mujoco as _mujoco  # noqa: E402
import numpy as np  # noqa: E402

mujoco: Any = _mujoco  # its stubs lack most of what is used here

KEPT = 32  # cameras at a time
SHAPES = 10_000  # in a scene, as MuJoCo's own Renderer has it: sites, tendons and skins are drawn beside geoms, and what is too many is left out
MISSING = "No frame can be drawn with MUJOCO_GL={backend}: {why}. To mend it, {install}, then set MUJOCO_GL=egl."


class Camera:
    """Draws frames of models that came from one XML file; every copy of a task shares one GL context.

    Args:
        model: the model whose geometry is uploaded; later models must differ in poses and colours only.
        size: height and width of a frame, in pixels.
        pretty: shadows and 4x multisampling on, for films.
    """

    def __init__(self, model: Any, size: tuple[int, int], pretty: bool = False) -> None:
        if BROKEN:
            raise ValueError(BROKEN)
        height, width = size
        shadows, samples = model.vis.quality.shadowsize, model.vis.quality.offsamples
        own_width, own_height = model.vis.global_.offwidth, model.vis.global_.offheight
        if not pretty:  # both are read when the context is made, never later
            model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
        model.vis.global_.offwidth, model.vis.global_.offheight = max(width, 64), max(height, 64)
        try:
            self._gl = mujoco.GLContext(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        except Exception as error:  # each backend raises a type of its own
            raise ValueError(MISSING.format(backend=os.environ.get("MUJOCO_GL", "(unset)"), why=error, install=backend.INSTALL)) from error
        model.vis.quality.shadowsize, model.vis.quality.offsamples = shadows, samples
        model.vis.global_.offwidth, model.vis.global_.offheight = own_width, own_height
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=SHAPES)
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
    """Return this process's camera for models made from `source` (any name that stands for one geometry)."""
    key = (source, size, pretty)
    if key not in _CAMERAS:
        if len(_CAMERAS) >= KEPT:  # an environment that makes a new scene at every reset
            _CAMERAS.pop(next(iter(_CAMERAS))).close()
        _CAMERAS[key] = Camera(model, size, pretty)
    return _CAMERAS[key]


def uploaded(model: Any) -> int:
    """Return a checksum of what the graphics driver gets of a model once, when a camera is made: meshes, textures, height fields, planes."""
    planes = model.geom_size[model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE.value]
    parts = (model.mesh_vert, model.mesh_face, model.mesh_texcoord, model.tex_data, model.hfield_data, planes)
    return functools.reduce(lambda sum_, part: zlib.crc32(part.tobytes(), sum_), parts, 0)


def view_of(env: Any, model: Any) -> Any:
    """Return an MjvCamera that looks as the `render()` of a Gymnasium MuJoCo environment does; None for other environments.

    Where the environment leaves the point to look at open, Gymnasium takes the median of its geoms at the first frame, which depends on the first
    episode; here it is that of the model's rest position, so that the same seed gives the same frame always.
    """
    inner = env.unwrapped
    drawing = (each for each in (inner, *vars(inner).values()) if hasattr(each, "mujoco_renderer"))  # mazes and kitchens hold another environment
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
    view.type = mujoco.mjtCamera.mjCAMERA_FREE  # as Gymnasium does, whatever the config says
    return view


def renderer_name() -> str:
    """Return the GL renderer's own name, such as 'llvmpipe (LLVM 15.0.6, 256 bits)'; empty before the first camera."""
    if not _CAMERAS:
        return ""
    from OpenGL import GL

    return (GL.glGetString(GL.GL_RENDERER) or b"").decode()


def mujoco_of(env: gymnasium.Env) -> tuple[Any, Any]:
    """Return MuJoCo's own model and data of an environment, of dm_control behind Shimmy too; (None, None) where there are none."""
    inner: Any = env.unwrapped
    for holder in (inner, getattr(inner, "_env", None)):
        if isinstance(getattr(holder, "model", None), mujoco.MjModel):
            return holder.model, holder.data  # type: ignore[union-attr]
        physics = getattr(holder, "physics", None)
        if physics is not None:
            return physics.model.ptr, physics.data.ptr
    return None, None
