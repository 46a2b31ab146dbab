"""Scripted experts of panda-gym: f(env, observation) -> action, to be named in `demonstrate.expert`."""

from typing import Any

import numpy as np

GAIN = 10.0  # of the distance that is left; an action of 1 moves the hand by 5 cm


def reach(env: Any, observation: dict[str, np.ndarray]) -> np.ndarray:
    """Move the hand straight to the goal."""
    return np.clip(GAIN * (observation["desired_goal"] - observation["achieved_goal"]), -1, 1)
