"""Where a reply moves the robot's tool, as points in the frame that the policy saw. The reply is executed again, and nothing is guessed.

Shapes: H = actions of a decision, A = dimensions of an action, F = frames of an observation, h and w = height and width of a frame.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs.adapt import Adapter
from envs.simulate.objects import find
from envs.simulate.render import mujoco
from envs.simulate.replay import replay

Point = tuple[float, float]  # x and y from the top left, in [0, 1] of the frame


def tool_moves(
    adapter: Adapter, seed: int, openings: Sequence[np.ndarray], frames: np.ndarray, replies: Sequence[np.ndarray], tool: str
) -> list[Point]:
    """Return where the tool is in the first camera's frame: before the decision, and after each reply.

    Args:
        adapter: the environment.
        seed: of the episode.
        openings: float32[H, A] actions of each decision before this one.
        frames: uint8[F, h, w, 3], what the policy saw at this decision.
        replies: float32[H, A] each.
        tool: name of the tool, as in `ground.tool`.

    Returns:
        1 + N points; none at all where they would not be right: the frame cannot be drawn again bit by bit, the camera moves, or the tool is hidden.
    """
    if adapter.model is None or not _stands_still(adapter.model, adapter.mujoco_cameras[0]):
        return []
    points = []
    for reply in (None, *replies):
        replay(adapter, seed, openings)
        if reply is not None:
            adapter.step(reply, look=False)  # only the place of the tool is needed, and no frame
        # Many environments leave positions one step behind the joints; the episode ends here, so they may be changed.
        mujoco.mj_kinematics(adapter.model, adapter.data)
        # The newest frame of each camera: a replay draws none of the steps before, so its history may differ.
        if reply is None and not np.array_equal(adapter.observe().frames[-len(adapter.config.sources) :], frames[-len(adapter.config.sources) :]):
            return []
        found = [each for each in find(adapter.model, adapter.data, adapter.mujoco_cameras[:1], tool) if each.name == "tool"]
        if not found or (pixel := found[0].pixels[0]) is None:  # hidden behind something, or outside of the frame
            return []
        points.append((round(float(pixel[0]), 4), round(float(pixel[1]), 4)))
    return points


def _stands_still(model: Any, camera: Any) -> bool:
    """Return whether a camera is fixed to the world: points of two moments then belong into one frame."""
    if camera is None:  # the environment draws the frame itself
        return False
    if isinstance(camera, str):
        return int(model.cam_bodyid[model.camera(camera).id]) == 0  # body 0 is the world
    fixed = camera.type == mujoco.mjtCamera.mjCAMERA_FIXED
    # A free camera stays, a tracking one does not.
    return int(model.cam_bodyid[camera.fixedcamid]) == 0 if fixed else camera.type == mujoco.mjtCamera.mjCAMERA_FREE
