"""The base of the tasks with grasping: measurements of blocks and fingers, and a scripted expert that picks a block up and puts it down."""

from typing import ClassVar

import numpy as np

from envs.tasks.base import Stage
from envs.tasks.rewards import proximity, tolerance

HALF = 0.017  # half of a block's edge, metres
GRASP, HOVER = 0.016, 0.075  # heights of the tool above the table, metres: when it grasps, and when it passes over objects
AIM, SLOPE = 0.012, 0.3  # the tool may descend within a cone above its aim: radius at the bottom, metres, and increase of the radius with height
RELEASE = 0.006  # a held block is released within this height of where it is to rest, metres
SLACK = 0.004  # tolerance of the height of a resting block, metres
OPEN, CLOSED = 1.0, -1.0  # fourth number of an action


class Carry(Stage):
    """A task with blocks that can be grasped; the fourth number of its actions opens and closes the fingers."""

    grips: ClassVar[bool] = True

    def fingers_on(self, body: str) -> set[str]:
        """Return the names of the fingers that touch a body, of 'left_finger' and 'right_finger'."""
        pairs, own = self.model.geom_bodyid[self.data.contact.geom], self.model.body(body).id
        # Contacts are pairs of geoms in either order.
        others = np.concatenate([pairs[pairs[:, 0] == own, 1], pairs[pairs[:, 1] == own, 0]])
        return {self.model.body(other).name for other in others} & {"left_finger", "right_finger"}

    def held(self, block: str) -> bool:
        """Return whether both fingers touch a block."""
        return len(self.fingers_on(block)) == 2

    def rests(self, block: str, spot: np.ndarray, radius: float) -> bool:
        """Return whether a block rests at a spot and no finger touches it.

        Args:
            block: name of its body.
            spot: float64[3], where its centre should be, metres.
            radius: horizontal tolerance, metres; the vertical one is `SLACK`.
        """
        offset = self.position(block) - spot
        return bool(np.linalg.norm(offset[:2]) <= radius and abs(offset[2]) <= SLACK) and not self.fingers_on(block)

    def approach(self, block: str) -> float:
        """Return the reward for approaching and grasping a block, in [0, 1]."""
        return 0.7 * proximity(self.tool() - self.position(block)) + 0.3 * self.held(block)

    def progress(self, block: str, spot: np.ndarray) -> float:
        """Return the reward before a block rests at a spot, in [0, 0.8]: 0.3 for grasping, 0.2 for lifting, 0.3 for carrying it there."""
        offset = spot - self.position(block)
        raised = tolerance(-float(offset[2]), (-0.001, np.inf), margin=0.06)  # at least as high as the spot, less 1 mm
        return 0.3 * self.approach(block) + 0.2 * raised + 0.3 * proximity(offset)

    def fetch(self, block: str, steps: int) -> np.ndarray:
        """Return the expert's action to pick a block up: above it with open fingers, then down, then close them."""
        tool, place = self.tool(), self.position(block)
        aside, down = float(np.linalg.norm((tool - place)[:2])), np.array([*place[:2], place[2] - HALF + GRASP])
        above = float(tool[2] - down[2])
        if above < 0.02 and aside < AIM:
            return self.towards(down, steps, CLOSED)
        # Down only with fingers that are open wide enough: each must be farther out than half a block.
        if aside < AIM + SLOPE * above and self.data.joint("left").qpos[0] > 1.3 * HALF:
            return self.towards(down, steps, OPEN)
        over = place if tool[2] > HOVER - 0.02 else tool  # rise before passing over
        return self.towards(np.array([*over[:2], HOVER]), steps, OPEN)

    def deliver(self, block: str, spot: np.ndarray, steps: int) -> np.ndarray:
        """Return the expert's action to pick a block up, carry it to a spot and release it.

        Args:
            block: name of its body.
            spot: float64[3], where its centre is to rest, metres.
            steps: control steps that the action is held for.
        """
        tool, offset = self.tool(), spot - self.position(block)
        aside = float(np.linalg.norm(offset[:2]))
        if aside < AIM and abs(offset[2]) < RELEASE:  # before the check of `held`: a block that is being released must not be picked up again
            return self.towards(tool, steps, OPEN)
        if not self.held(block):
            return self.fetch(block, steps)
        if aside < AIM - SLOPE * offset[2]:  # within the cone above the spot, where offset[2] is negative: down
            return self.towards(tool + offset, steps, CLOSED)
        lift = offset[2] + 2 * HALF  # carry it one block's height above the spot; rise first, and only then move sideways
        return self.towards(tool + np.array([*(offset[:2] if lift < 1.5 * HALF else (0, 0)), lift]), steps, CLOSED)
