"""Slide and Turn: what opens and turns, stays so, and ends the episode where it is the wrong one."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.tasks.slide import DRAWERS, OUT
from envs.tasks.turn import FAR, LEVERS, SIDES


def begin(task: str, seed: int = 0) -> Any:
    env: Any = gymnasium.make(task, cameras=()).unwrapped
    env.reset(seed=seed)
    return env


def play(stage: Any) -> tuple[bool, bool, list[str]]:
    """Let the oracle act to the end; return whether it terminated, whether it succeeded, and what was achieved."""
    terminated, info = False, {}
    for _ in range(60):
        _, _, terminated, _, info = stage.step(stage.oracle())
        if terminated:
            break
    return terminated, info["is_success"], info["achieved"]


@pytest.mark.parametrize(("task", "objects"), [("etude/Slide-v0", DRAWERS), ("etude/Turn-v0", LEVERS)])
def test_the_wrong_one_ends_the_episode_and_is_named(task: str, objects: tuple[str, ...]):
    for seed in range(5):
        stage = begin(task, seed)
        asked = stage._named
        stage.oracle, wrong = _misled(stage, asked, objects), next(thing for thing in objects if thing != asked)
        terminated, success, achieved = play(stage)
        assert terminated and not success and stage.failed() and stage.reward() < 1
        assert len(achieved) == 1 and f"the {stage.colours[wrong]} " in achieved[0]


def _misled(stage: Any, asked: str, objects: tuple[str, ...]):
    """Return an oracle that episodes another thing for the named one."""
    own, wrong = stage.oracle, next(thing for thing in objects if thing != asked)

    def oracle() -> np.ndarray:
        stage._named = wrong
        action = own()
        stage._named = asked
        return action

    return oracle


def test_a_drawer_and_a_lever_stay_where_they_are_left():
    for task, joint, there in (("etude/Slide-v0", DRAWERS[0], 0.03), ("etude/Turn-v0", LEVERS[0], 0.5)):
        stage = begin(task)
        stage.data.joint(joint).qpos[0] = there
        for _ in range(20):
            stage.step(stage.towards(np.array([0.2, 0.0, 0.25])))
        assert stage.data.joint(joint).qpos[0] == pytest.approx(there, abs=1e-3)


def test_a_drawer_half_open_is_half_of_the_way():
    stage = begin("etude/Slide-v0")
    rewards = []
    for opening in (0.0, OUT / 2, OUT):
        stage.data.joint(stage._named).qpos[0] = opening
        rewards.append(stage.reward())
    assert rewards[0] < rewards[1] < rewards[2] == 1.0
    assert stage.achieved() == [stage.instruction]


def test_left_is_the_robots_left():
    """A lever turned to the left has moved its free end, which is nearer to the robot than its hinge, towards +y."""
    for side, sign in SIDES.items():
        stage = begin("etude/Turn-v0")
        stage._side, stage.instruction = side, stage._sentence(stage._named, side)
        before = stage.position(stage._named)
        assert before[0] < stage.data.joint(stage._named).xanchor[0]
        terminated, success, achieved = play(stage)
        assert terminated and success and achieved == [stage.instruction] and stage.instruction.endswith(side)
        assert (stage.position(stage._named)[1] - before[1]) * sign > 0.01


def test_a_lever_turned_the_wrong_way_can_be_turned_back():
    stage = begin("etude/Turn-v0")
    side = stage._side
    wrong = next(other for other in SIDES if other != side)
    stage._side = wrong
    while not stage.achieved():
        assert not stage.step(stage.oracle())[2]
    assert stage.achieved() == [stage._sentence(stage._named, wrong)] and stage.turned(stage._named, wrong) >= FAR
    stage._side = side
    assert play(stage)[:2] == (True, True)
