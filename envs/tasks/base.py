"""The stage that all our tasks share: a table, an arm, two cameras, an instruction.

Actions are Cartesian tool commands in [-1, 1]: (x forward, y to the arm's left, z up), 1 = `STEP` metres in one control
step of 0.05 s. Damped least squares turns them into joint targets (differential inverse kinematics; Nakamura and Hanafusa 1986);
the hand always points down and keeps its heading, so the fingers open along y. A task that `grips` has a fourth number in its
actions, the opening of the fingers, -1 closed to +1 wide open; in the others the fingers stay closed.

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
from envs.tasks.variation import variation as of

STEP = 0.04  # metres a unit command moves the tool in one control step
CONTROL = 0.05  # seconds of one control step
DAMPING = 1e-4  # of the least squares; keeps the arm calm where it is stretched out
DRAWS = 1000  # of a scene until one has an instruction that the variation admits; of our tasks at least one in ten has
LOW, HIGH = np.array([0.15, -0.22, 0.015]), np.array([0.47, 0.22, 0.26])  # where the tool may be sent, metres
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
    """Base of the tasks: a subclass names its XML file and says how to arrange, measure and solve it.

    Args:
        cameras: which cameras the observation holds; none, and stepping draws nothing.
        size: height and width of the observed frames, pixels.
        render_mode: None or "rgb_array"; `render()` draws the front camera at `render_size`.
        pretty: shadows and multisampling in `render()`, for films.
        variation: keys of `envs.tasks.variation.Variation`: how scenes differ from the usual ones, for exams of generalisation.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}  # pyright: ignore[reportIncompatibleVariableOverride]
    source = ""  # XML file beside this one
    grips: ClassVar[bool] = False  # whether actions move the fingers
    wordings: ClassVar[tuple[str, ...]] = ()  # a pattern of its instructions, then others that mean the same; for `variation: {wording: other}`

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
        self._vary = of(variation or {})
        if self._vary.wording == "other" and len(self.wordings) < 2:
            raise ValueError(f"{type(self).__name__} says its instructions in no other words (`wordings`); set variation wording to 'own'.")
        self.model = self._vary.build(str(Path(__file__).parent / self.source))
        self.source = f"{self.source} {self._vary.distractors}"  # what a camera is made for
        self._camera, self._light = self.model.camera("front").pos.copy(), self.model.light_diffuse.copy()
        self._headlight = {name: getattr(self.model.vis.headlight, name).copy() for name in ("ambient", "diffuse")}
        self.data = mujoco.MjData(self.model)
        self._joints = np.array([self.model.joint(name).qposadr[0] for name in ARM])
        self._fingers = np.array([self.model.joint(name).qposadr[0] for name in FINGERS])
        self._dofs = np.array([self.model.joint(name).dofadr[0] for name in ARM[:3]])
        self._bodies = {self.model.body(i).name: i for i in range(self.model.nbody)}
        self._wrist, self._tool = self.model.body("wrist").id, self.model.site("tool").id
        self._jacobian = np.zeros((3, self.model.nv))
        self._target = np.zeros(3)
        self.until_success = True  # a success ends the episode
        self.instruction = ""
        self.colours: dict[str, str] = {}  # body -> colour
        frame = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        state = gymnasium.spaces.Box(-np.inf, np.inf, (9,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({**dict.fromkeys(self.cameras, frame), "state": state})
        self.action_space = gymnasium.spaces.Box(-1, 1, (4 if self.grips else 3,), np.float32)

    # --- what a task says ------------------------------------------------------------------------------------------

    def arrange(self, rng: np.random.Generator) -> None:
        """Draw the scene and the instruction."""
        raise NotImplementedError

    def achieved(self) -> list[str]:
        """Return every instruction of this task that the present state fulfils."""
        raise NotImplementedError

    def reward(self) -> float:
        """Return how close the present state is to the instruction's end, in [0, 1]."""
        raise NotImplementedError

    def failed(self) -> bool:
        """Return whether the present state can no longer succeed; ends the episode."""
        return False

    def oracle(self, steps: int = 1) -> np.ndarray:
        """Return the scripted expert's command for the present state, float32[A] in [-1, 1], to be held for `steps` steps."""
        raise NotImplementedError

    # --- Gymnasium -------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """Draw a new scene; the same seed draws the same scene, colours, instruction and arm pose."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.colours = {}
        self.arrange(self.np_random)
        draws = itertools.count(1)
        while not self._vary.admits(self.instruction, tuple(COLOURS)):
            if next(draws) == DRAWS:
                raise ValueError(f"{type(self).__name__}: none of {DRAWS} instructions is of variation pairs {self._vary.pairs!r}; set it to 'all'.")
            mujoco.mj_resetData(self.model, self.data)
            self.arrange(self.np_random)
        self._alter()
        if self.grips:
            self._open(1.0)
            self.data.qpos[self._fingers] = self.data.ctrl[len(ARM) :]
        self._pose(self.np_random.uniform([0.22, -0.12, 0.12], [0.40, 0.12, 0.22]))
        mujoco.mj_forward(self.model, self.data)
        return self.observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Move for 0.05 s of simulated time. Success (but without `until_success`) and failure terminate; the time limit is Gymnasium's wrapper's."""
        self._drive(np.clip(np.asarray(action, np.float64), -1, 1))
        mujoco.mj_step(self.model, self.data, round(CONTROL / self.model.opt.timestep))
        mujoco.mj_kinematics(self.model, self.data)  # positions as of now, not of the last physics step's beginning
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        info = self._info()
        return self.observe(), self.reward(), (info["is_success"] and self.until_success) or self.failed(), False, info

    def render(self) -> np.ndarray | None:
        """Return uint8[render_size, render_size, 3] from the front camera, or None without a render mode."""
        if self.render_mode is None:
            return None
        size = (self.render_size, self.render_size)
        return render.camera(self.source, self.model, size, self.pretty).draw(self.model, self.data, "front")

    # --- measurements ----------------------------------------------------------------------------------------------

    def tool(self) -> np.ndarray:
        """Return the tool's position, metres."""
        return self.data.site_xpos[self._tool].copy()

    def position(self, body: str) -> np.ndarray:
        """Return a body's position, metres."""
        return self.data.xpos[self._bodies[body]].copy()

    def towards(self, point: np.ndarray, steps: int = 1, opening: float | None = None) -> np.ndarray:
        """Return the command that sends the tool straight to `point` when it is held for `steps` steps, scaled down where it is too far.

        A task that grips says which `opening` of the fingers goes with it, in [-1, 1].
        """
        command = (point - self._target) / (STEP * steps)
        command /= max(1.0, float(np.abs(command).max()))
        return np.append(command, [] if opening is None else opening).astype(np.float32)

    def _alter(self) -> None:
        """Move the camera, change the light, set up distractors: by the seed, but with draws of their own."""
        vary, rng = self._vary, np.random.default_rng([self._seed(), 1])
        self.model.camera("front").pos[:] = self._camera + vary.camera * rng.uniform(-1, 1, 3)
        bright = 1 + vary.light * rng.uniform(-1, 1)
        self.model.light_diffuse[:] = bright * self._light
        for name, usual in self._headlight.items():
            getattr(self.model.vis.headlight, name)[:] = bright * usual
        mujoco.mj_kinematics(self.model, self.data)
        roots = self.model.body_rootid[self.model.geom_bodyid]
        posts = [self.model.body(f"post_{i}").id for i in range(vary.distractors)]
        standing = ~np.isin(roots, [0, self.model.body("base").id, *posts])  # not the table, not the arm
        for i, xy in enumerate(vary.posts(rng, self.data.geom_xpos[standing, :2])):
            self.place(f"post_{i}", xy)
            self.paint(f"post_{i}", str(rng.choice(list(COLOURS))))

    def _seed(self) -> int:
        return abs(int(self.np_random_seed or 0))

    # --- arranging -------------------------------------------------------------------------------------------------

    def place(self, body: str, xy: np.ndarray) -> None:
        """Put a body on the table at (x, y), metres, at the height its XML gives."""
        joint = self.model.body_jntadr[self.model.body(body).id]
        if joint >= 0 and self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            start = self.model.jnt_qposadr[joint]
            self.data.qpos[start : start + 2] = xy
        else:
            self.model.body(body).pos[:2] = xy

    def set_out(self, rng: np.random.Generator, bodies: tuple[str, ...], places: np.ndarray) -> None:
        """Put bodies at float[n, 2] places, metres, each in another colour."""
        for body, xy, colour in zip(bodies, places, rng.permutation(list(COLOURS)), strict=False):
            self.place(body, xy)
            self.paint(body, str(colour))

    def lay_out(self, rng: np.random.Generator, *kinds: tuple[tuple[str, ...], np.ndarray]) -> list[str]:
        """Put the bodies of each kind, in an order of chance, at its float[n, 2] places, metres, in colours that differ within a kind.

        Returns:
            Of each kind, the body at the first place.
        """
        orders = [rng.permutation(len(bodies)) for bodies, _ in kinds]
        for (bodies, places), order in zip(kinds, orders, strict=True):
            self.set_out(rng, tuple(bodies[i] for i in order), places)
        return [bodies[order[0]] for (bodies, _), order in zip(kinds, orders, strict=True)]

    def paint(self, body: str, colour: str) -> None:
        """Give a body's geoms one of `COLOURS`."""
        self.colours[body] = colour
        first, count = self.model.body(body).geomadr[0], self.model.body(body).geomnum[0]
        self.model.geom_rgba[first : first + count] = COLOURS[colour]

    def _pose(self, tool: np.ndarray) -> None:
        """Put the arm, at rest, where its tool is at `tool`."""
        self.data.qpos[self._joints] = [0, -0.4, 1.8, -1.4, 0]
        self._target = tool
        for _ in range(20):
            mujoco.mj_kinematics(self.model, self.data)
            mujoco.mj_comPos(self.model, self.data)
            self.data.qpos[self._joints] = self._joint_targets()
        self.data.ctrl[: len(ARM)] = self.data.qpos[self._joints]

    def _drive(self, command: np.ndarray) -> None:
        # The target runs ahead of the tool by at most two steps, so pushing against a wall does not wind it up.
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
        """Return the joint angles, radians, that bring the tool one damped least-squares step nearer to its target."""
        mujoco.mj_jacBody(self.model, self.data, self._jacobian, None, self._wrist)
        jacobian = self._jacobian[:, self._dofs]
        error = self._target - self.data.site_xpos[self._tool]
        step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING * np.eye(3), error)
        yaw, shoulder, elbow = self.data.qpos[self._joints[:3]] + np.clip(step, -0.6, 0.6)
        return np.array([yaw, shoulder, elbow, -shoulder - elbow, yaw])

    def observe(self) -> dict[str, np.ndarray]:
        """Return the present observation, its frames freshly drawn."""
        size = (self.size, self.size)
        frames = {name: render.camera(self.source, self.model, size).draw(self.model, self.data, name) for name in self.cameras}
        fingers = self.data.joint("left").qpos
        state = np.concatenate([self.tool(), self.data.qpos[self._joints], fingers]).astype(np.float32)
        return {**frames, "state": state}

    def _info(self) -> dict[str, Any]:
        achieved = self.achieved()
        said = [self._vary.say(each, self._seed(), self.wordings) for each in (self.instruction, *achieved)]
        return {"is_success": self.instruction in achieved, "instruction": said[0], "achieved": said[1:]}


def scatter(rng: np.random.Generator, count: int, gap: float, low: tuple[float, float], high: tuple[float, float]) -> np.ndarray:
    """Return float[count, 2] points drawn in a box, metres, each at least `gap` from all others."""
    while True:
        points = rng.uniform(low, high, (count, 2))
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(count)
        if distances.min() >= gap:
            return points
