"""Scripted experts of gym-pusht: f(env, observation) -> action, to be named in `demonstrate.expert`."""

from typing import Any

import numpy as np

ROUND, CLOSE = 120.0, 75.0  # distance from the middle of the block on the way round it, and at the beginning of a push, pixels of 512
AHEAD = 35.0  # length of a push in one decision, pixels
TURN = 0.7  # radians of the way round in one decision


def push_to_place(env: Any, observation: Any) -> np.ndarray:
    """Go round the block to its far side, as seen from the goal, and push its middle to that of the goal, at whatever angle."""
    block, goal = env.unwrapped.block, np.asarray(env.unwrapped.goal_pose)
    middle = np.asarray(block.local_to_world(block.center_of_gravity))
    turned = np.array([[np.cos(goal[2]), -np.sin(goal[2])], [np.sin(goal[2]), np.cos(goal[2])]])
    way = goal[:2] + turned @ np.asarray(block.center_of_gravity) - middle
    from_block = np.asarray(env.unwrapped.agent.position) - middle
    ahead = way / (np.linalg.norm(way) + 1e-9)
    behind, here = np.arctan2(-ahead[1], -ahead[0]), np.arctan2(from_block[1], from_block[0])
    left = (behind - here + np.pi) % (2 * np.pi) - np.pi
    if abs(left) > 0.4:
        angle = here + np.clip(left, -TURN, TURN)
        target = middle + ROUND * np.array([np.cos(angle), np.sin(angle)])
    elif np.linalg.norm(from_block) > CLOSE + AHEAD:
        target = middle - CLOSE * ahead
    else:
        target = middle - (np.linalg.norm(from_block) - min(AHEAD, float(np.linalg.norm(way)) + 10)) * ahead
    return np.clip(target, 0, 512)
