"""Scripted experts of robosuite and LIBERO: f(env, observation) -> action, to be named in `demonstrate.expert`.

They read the places of objects from the observation, metres, and that of a drawer from the simulator. The first three numbers of an action move the
hand, and the last one closes the gripper. An action is held for four steps, at a drawer or door for eight.
"""

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

GAIN = 16.0  # of an action, per metre that is left
ABOVE = 0.1  # metres over a thing at which the hand passes
NEAR = 0.015  # metres
UP = np.array([0, 0, 1])


def lift(env: Any, observation: dict[str, np.ndarray]) -> np.ndarray:
    """Lift: take the cube, and raise it."""
    cube = observation["cube_pos"]
    return _carry(observation, cube, cube + UP * 2 * ABOVE)


def stack(env: Any, observation: dict[str, np.ndarray]) -> np.ndarray:
    """Stack: take the red cube, and put it on the green one."""
    return _carry(observation, observation["cubeA_pos"], observation["cubeB_pos"] + UP * 0.048)


def basket(env: Any, observation: dict[str, np.ndarray]) -> np.ndarray:
    """LIBERO-Object: take what the instruction names, and drop it into the basket."""
    words = env.get_wrapper_attr("instruction").removeprefix("pick up the ").removesuffix(" and place it in the basket")
    # 3 cm: the palm meets the top of a milk carton before the fingers are at its middle.
    return _carry(observation, observation[f"{words.replace(' ', '_')}_1_pos"], observation["basket_1_pos"] + UP * 0.2, near=0.03)


def drawer(env: Any, observation: dict[str, np.ndarray]) -> np.ndarray:
    """LIBERO: close the drawer of a wooden cabinet that the instruction names; the hand comes from in front of its handle and pushes."""
    level = env.get_wrapper_attr("instruction").split()[2]  # close the top drawer of the cabinet
    data, hand = env.get_wrapper_attr("data"), observation["robot0_eef_pos"]
    out = -data.joint(f"wooden_cabinet_1_{level}_level").xaxis  # the way it opens, level
    # The handle moves with the drawer. 2 cm over its middle the palm passes over the cabinet.
    front = data.site(f"wooden_cabinet_1_{level}_region").xpos + 0.113 * out + 0.02 * UP
    before = front + ABOVE * out - hand
    aside = before - (before @ out) * out
    return _action(before if np.linalg.norm(aside) > 2 * NEAR else aside - out, 1, most=1.0)


def door(env: Any, observation: dict[str, np.ndarray]) -> np.ndarray:
    """Door without a latch: turn the closed fingers along the handle, reach behind it from above, and pull."""
    hand, out = observation["robot0_eef_pos"], -env.get_wrapper_attr("data").site("Door_handle").xmat.reshape(3, 3)[:, 1]  # out of the door, level
    way = observation["handle_pos"] - 0.045 * out - hand  # to a place between handle and door
    along = Rotation.from_quat(observation["robot0_eef_quat"]).as_matrix()[:, 1]  # the way in which the fingers open
    turn = -np.arctan(along[1] / along[0])  # radians, until they lie along the handle; either side may be in front
    aside = way - (way @ out) * out
    if np.linalg.norm(aside) < 2 * NEAR and abs(way @ out) < 0.05:
        way = ABOVE * out
    elif np.linalg.norm(way[:2]) > 0.02:
        across = way[2] < -0.06 and (abs(turn) < 0.3 or way @ out > -ABOVE)  # the palm is as wide as the door is near: it turns before
        way = np.array([*(way[:2] if across else (0, 0)), way[2] + ABOVE])
    return _action(way, 1, most=1.0, gain=8.0, turn=2 * turn)


def _carry(observation: dict[str, np.ndarray], thing: np.ndarray, goal: np.ndarray, near: float = 0.0255) -> np.ndarray:
    """Return the next action that brings a thing to its goal, where the hand lets it go.

    The hand grips what is nearer than `near`, metres, and holds on up to 1.5 times that.
    """
    hand, (left, right) = observation["robot0_eef_pos"], observation["robot0_gripper_qpos"]
    still = np.abs(observation["robot0_gripper_qvel"]).max() < 0.01
    at_thing, at_goal = thing - hand, goal - thing
    if np.linalg.norm(at_goal[:2]) < NEAR and abs(at_goal[2]) < NEAR:
        return _action([0, 0, 0 if left - right < 0.07 else ABOVE], -1)  # let go, and then rise
    if np.linalg.norm(at_thing) < near * (1 if left - right > 0.07 else 1.5):
        if left - right > 0.07 or not still:  # the fingers are open, or on their way
            return _action([0, 0, 0], 1)
        if np.linalg.norm(at_goal[:2]) < NEAR:
            return _action(at_goal, 1)
        over = goal[2] + ABOVE / 2 - thing[2]
        return _action([*(at_goal[:2] if over < NEAR else (0, 0)), over], 1)
    if np.linalg.norm(at_thing[:2]) < NEAR:
        return _action(at_thing, -1)
    return _action([*at_thing[:2], at_thing[2] + ABOVE], -1)


def _action(way: Any, grip: float, most: float = 0.5, gain: float = GAIN, turn: float = 0.0) -> np.ndarray:
    return np.array([*np.clip(gain * np.asarray(way), -most, most), 0, 0, np.clip(turn, -1, 1), grip])
