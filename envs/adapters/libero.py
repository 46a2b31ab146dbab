"""`libero:libero_spatial/0`: the tasks of LIBERO (arXiv 2306.03310) as Gymnasium environments, one for each suite and number.

Test seeds begin in the initial states that LIBERO publishes for a task, so a test evaluation is comparable with the benchmark's. All other seeds
(practice, demonstrations, gate) draw the places of objects from the regions of the task, as those states were once drawn: none of them is seen before
the test. A task has 50 published states. `env.kwargs: {initial_states: drawn}` draws on test seeds too, for more than 50 different test episodes.
"""

import contextlib
import io
import os
from typing import Any

import numpy as np

from envs.adapters.robosuite import PLAIN, Robosuite, refuse_render

TEST_SEEDS = range(30_000_000, 40_000_000)  # as `agent.records.SEEDS` has them
DRAWS = 100  # of objects into their regions; most tasks need one
SETTLING = 10  # steps at the start, in which objects come to rest (github.com/moojink/openvla-oft waits as long)
HORIZON = 1000  # robosuite's own; a shorter one might end before the settling does
OPEN = np.array([0, 0, 0, 0, 0, 0, -1.0])  # the hand stays, and the gripper opens
ROBOSUITE = PLAIN | {"camera_names": []}


class Libero(Robosuite):
    """A task of LIBERO. Actions, observations and success as in `Robosuite`; the reward is 1 at success, else 0.

    Args:
        task: of a LIBERO benchmark.
        states: float64[N, 1 + nq + nv], the initial states of test seeds: time, positions and velocities of MuJoCo. N = 0: they are drawn, as those
            of all other seeds are.
        horizon: steps after which robosuite ends an episode.
    """

    def __init__(self, task: Any, states: np.ndarray, horizon: int) -> None:
        from libero.libero import get_libero_path  # pyright: ignore[reportMissingImports]
        from libero.libero.envs.env_wrapper import ControlEnv  # pyright: ignore[reportMissingImports]

        file = os.path.join(get_libero_path("bddl_files"), task.problem_folder, task.bddl_file)
        self.instruction, self._states = task.language, states
        super().__init__(lambda: ControlEnv(file, horizon=horizon, **ROBOSUITE).env)

    def _begin(self, seed: int | None) -> Any:
        numbers = np.random.get_state()
        self._reset()
        np.random.set_state(numbers)
        observation = self._reset()  # again: what lies in a drawer is placed by where its cabinet stood before, which was in another episode
        if seed is not None and seed in TEST_SEEDS and len(self._states):
            self.robosuite.sim.set_state_from_flattened(self._states[seed % len(self._states)])
            self.robosuite.sim.forward()
        for _ in range(SETTLING):
            observation, *_ = self.robosuite.step(OPEN)
        self.robosuite.timestep = 0
        return observation

    def _reset(self) -> Any:
        """Return an observation; where objects do not fit into their regions, draw again, and give up after many draws."""
        from robosuite.utils.errors import RandomizationError  # pyright: ignore[reportMissingImports]

        for _ in range(DRAWS):
            with contextlib.suppress(RandomizationError):
                return self.robosuite.reset()
        return self.robosuite.reset()


def make(name: str, render_mode: str | None = None, max_episode_steps: int | None = None, initial_states: str = "published") -> Libero:
    """Return the environment `libero:SUITE/NUMBER`.

    Args:
        name: `libero_spatial`, `libero_object`, `libero_goal`, `libero_10`, `libero_90` or another suite, a slash, and the number of a task.
        render_mode: none; LIBERO's renderer is not used.
        max_episode_steps: time limit; None: 1000, robosuite's own.
        initial_states: of test seeds: `published`, those that LIBERO comes with, or `drawn`.
    """
    from libero.libero import benchmark  # pyright: ignore[reportMissingImports]

    suite, _, number = name.partition("/")
    suites = benchmark.get_benchmark_dict()
    if suite not in suites:
        raise ValueError(f"LIBERO has no suite {suite!r}; it has {', '.join(sorted(suites))}")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the order of its tasks
        tasks = suites[suite]()
    if not number.isdecimal() or int(number) >= tasks.n_tasks:
        raise ValueError(f"its tasks are {suite}/0 to {suite}/{tasks.n_tasks - 1}, and {name!r} is none of them")
    refuse_render(render_mode)
    if initial_states not in ("published", "drawn"):
        raise ValueError(f"initial_states is {initial_states!r}; give published or drawn")
    states = np.asarray(tasks.get_task_init_states(int(number)))
    return Libero(tasks.get_task(int(number)), states[: 0 if initial_states == "drawn" else None], max(HORIZON, max_episode_steps or 0))
