"""MuJoCo cameras that are fast with a software renderer.

Shadows and multisampling make a software renderer 6 to 30 times slower, and change a frame by a few grey levels on average. So they are off unless
a video is made (`pretty`).
"""

import contextlib
import functools
import os
import zlib
from collections.abc import Iterator
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
            with _others_context_kept():
                self._gl = mujoco.GLContext(width, height)
                self._gl.make_current()
                self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
                mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
                _OURS.add(_current())
        except Exception as error:  # each backend has its own error types
            raise ValueError(MISSING.format(backend=os.environ.get("MUJOCO_GL", "(unset)"), why=error, install=backend.INSTALL)) from error
        model.vis.quality.shadowsize, model.vis.quality.offsamples = shadows, samples
        model.vis.global_.offwidth, model.vis.global_.offheight = own_width, own_height
        self._paint = paint_checksum(model)  # of the textures that the driver holds
        self._scene = mujoco.MjvScene(model, maxgeom=MAX_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = pretty
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = pretty
        self._option, self._perturb, self._view = mujoco.MjvOption(), mujoco.MjvPerturb(), mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)

    def draw(self, model: Any, data: Any, camera: Any, groups: tuple[int, ...] = (), paint: int | None = None) -> np.ndarray:
        """Return a fresh uint8[h, w, 3] frame of a camera, RGB, first row on top.

        Args:
            model: MuJoCo's MjModel.
            data: MuJoCo's MjData.
            camera: its name, or an MjvCamera.
            groups: of the geoms to draw; empty: 0, 1 and 2, MuJoCo's default.
            paint: `paint_checksum(model)`; if it differs from that of the last frame, textures are uploaded again. None: they are as they were.

        Raises:
            ValueError: OpenGL reports an error, so what was read is no frame.
        """
        if isinstance(camera, str):
            self._view.fixedcamid = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
            camera = self._view
        self._option.geomgroup[:] = visible(groups)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, self._option, self._perturb, camera, everything, self._scene)
        with _others_context_kept():
            self._gl.make_current()
            if paint not in (None, self._paint):
                self._upload(model)
                self._paint = paint
            mujoco.mjr_render(self._rect, self._scene, self._context)
            mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
            if code := mujoco.mjr_getError():
                raise ValueError(f"OpenGL reports error {code}, so no frame was drawn; does the environment free or copy renderers of its own?")
        return self._pixels[::-1].copy()  # OpenGL counts rows from below

    def _upload(self, model: Any) -> None:
        """Upload textures and height fields again."""
        for texture in range(model.ntex):
            mujoco.mjr_uploadTexture(model, self._context, texture)
        for field in range(model.nhfield):
            mujoco.mjr_uploadHField(model, self._context, field)

    def close(self) -> None:
        """Free what the graphics driver holds."""
        with _others_context_kept():
            self._gl.make_current()
            _OURS.discard(_current())
            self._context.free()
            self._gl.free()


@contextlib.contextmanager
def _others_context_kept() -> Iterator[None]:
    """Make the GL context of somebody else current again afterwards: dm_control makes its own current once, and then takes it for granted."""
    before = _current()
    if before in (0, *_OURS):
        yield
        return
    from OpenGL import EGL

    which = EGL.eglGetCurrentDisplay(), EGL.eglGetCurrentSurface(EGL.EGL_DRAW), EGL.eglGetCurrentSurface(EGL.EGL_READ), EGL.eglGetCurrentContext()
    try:
        yield
    finally:
        EGL.eglMakeCurrent(*which)


def _current() -> int:
    """Return the address of the GL context that is current in this thread; 0 if there is none, or if the backend is not EGL."""
    if os.environ.get("MUJOCO_GL") != "egl":
        return 0
    from OpenGL import EGL

    context = EGL.eglGetCurrentContext()
    return context.address if context else 0  # a null context has no address


def pending_error() -> int:
    """Return the code of an error in the current GL context that nobody has asked about; 0 if there is none, or no context."""
    if _current() in (0, *_OURS):
        return 0
    from OpenGL import GL

    return int(GL.glGetError() or 0)


@functools.cache
def visible(groups: tuple[int, ...]) -> np.ndarray:
    """Return uint8[6], 1 for each group of geoms that is drawn; without groups those that MuJoCo draws by default. It is shared: do not change it."""
    return np.isin(np.arange(mujoco.mjNGROUP), groups or (0, 1, 2)).astype(np.uint8)


_OURS: set[int] = set()  # addresses of the GL contexts of our cameras
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
    """Return a checksum of the parts of a model that are uploaded once, when a camera is made: meshes, planes, and the sizes of textures."""
    planes = model.geom_size[model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE.value]
    sizes = (model.tex_type, model.tex_height, model.tex_width, model.hfield_nrow, model.hfield_ncol, model.hfield_size)
    return _checksum(model.mesh_vert, model.mesh_face, model.mesh_texcoord, planes, *sizes)


def paint_checksum(model: Any) -> int:
    """Return a checksum of the parts that are uploaded again where they have changed: pixels of textures, heights of height fields."""
    return _checksum(model.tex_data, model.hfield_data)


def _checksum(*parts: np.ndarray) -> int:
    return functools.reduce(lambda checksum, part: zlib.crc32(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data, checksum), parts, 0)


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


def free_camera(lookat: tuple[float, float, float], distance: float, azimuth: float, elevation: float) -> Any:
    """Return the MjvCamera that looks at a point [3], metres, from a distance, metres, in a direction, degrees."""
    view = mujoco.MjvCamera()
    view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FREE, -1
    view.lookat[:], view.distance, view.azimuth, view.elevation = lookat, distance, azimuth, elevation
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
    physics = physics_of(env)
    return (physics.model.ptr, physics.data.ptr) if physics is not None else (None, None)


def physics_of(env: gymnasium.Env) -> Any:
    """Return dm_control's Physics of an environment; None if it has none."""
    inner: Any = env.unwrapped
    found = (getattr(holder, "physics", None) for holder in (inner, getattr(inner, "_env", None)))
    return next((physics for physics in found if isinstance(getattr(getattr(physics, "model", None), "ptr", None), mujoco.MjModel)), None)
