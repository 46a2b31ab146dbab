"""Where the frames of an environment come from: cameras of MuJoCo, pictures in the observation, or its own `render()`."""

from typing import Any

import gymnasium
import numpy as np

from envs import EnvConfig
from envs.frames import PictureSpec, flipped, likely, picture, pictures, space_of, value_range, view
from envs.simulate import render


class Views:
    """The sources of frames of one environment (`env.cameras`).

    Args:
        env: the environment, with its wrappers.
        config: the section `env`.

    Raises:
        ValueError: a source does not exist, or a key of the config does not fit the sources.
    """

    def __init__(self, env: gymnasium.Env, config: EnvConfig) -> None:
        self._env, self._config = env, config
        self.model: Any = None
        """MuJoCo's MjModel; None where the environment has none."""
        self.data: Any = None
        """MuJoCo's MjData, likewise."""
        self._view: Any = None  # MjvCamera with the view of the environment's `render()`
        self._geometry, self._paint, self._source = 0, 0, ""
        self._kept: dict[str, np.ndarray] = {}  # frames of the end of an episode, where the environment has begun the next one already
        self.find_simulation()
        cameras = [self.model.camera(i).name for i in range(self.model.ncam)] if self.model is not None else []
        self._drawn = dict.fromkeys(filter(None, cameras)) | {name: render.free_camera(**dict(each)) for name, each in config.free_cameras.items()}
        self._check(cameras)
        self._ranges = {name: value_range(env.observation_space, name) for name in {*config.sources} - {"render", *self._drawn}}

    @property
    def cameras(self) -> tuple[Any, ...]:
        """Return the MuJoCo camera of each source: a name, an MjvCamera, or None where the environment draws the frame itself."""
        return tuple(self._view if name == "render" else self._drawn[name] or name if name in self._drawn else None for name in self._config.sources)

    @property
    def drawn_by_mujoco(self) -> bool:
        """Return whether MuJoCo cameras draw all frames, and none comes from the environment itself."""
        return self.model is not None and None not in self.cameras

    @property
    def specs(self) -> dict[str, PictureSpec]:
        """Return how the pictures of each source become frames."""
        drawn = zip(self._config.sources, self.cameras, strict=True)
        return {name: PictureSpec(self._ranges.get(name), camera is not None) for name, camera in drawn}

    def find_simulation(self) -> None:
        """Find MuJoCo's model and data, and whether they look as before; some environments make or repaint them at each reset."""
        model, data = render.mujoco_of(self._env)
        if model is not None and model is not self.model:
            self._view = render.view_of(self._env, model) if "render" in self._config.sources else None
            # An environment that draws itself reads these when it makes its renderer. Shadows and multisampling are slow in software.
            if "render" in self._config.sources and self._view is None:
                model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
        if model is not None:
            geometry, self._paint = render.geometry_checksum(model), render.paint_checksum(model)
            if model is not self.model or geometry != self._geometry:
                own = getattr(self._env.unwrapped, "source", self._config.id)
                # Models of equal `_source` share a camera, which holds their geometry.
                self._geometry, self._source = geometry, f"{own} {model.ngeom} {geometry}"
        self.model, self.data = model, data

    def update_markers(self) -> None:
        """Let Gymnasium-Robotics move its goal markers, as its `render` does.

        Its callback also updates derived quantities of the simulation, which the next step reads (Fetch's mocap). So it is called after every
        decision, whether frames are drawn or not. It also changes the solver's initial guess for the next step; that is restored, so that two calls
        have the same effect as one.
        """
        callback: Any = getattr(self._env.unwrapped, "_render_callback", None)
        if callback is not None and self.data is not None:
            guess = self.data.qacc_warmstart.copy()
            callback()
            self.data.qacc_warmstart[:] = guess

    def keep(self) -> None:
        """Draw all frames that are not in the observation, for the environment is about to begin another episode."""
        drawn = (name for name, camera in zip(self._config.sources, self.cameras, strict=True) if camera is not None or name == "render")
        self._kept = {name: self.frame(name, None) for name in drawn}

    def forget(self) -> None:
        """Draw the present state again."""
        self._kept = {}

    def frame(self, name: str, observation: Any, size: int = 0, pretty: bool = False) -> np.ndarray:
        """Return uint8[size, size, 3] of one source.

        Args:
            name: of the source.
            observation: the environment's latest.
            size: pixels; 0: `env.size`.
            pretty: shadows and multisampling, where MuJoCo draws the frame.

        Raises:
            ValueError: the environment gives no frame there, or OpenGL reports an error.
        """
        size = size or self._config.size
        if name in self._kept:
            return picture(self._kept[name], size)
        camera = self.cameras[self._config.sources.index(name)]
        if camera is not None:
            drawer = render.camera(self._source, self.model, (size, size), pretty)
            frame = drawer.draw(self.model, self.data, camera, self._config.geom_groups, self._paint)
        else:
            try:
                image = self._env.render() if name == "render" else view(observation, name)
                if image is None:
                    raise ValueError("it is None, and uint8[h, w, 3] is needed")
                frame = picture(image, size, self._ranges.get(name))
            except (KeyError, ValueError) as error:
                raise ValueError(f"{self._config.id}: camera {name!r} gives no frame: {error}.") from error
            if self.model is not None and (code := render.pending_error()):  # of the environment's own context, which is current
                raise ValueError(f"{self._config.id}: camera {name!r} gives no frame: OpenGL reports error {code} in the environment's own renderer.")
        flip = self._config.flip_of(name)
        return flipped(frame, flip) if flip else frame

    def _check(self, cameras: list[str]) -> None:
        """Raise ValueError where a source or a key that concerns one does not exist."""
        config, draws = self._config, self._env.render_mode == "rgb_array"
        known = [*filter(None, cameras), *pictures(self._env.observation_space), *(["render"] if draws else [])]
        for name in config.free_cameras:
            if self.model is None:
                raise ValueError(f"env.free_cameras has {name!r}, and only a MuJoCo environment can be drawn from there; leave it out.")
            if name in (*known, "render"):
                raise ValueError(f"env.free_cameras has {name!r}, which the environment has already; give it another name.")
            if name not in config.sources:
                raise ValueError(f"env.free_cameras has {name!r}, which env.cameras does not name; add it there, or leave it out.")
        known += config.free_cameras
        for name in config.sources:
            if name == "render" and not draws:
                raise ValueError(f"{_no_render(self._env)}; or name one of {', '.join(map(repr, known)) or 'no other'} in env.cameras.")
            if name not in known:
                shape = space_of(self._env.observation_space, name).shape or ()
                may_be = f" ({list(shape)} may be {phrase})" if (phrase := likely(shape)) else ""
                raise ValueError(f"there is no camera {name!r}{may_be}; it has {', '.join(map(repr, known)) or 'none'}.")
        if isinstance(config.flip, dict) and (strange := sorted(set(config.flip) - set(config.sources))):
            raise ValueError(f"env.flip names {strange[0]!r}, and the cameras are {', '.join(map(repr, config.sources))}.")
        if config.geom_groups and not any(self.cameras):
            raise ValueError("env.geom_groups has no effect, as the environment draws its frames itself; name MuJoCo cameras, or leave it out.")


def _no_render(env: gymnasium.Env) -> str:
    """Return why `render()` gives no frames, and what to write, as the begin of a sentence."""
    inner, modes = type(env.unwrapped).__name__, (env.metadata or {}).get("render_modes", [])
    if env.render_mode is not None:
        return f"{inner} has the render_mode {env.render_mode!r}, and frames need 'rgb_array': give env.kwargs {{render_mode: rgb_array}}"
    if "rgb_array" not in modes:
        return (
            f"there is no camera 'render': metadata['render_modes'] of {inner} lacks 'rgb_array'; "
            "add it, keep `self.render_mode = render_mode` in __init__, and return uint8[h, w, 3] from render()"
        )
    return f"there is no camera 'render': {inner} never sets its render_mode; write `self.render_mode = render_mode` in an __init__ that takes it"
