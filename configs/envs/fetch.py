"""Scripted experts of Gymnasium-Robotics' Fetch: f(env, observation) -> action, to be named in `demonstrate.expert`.

An action of 1 moves the gripper by about 5 cm; these hold it for two steps. The fourth number opens the fingers.
"""

from typing import Any

import numpy as np

GAIN = 10.0  # of the distance that is left, per held action


def reach(env: Any, observation: dict[str, np.ndarray]) -> np.ndarray:
    """Move the gripper straight to the goal."""
    way = observation["desired_goal"] - observation["achieved_goal"]
    return np.clip([*GAIN * way, 0], -1, 1)


def push(env: Any, observation: dict[str, np.ndarray]) -> np.ndarray:
    """Go behind the block, low, and push it to the goal."""
    block, goal, hand = observation["achieved_goal"], observation["desired_goal"], observation["observation"][:3]
    way = goal - block
    ahead = way / (np.linalg.norm(way) + 1e-9)
    behind = block - 0.08 * ahead
    aside = np.linalg.norm(np.cross(ahead, hand - block)[2:])
    if hand[2] < block[2] + 0.03 and aside < 0.02 and ahead @ (hand - block) < 0:
        target = goal - 0.04 * ahead  # the block's half width and the fingers'
    elif np.linalg.norm((hand - behind)[:2]) < 0.02:
        target = behind
    else:
        target = np.array([*behind[:2], block[2] + 0.1])
        if hand[2] < block[2] + 0.06:  # rise before passing over
            target[:2] = hand[:2]
    return np.clip([*GAIN * (target - hand), -1], -1, 1)
