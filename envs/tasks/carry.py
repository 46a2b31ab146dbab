"""What the tasks that grasp share: blocks between the fingers, and a script that fetches one and sets it down."""

from typing import ClassVar

import numpy as np

from envs.tasks.base import Stage
from envs.tasks.rewards import nearness, tolerance

HALF = 0.017  # half of a block's edge, metres
GRASP, HOVER = 0.016, 0.075  # height of the tool when it grasps, and when it passes over what stands on the table, metres
AIM, SLOPE = 0.012, 0.3  # a tool may go down inside a cone above its aim: half its width below, metres, and growth with height
RELEASE = 0.006  # a held block may be let go at this height above or below where it shall rest, metres
SLACK = 0.004  # how far from its resting height the centre of a block may be, metres
OPEN, CLOSED = 1.0, -1.0


class Carry(Stage):
    """A stage with blocks that can be grasped; the fourth number of its actions opens and closes the fingers."""

    grips: ClassVar[bool] = True

    def fingers_on(self, body: str) -> set[str]:
        """Return the fingers that touch a body: 'left_finger', 'right_finger'."""
        pairs, own = self.model.geom_bodyid[self.data.contact.geom], self.model.body(body).id
        others = np.concatenate([pairs[pairs[:, 0] == own, 1], pairs[pairs[:, 1] == own, 0]])
        return {self.model.body(other).name for other in others} & {"left_finger", "right_finger"}

    def held(self, block: str) -> bool:
        """Return whether a block is between the fingers: both touch it."""
        return len(self.fingers_on(block)) == 2

    def rests(self, block: str, spot: np.ndarray, radius: float) -> bool:
        """Return whether a block lies, untouched by fingers, where its centre is at most `radius` beside `spot`, float64[3], metres."""
        way = self.position(block) - spot
        return bool(np.linalg.norm(way[:2]) <= radius and abs(way[2]) <= SLACK) and not self.fingers_on(block)

    def approach(self, block: str) -> float:
        """Return how near the tool is to having grasped a block, in [0, 1]."""
        return 0.7 * nearness(self.tool() - self.position(block)) + 0.3 * self.held(block)

    def progress(self, block: str, spot: np.ndarray) -> float:
        """Return how far a block is on its way to being let go at `spot`, in [0, 0.8]: approached and grasped, lifted, brought."""
        way = spot - self.position(block)
        raised = tolerance(-float(way[2]), (-0.001, np.inf), margin=0.06)
        return 0.3 * self.approach(block) + 0.2 * raised + 0.3 * nearness(way)

    def fetch(self, block: str, steps: int) -> np.ndarray:
        """Return the command of a script that goes above a block with open fingers, down, and closes them."""
        tool, place = self.tool(), self.position(block)
        aside, down = float(np.linalg.norm((tool - place)[:2])), np.array([*place[:2], place[2] - HALF + GRASP])
        above = float(tool[2] - down[2])
        if above < 0.02 and aside < AIM:
            return self.towards(down, steps, CLOSED)
        if aside < AIM + SLOPE * above and self.data.joint("left").qpos[0] > 1.3 * HALF:
            return self.towards(down, steps, OPEN)
        over = place if tool[2] > HOVER - 0.02 else tool  # rise before passing over
        return self.towards(np.array([*over[:2], HOVER]), steps, OPEN)

    def deliver(self, block: str, spot: np.ndarray, steps: int) -> np.ndarray:
        """Return the command of a script that fetches a block, carries it to `spot`, where its centre shall rest, metres, and lets it go."""
        tool, way = self.tool(), spot - self.position(block)
        aside = float(np.linalg.norm(way[:2]))
        if aside < AIM and abs(way[2]) < RELEASE:
            return self.towards(tool, steps, OPEN)
        if not self.held(block):
            return self.fetch(block, steps)
        if aside < AIM - SLOPE * way[2]:
            return self.towards(tool + way, steps, CLOSED)
        lift = way[2] + 2 * HALF  # it passes over with room below, and rises first
        return self.towards(tool + np.array([*(way[:2] if lift < 1.5 * HALF else (0, 0)), lift]), steps, CLOSED)
