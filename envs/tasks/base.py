"""The base of all our tasks: a table, an arm, two cameras, an instruction.

Actions are Cartesian tool commands in [-1, 1]: (x forward, y to the arm's left, z up); 1 moves the tool's target by `STEP` metres in one control step
of 0.05 s. Damped least squares turns them into joint targets (differential inverse kinematics; Nakamura and Hanafusa 1986). The hand always points
down and keeps its heading, so the fingers open along y. In a task that `grips`, actions have a fourth number, the opening of the fingers, from -1
(closed) to +1 (wide open). In the other tasks the fingers stay closed.

Observation (a dict):

| key | type | meaning |
|---|---|---|
| a camera's name | uint8[size, size, 3] | RGB frame; cameras are `front` and `wrist` |
| `state` | float32[9] | tool x, y, z (m); yaw, shoulder, elbow, pitch, roll (rad); finger opening (m) |

`info` has `is_success` (bool), `instruction` (str) and `achieved` (every instruction of the task that the present state fulfils).
"""

import itertools
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from envs.simulate import render
from envs.simulate.render import mujoco  # imported there, after the GL backend is chosen
from envs.tasks.variation import variation as make_variation

STEP = 0.04  # metres that a command of 1 moves the tool's target in one control step
CONTROL = 0.05  # seconds of one control step
DAMPING = 1e-4  # of the least squares, metres squared; avoids large joint motions near singularities, where the arm is stretched out
DRAWS = 1000  # scenes drawn until the variation admits an instruction; in our tasks it admits at least one in ten
LOW, HIGH = np.array([0.15, -0.22, 0.015]), np.array([0.47, 0.22, 0.26])  # corners of the box of tool targets, metres
ARM = ("yaw", "shoulder", "elbow", "pitch", "roll")
FINGERS = ("left", "right")
COLOURS = {
    "red": (0.86, 0.10, 0.10, 1),
    "green": (0.10, 0.65, 0.15, 1),
    "blue": (0.12, 0.25, 0.88, 1),
    "yellow": (0.95, 0.80, 0.05, 1),
    "purple": (0.60, 0.15, 0.70, 1),
}


class Stage(gymnasium.Env):
    """Base class of the tasks. A subclass names its XML file, and implements how to arrange, measure and solve the task.

    Args:
        cameras: the cameras in the observation; with none, no frames are drawn.
        size: height and width of the observed frames, pixels.
        render_mode: None or "rgb_array".
        render_size: height and width of what `render()` draws from the front camera, pixels.
        pretty: shadows and multisampling in `render()`, for videos.
        variation: fields of `envs.tasks.variation.Variation`: how scenes differ from the usual ones, for evaluations of generalisation.

    Raises:
        ValueError: an unknown camera or variation.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}  # pyright: ignore[reportIncompatibleVariableOverride]
    source = ""  # XML file in this folder
    grips: ClassVar[bool] = False  # whether actions move the fingers
    wordings: ClassVar[tuple[str, ...]] = ()  # pattern of its instructions, then paraphrases of it, for `variation: {wording: other}`

    def __init__(
        self,
        *,
        cameras: tuple[str, ...] = ("front", "wrist"),
        size: int = 64,
        render_mode: str | None = None,
        render_size: int = 256,
        pretty: bool = False,
        variation: dict[str, Any] | None = None,
    ) -> None:
        unknown = set(cameras) - {"front", "wrist"}
        if unknown:
            raise ValueError(f"Unknown camera {sorted(unknown)[0]!r}; this stage has 'front' and 'wrist'.")
        self.cameras, self.size, self.render_mode = tuple(cameras), size, render_mode
        self.render_size, self.pretty = render_size, pretty
        self._variation = make_variation(variation or {})
        if self._variation.wording == "other" and len(self.wordings) < 2:
            raise ValueError(f"{type(self).__name__} has no paraphrases of its instructions (`wordings`); set variation wording to 'own'.")
        self.model = self._variation.build(str(Path(__file__).parent / self.source))
        self.source = f"{self.source} {self._variation.distractors}"  # key of the camera cache: models with other geometry need other cameras
        # The usual values: a variation changes them in the model at each reset.
        self._camera, self._light = self.model.camera("front").pos.copy(), self.model.light_diffuse.copy()
        self._headlight = {name: getattr(self.model.vis.headlight, name).copy() for name in ("ambient", "diffuse")}
        self.data = mujoco.MjData(self.model)
        self._joints = np.array([self.model.joint(name).qposadr[0] for name in ARM])
        self._fingers = np.array([self.model.joint(name).qposadr[0] for name in FINGERS])
        self._dofs = np.array([self.model.joint(name).dofadr[0] for name in ARM[:3]])
        self._bodies = {self.model.body(i).name: i for i in range(self.model.nbody)}
        self._wrist, self._tool = self.model.body("wrist").id, self.model.site("tool").id
        self._jacobian = np.zeros((3, self.model.nv))
        self._target = np.zeros(3)  # where the tool is sent, metres
        self.terminate_on_success = True  # the adapter sets it by `env.terminate_on_success`
        self.instruction = ""
        self.colours: dict[str, str] = {}  # body -> colour
        frame = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        state = gymnasium.spaces.Box(-np.inf, np.inf, (9,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({**dict.fromkeys(self.cameras, frame), "state": state})
        self.action_space = gymnasium.spaces.Box(-1, 1, (4 if self.grips else 3,), np.float32)

    # --- for subclasses --------------------------------------------------------------------------------------------

    def arrange(self, rng: np.random.Generator) -> None:
        """Draw a scene and its instruction, and set `self.instruction`."""
        raise NotImplementedError

    def achieved(self) -> list[str]:
        """Return every instruction of this task that the present state fulfils."""
        raise NotImplementedError

    def reward(self) -> float:
        """Return how close the present state is to what the instruction asks for, in [0, 1]."""
        raise NotImplementedError

    def failed(self) -> bool:
        """Return whether the present state can no longer succeed; ends the episode."""
        return False

    def oracle(self, steps: int = 1) -> np.ndarray:
        """Return the scripted expert's action for the present state, float32[A] in [-1, 1], to be held for `steps` control steps."""
        raise NotImplementedError

    # --- Gymnasium -------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """Draw a new scene. The same seed gives the same scene, colours, instruction and arm pose."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.colours = {}
        self.arrange(self.np_random)
        draws = itertools.count(1)
        while not self._variation.admits(self.instruction, tuple(COLOURS)):
            if next(draws) == DRAWS:
                raise ValueError(f"{type(self).__name__}: none of {DRAWS} scenes fits variation pairs {self._variation.pairs!r}; set it to 'all'.")
            mujoco.mj_resetData(self.model, self.data)
            self.arrange(self.np_random)
        self._apply_variation()
        if self.grips:
            self._open(1.0)
            self.data.qpos[self._fingers] = self.data.ctrl[len(ARM) :]
        self._pose(self.np_random.uniform([0.22, -0.12, 0.12], [0.40, 0.12, 0.22]))
        mujoco.mj_forward(self.model, self.data)
        return self.observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Simulate 0.05 s. Failure terminates the episode, and so does success with `terminate_on_success`; Gymnasium's wrapper truncates it."""
        self._drive(np.clip(np.asarray(action, np.float64), -1, 1))
        mujoco.mj_step(self.model, self.data, round(CONTROL / self.model.opt.timestep))
        mujoco.mj_kinematics(self.model, self.data)  # `mj_step` leaves `xpos` as it was before its last physics step
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        info = self._info()
        return self.observe(), self.reward(), (info["is_success"] and self.terminate_on_success) or self.failed(), False, info

    def render(self) -> np.ndarray | None:
        """Return uint8[render_size, render_size, 3] from the front camera; None without a render mode."""
        if self.render_mode is None:
            return None
        size = (self.render_size, self.render_size)
        return render.camera(self.source, self.model, size, self.pretty).draw(self.model, self.data, "front")

    # --- measurements ----------------------------------------------------------------------------------------------

    def tool(self) -> np.ndarray:
        """Return the position of the tool, the point between the finger tips, float64[3], metres."""
        return self.data.site_xpos[self._tool].copy()

    def position(self, body: str) -> np.ndarray:
        """Return the position of a body, float64[3], metres."""
        return self.data.xpos[self._bodies[body]].copy()

    def towards(self, point: np.ndarray, steps: int = 1, opening: float | None = None) -> np.ndarray:
        """Return the action that moves the tool straight to a point; scaled down to numbers within [-1, 1] if the point is too far.

        Args:
            point: float64[3], metres.
            steps: control steps that the action is held for.
            opening: of the fingers, in [-1, 1], in a task that grips; None in the others.
        """
        command = (point - self._target) / (STEP * steps)
        command /= max(1.0, float(np.abs(command).max()))
        return np.append(command, [] if opening is None else opening).astype(np.float32)

    def _apply_variation(self) -> None:
        """Move the camera, change the light, place distractors."""
        # A generator of its own: with the same seed, the scene itself must be the same as without the variation.
        variation, rng = self._variation, np.random.default_rng([self._seed(), 1])
        self.model.camera("front").pos[:] = self._camera + variation.camera * rng.uniform(-1, 1, 3)
        brightness = 1 + variation.light * rng.uniform(-1, 1)
        self.model.light_diffuse[:] = brightness * self._light
        for name, usual in self._headlight.items():
            getattr(self.model.vis.headlight, name)[:] = brightness * usual
        mujoco.mj_kinematics(self.model, self.data)
        roots = self.model.body_rootid[self.model.geom_bodyid]
        posts = [self.model.body(f"post_{i}").id for i in range(variation.distractors)]
        standing = ~np.isin(roots, [0, self.model.body("base").id, *posts])  # geoms of objects: not the table, the arm or the posts
        for i, xy in enumerate(variation.posts(rng, self.data.geom_xpos[standing, :2])):
            self.place(f"post_{i}", xy)
            self.paint(f"post_{i}", str(rng.choice(list(COLOURS))))

    def _seed(self) -> int:
        """Return the seed of the episode."""
        return abs(int(self.np_random_seed or 0))

    # --- arranging -------------------------------------------------------------------------------------------------

    def place(self, body: str, xy: np.ndarray) -> None:
        """Put a body at (x, y), metres, at the height that its XML gives."""
        joint = self.model.body_jntadr[self.model.body(body).id]
        if joint >= 0 and self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            start = self.model.jnt_qposadr[joint]
            self.data.qpos[start : start + 2] = xy
        else:
            self.model.body(body).pos[:2] = xy  # a fixed body has no coordinates in MjData

    def set_out(self, rng: np.random.Generator, bodies: tuple[str, ...], places: np.ndarray) -> None:
        """Put bodies at float[n, 2] places, metres, in different random colours."""
        for body, xy, colour in zip(bodies, places, rng.permutation(list(COLOURS)), strict=False):
            self.place(body, xy)
            self.paint(body, str(colour))

    def lay_out(self, rng: np.random.Generator, *kinds: tuple[tuple[str, ...], np.ndarray]) -> list[str]:
        """Put the bodies of each kind, in random order, at the places of that kind; colours differ within a kind.

        Args:
            rng: draws orders and colours.
            kinds: names of n bodies, and float[n, 2] places, metres, for each kind.

        Returns:
            For each kind, the body at its first place.
        """
        orders = [rng.permutation(len(bodies)) for bodies, _ in kinds]
        for (bodies, places), order in zip(kinds, orders, strict=True):
            self.set_out(rng, tuple(bodies[i] for i in order), places)
        return [bodies[order[0]] for (bodies, _), order in zip(kinds, orders, strict=True)]

    def paint(self, body: str, colour: str) -> None:
        """Give all geoms of a body one of `COLOURS`."""
        self.colours[body] = colour
        first, count = self.model.body(body).geomadr[0], self.model.body(body).geomnum[0]
        self.model.geom_rgba[first : first + count] = COLOURS[colour]

    def _pose(self, tool: np.ndarray) -> None:
        """Put the arm at rest with its tool at float64[3], metres."""
        self.data.qpos[self._joints] = [0, -0.4, 1.8, -1.4, 0]  # radians; a start for inverse kinematics, which converges in 20 steps
        self._target = tool
        for _ in range(20):
            mujoco.mj_kinematics(self.model, self.data)
            mujoco.mj_comPos(self.model, self.data)
            self.data.qpos[self._joints] = self._joint_targets()
        self.data.ctrl[: len(ARM)] = self.data.qpos[self._joints]

    def _drive(self, command: np.ndarray) -> None:
        """Move the tool's target by a command, and send joints and fingers there."""
        # The target is at most two steps ahead of the tool, so pushing against an obstacle does not accumulate (wind-up).
        tool = self.tool()
        target = np.clip(self._target + STEP * command[:3], tool - 2 * STEP, tool + 2 * STEP)
        self._target = np.clip(target, LOW, HIGH)
        self.data.ctrl[: len(ARM)] = self._joint_targets()
        if self.grips:
            self._open(command[3])

    def _open(self, opening: float) -> None:
        """Send the fingers to an opening, -1 closed to +1 wide open."""
        low, high = self.model.actuator_ctrlrange[len(ARM) :].T
        self.data.ctrl[len(ARM) :] = low + (high - low) * (opening + 1) / 2

    def _joint_targets(self) -> np.ndarray:
        """Return angles of the five joints, radians: one damped least-squares step towards the tool's target."""
        mujoco.mj_jacBody(self.model, self.data, self._jacobian, None, self._wrist)
        jacobian = self._jacobian[:, self._dofs]
        error = self._target - self.data.site_xpos[self._tool]
        step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING * np.eye(3), error)
        yaw, shoulder, elbow = self.data.qpos[self._joints[:3]] + np.clip(step, -0.6, 0.6)
        return np.array([yaw, shoulder, elbow, -shoulder - elbow, yaw])  # the last two keep the hand pointing down, and its heading

    def observe(self) -> dict[str, np.ndarray]:
        """Return the present observation, with newly drawn frames."""
        size = (self.size, self.size)
        frames = {name: render.camera(self.source, self.model, size).draw(self.model, self.data, name) for name in self.cameras}
        fingers = self.data.joint("left").qpos
        state = np.concatenate([self.tool(), self.data.qpos[self._joints], fingers]).astype(np.float32)
        return {**frames, "state": state}

    def _info(self) -> dict[str, Any]:
        achieved = self.achieved()
        worded = [self._variation.reword(each, self._seed(), self.wordings) for each in (self.instruction, *achieved)]
        return {"is_success": self.instruction in achieved, "instruction": worded[0], "achieved": worded[1:]}


def scatter(rng: np.random.Generator, count: int, gap: float, low: tuple[float, float], high: tuple[float, float]) -> np.ndarray:
    """Return float[count, 2], points drawn in a box, metres, each at least `gap` from all others."""
    while True:
        points = rng.uniform(low, high, (count, 2))
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(count)  # the diagonal: 1 m to itself
        if distances.min() >= gap:
            return points
