"""The tasks that grasp: what the fingers hold, and when something counts as lifted, put and stacked."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.tasks.carry import CLOSED, HALF, OPEN
from envs.tasks.lift import BLOCKS, RISE
from envs.tasks.place import RADIUS, TOP

GRASPING = ("etude/Lift-v0", "etude/Place-v0", "etude/Stack-v0")


def begin(task: str, seed: int = 0) -> Any:
    stage = gymnasium.make(task, cameras=()).unwrapped
    stage.reset(seed=seed)
    return stage


def play(stage: Any, until, limit: int = 80) -> list[float]:
    """Let the oracle act until something holds; return the rewards."""
    rewards = []
    while not until(stage):
        rewards.append(stage.step(stage.oracle())[1])
        assert len(rewards) < limit
    return rewards


def put(stage: Any, block: str, place: np.ndarray) -> None:
    """Move a block by hand, and let it come to rest, with the tool out of the way."""
    start = stage.model.jnt_qposadr[stage.model.body_jntadr[stage.model.body(block).id]]
    stage.data.qpos[start : start + 3] = place
    for _ in range(10):
        stage.step(stage.towards(np.array([0.2, 0.0, 0.25]), 1, OPEN))


@pytest.mark.parametrize("task", GRASPING)
def test_the_fourth_number_opens_and_closes_the_fingers(task: str):
    stage = begin(task)
    assert stage.action_space.shape == (4,) and stage.data.joint("left").qpos[0] == pytest.approx(0.03)
    for command, opening in ((CLOSED, 0.0), (0.0, 0.015), (OPEN, 0.03)):
        for _ in range(20):
            stage.step(np.array([0, 0, 0, command], np.float32))
        assert stage.observe()["state"][-1] == pytest.approx(opening, abs=5e-4)  # metres


@pytest.mark.parametrize("task", GRASPING)
def test_a_grasped_block_stays_between_the_fingers(task: str):
    stage = begin(task)
    block = next(name for name in stage.colours if stage.colours[name] == stage.instruction.split()[2])
    play(stage, lambda stage: stage.held(block))
    held = stage.position(block) - stage.tool()
    rng = np.random.default_rng(0)
    for _ in range(15):
        command = np.array([*rng.uniform(-1, 1, 2), 1.0 if stage.tool()[2] < 0.15 else rng.uniform(-1, 1), CLOSED])
        for _ in range(4):
            stage.step(command)
    assert stage.held(block) and np.linalg.norm(stage.position(block) - stage.tool() - held) < 0.03


def test_lifting_another_block_is_another_instruction_achieved():
    stage = begin("etude/Lift-v0")
    asked, other = stage.instruction, next(block for block in BLOCKS if block != stage._named)
    stage._named = other
    play(stage, lambda stage: stage.rise(other) >= RISE)
    assert stage.achieved() == [f"lift the {stage.colours[other]} block"] != [asked]


def test_the_reward_of_lift_rises_in_every_phase():
    stage = begin("etude/Lift-v0")
    block = stage._named
    phases = (lambda s: s.tool()[2] < 0.10, lambda s: s.held(block), lambda s: s.rise(block) > 0.03, lambda s: s.rise(block) >= RISE)
    levels = [stage.reward(), *(play(stage, phase)[-1] for phase in phases)]
    assert all(np.diff(levels) > 0.05) and levels[-1] == 1.0


@pytest.mark.parametrize("task", ["etude/Place-v0", "etude/Stack-v0"])
def test_a_block_in_the_fingers_is_not_yet_there(task: str):
    """At its place, but held: all but the last of the reward, and no success until it is let go."""
    stage = begin(task)
    block, spot = (stage._block, stage.spot(stage._pad)) if task == GRASPING[1] else (stage._upper, stage.spot(stage._lower))
    rewards = play(
        stage, lambda stage: stage.held(block) and np.abs(stage.position(block) - spot).max() < 0.012 and stage.position(block)[2] - spot[2] < 0.006
    )
    assert 0.75 < rewards[-1] < 0.85 and stage.achieved() == []
    tool = stage.tool()
    for _ in range(10):
        stage.step(stage.towards(tool, 1, CLOSED))
    assert stage.achieved() == []
    play(stage, lambda stage: stage.instruction in stage.achieved(), 12)
    assert stage.reward() == 1.0


def test_a_block_on_the_other_pad_is_another_instruction_achieved():
    stage = begin("etude/Place-v0")
    other = next(pad for pad in ("pad_0", "pad_1") if pad != stage._pad)
    put(stage, stage._block, stage.spot(other) + np.array([0.02, 0, 0.002]))
    assert stage.achieved() == [stage._sentence(stage._block, other)] != [stage.instruction]


def test_a_block_pushed_against_a_pad_does_not_climb_it():
    stage = begin("etude/Place-v0")
    pad = stage.position(stage._pad)
    put(stage, stage._block, np.array([pad[0] - 0.04 - HALF - 0.002, pad[1], HALF]))
    start = stage.position(stage._block)
    for goal in (start - [0.05, 0, -0.06], start - [0.05, 0, 0], pad):
        for _ in range(12):
            stage.step(stage.towards(np.array([*goal[:2], max(goal[2], 0.015)]), 1, CLOSED))
    assert stage.position(stage._block)[2] < TOP and stage.achieved() == []


def test_a_stack_is_named_from_above():
    stage = begin("etude/Stack-v0")
    put(stage, stage._lower, stage.spot(stage._upper))
    assert stage.achieved() == [stage._sentence(stage._lower, stage._upper)] != [stage.instruction]


def test_a_block_beside_the_middle_of_a_pad_rests_there_and_one_at_its_foot_does_not():
    stage = begin("etude/Place-v0")
    spot = stage.spot(stage._pad)
    assert not stage.rests(stage._block, spot, RADIUS)
    put(stage, stage._block, spot + np.array([0.03, 0, 0.001]))
    assert stage.rests(stage._block, spot, RADIUS) and not stage.rests(stage._block, spot, 0.02)
