"""Instances that share state, or cannot exist side by side, are said; all others are left alone."""

import threading
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from envs import EnvConfig
from envs.doctor import examine
from envs.host import examine_in_process


class Mark(gymnasium.Env):
    """A mark moves with the action; what instances share is one keyword."""

    observation_space, action_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8), gymnasium.spaces.Box(-1, 1, (1,))
    world: ClassVar[dict[str, float]] = {}
    alive, lock = 0, threading.Lock()

    def __init__(self, shares: str = "") -> None:
        if shares == "the process" and Mark.alive:
            raise RuntimeError("one simulator a process")
        self.shares, Mark.alive, self.own = shares, Mark.alive + 1, dict[str, float]()
        self.place = Mark.world if shares == "a class" else self.own

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        if self.shares == "a generator":
            np.random.seed(seed)
        if self.shares == "a lock" and self.lock.locked() and not hasattr(self, "steps"):
            raise RuntimeError("the simulator is in use")
        if self.shares == "a lock" and not hasattr(self, "steps"):
            self.lock.acquire()
        self.place["where"], self.steps = self.np_random.uniform(0, 15), 0
        return self.see(), {"instruction": "go right"}

    def step(self, action: np.ndarray):
        noise = np.random.normal() if self.shares == "a generator" else self.np_random.normal()
        self.place["where"], self.steps = float(np.clip(self.place["where"] + action[0] + noise, 0, 15)), self.steps + 1
        if self.shares == "chance" and self.steps == 6:
            self.place["where"] = np.random.default_rng().uniform(0, 15)
        return self.see(), self.place["where"], False, self.steps >= 12, {"success": self.place["where"] > 14.9, "instruction": "go right"}

    def see(self) -> np.ndarray:
        frame = np.zeros((16, 16, 3), np.uint8)
        frame[:, int(self.place["where"])], frame[0] = 200, 17 * self.place["where"]
        return frame

    def close(self) -> None:
        Mark.alive -= 1
        if self.shares == "a lock" and hasattr(self, "steps"):
            self.lock.release()


def config(shares: str) -> EnvConfig:
    kwargs = {"shares": shares} if shares else {}
    return EnvConfig(id=f"{__name__}:Mark", kwargs=kwargs, cameras=("observation",), size=16, action_repeat=1, terminate_on_success=False)


ADVICE = "a run has several in one process, with env.timeout too; mend the environment, or set collect.num_envs: 1."


@pytest.mark.parametrize("episodes", [1, 4])
@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ("a class", f"Instances share state: the same seed and actions give another picture while a second one takes steps, and {ADVICE}"),
        ("a generator", f"Instances share state: the same seed and actions give another picture while a second one takes steps, and {ADVICE}"),
        ("the process", f"A second instance cannot be made beside the first (RuntimeError: one simulator a process): {ADVICE}"),
        ("a lock", f"An episode fails beside a second instance (RuntimeError: the simulator is in use): {ADVICE}"),
    ],
)
def test_instances_that_share_something_are_said(shares: str, says: str, episodes: int) -> None:
    assert examine(config(shares), episodes=episodes, openings=1).faults == [says]
    assert not examine(config(shares), episodes=episodes, openings=1, alone=True).faults, "a run with one of them is no matter"
    assert Mark.alive == 0, "all are closed"


def test_instances_that_share_nothing_are_left_alone() -> None:
    assert not examine(config(""), episodes=3, openings=1).faults and Mark.alive == 0


def test_chance_is_not_taken_for_shared_state() -> None:
    (fault,) = examine(config("chance"), episodes=3, openings=1).faults
    assert fault.startswith("The same seed and actions give another")


@pytest.mark.parametrize("alone", [False, True])
def test_the_process_that_examines_is_told_whether_a_run_has_one(alone: bool) -> None:
    found = examine_in_process(config("the process"), 60, lambda stage: None, quick=True, alone=alone)
    assert bool(found.faults) is not alone


def test_our_own_tasks_share_nothing() -> None:
    found: Any = examine(EnvConfig(id="etude/Push-v0", size=32), episodes=2, openings=1)
    assert not found.faults
