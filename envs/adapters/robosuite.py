"""`robosuite:Lift`: the tasks of robosuite (1.4 or 1.5, github.com/ARISE-Initiative/robosuite) as Gymnasium environments.

robosuite's random numbers come from global generators (1.4) or from one of its own (1.5), and its `reset` takes no seed. Its renderer is not used:
etude draws the MuJoCo cameras (`agentview`, `frontview`, `robot0_eye_in_hand`) itself.
"""

import contextlib
import importlib
import inspect
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np

# Each process that imports robosuite would print three lines about a file of private settings, which nothing here needs.
logging.getLogger("robosuite_logs").addFilter(lambda record: "macro" not in record.getMessage())

# What every robosuite environment is made with: no renderer of its own, and a model that stays the same from episode to episode.
PLAIN = {"has_renderer": False, "has_offscreen_renderer": False, "use_camera_obs": False, "hard_reset": False}


class Robosuite(gymnasium.Env):
    """A robosuite environment with spaces, seeds and success.

    Actions: float32[A] in robosuite's own units; for its OSC_POSE controller -1 to 1, of which 1 is 5 cm or 0.5 rad a step for the six numbers of the
    hand, and 1 closes the gripper. Observations: all of robosuite's, by name, metres, radians and quaternions (x, y, z, w). `info["success"]`: bool.

    Args:
        build: makes the environment; called with global generators seeded, since sizes of objects are drawn while a model is built.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(self, build: Callable[[], Any]) -> None:
        with seeded(0):
            self.robosuite = build()
            first = self._observation(self.robosuite.reset())
        self.model, self.data = self.robosuite.sim.model._model, self.robosuite.sim.data._data  # MuJoCo's own, for cameras and snapshots
        low, high = self.robosuite.action_spec
        self.action_space = gymnasium.spaces.Box(low.astype(np.float32), high.astype(np.float32))
        boxes: dict[str, gymnasium.Space] = {name: gymnasium.spaces.Box(-np.inf, np.inf, value.shape, np.float32) for name, value in first.items()}
        self.observation_space = gymnasium.spaces.Dict(boxes)
        self.control_freq, self.horizon, self.ignore_done = self.robosuite.control_freq, self.robosuite.horizon, self.robosuite.ignore_done

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin the episode of a seed: places of objects, and the arm's first pose."""
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**32))
        if hasattr(self.robosuite, "rng"):  # robosuite 1.5: one generator, which all samplers hold
            self.robosuite.rng.bit_generator.state = np.random.default_rng(number).bit_generator.state
        for robot in self.robosuite.robots:
            held = getattr(robot, "gripper", None)
            for gripper in held.values() if isinstance(held, dict) else filter(None, [held]):
                gripper.current_action = np.zeros(gripper.dof)  # else the fingers go on from where the last episode left them
        with seeded(number):
            observation = self._begin(seed)
        return self._observation(observation), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Execute an action for one control step; an episode ends by robosuite's horizon only."""
        observation, reward, _, _ = self.robosuite.step(np.asarray(action, np.float64))
        return self._observation(observation), float(reward), False, bool(self.robosuite.done), self._info()

    def close(self) -> None:
        """Close the environment."""
        self.robosuite.close()

    def _begin(self, seed: int | None) -> Any:
        return self.robosuite.reset()

    def _info(self) -> dict[str, Any]:
        return {"success": bool(self.robosuite._check_success())}

    @staticmethod
    def _observation(observation: Any) -> dict[str, np.ndarray]:
        return {name: np.atleast_1d(np.asarray(value, np.float32)) for name, value in observation.items()}


def make(
    task: str, robots: str | list[str] = "Panda", render_mode: str | None = None, max_episode_steps: int | None = None, **options: Any
) -> Robosuite:
    """Return the environment `robosuite:TASK`.

    Args:
        task: a name that robosuite registers, such as `Lift`.
        robots: one of robosuite's arms, or a list of two for the tasks with two arms.
        render_mode: none; robosuite's renderer is not used.
        max_episode_steps: robosuite's `horizon`, where the options do not give that; None: 1000.
        options: further arguments of `robosuite.make`, such as `reward_shaping: true` for a dense reward.
    """
    robosuite: Any = importlib.import_module("robosuite")  # the package, and not this module
    known = sorted(robosuite.ALL_ENVIRONMENTS)
    if task not in known:
        raise ValueError(f"robosuite has no task {task!r}; it has {', '.join(known)}")
    refuse_render(render_mode)
    if hasattr(robosuite, "load_controller_config"):  # 1.4 would move joints; 1.5 moves the hand by itself
        options.setdefault("controller_configs", robosuite.load_controller_config(default_controller="OSC_POSE"))
    if max_episode_steps:
        options.setdefault("horizon", max_episode_steps)
    if "seed" in inspect.signature(robosuite.environments.REGISTERED_ENVS[task]).parameters:
        options["seed"] = 0
    return Robosuite(lambda: robosuite.make(task, robots=robots, **PLAIN, **options))


def refuse_render(render_mode: str | None) -> None:
    """Raise ValueError if robosuite's own renderer is asked for."""
    if render_mode is not None:
        raise ValueError("its own renderer is not used, so there is no camera 'render'; set env.cameras: [agentview, robot0_eye_in_hand]")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of numpy and Python, and put back their states afterwards: others may use them."""
    numpys, pythons = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpys)
        random.setstate(pythons)
