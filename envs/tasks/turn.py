# ruff: noqa: D102 (a task's methods are documented where Stage declares them)
"""Turn: swing the named lever to the named side, and no other lever. Three levers of different colours point towards the robot."""

import numpy as np

from envs.tasks.base import COLOURS, Stage
from envs.tasks.rewards import proximity, tolerance

LEVERS = tuple(f"lever_{i}" for i in range(3))
SIDES = {"left": 1, "right": -1}  # as the robot sees it: the free end moves towards +y or -y
FAR = np.radians(40)  # a lever counts as turned when it is this far from its angle at the reset, radians
GRIP = 0.055  # distance from a lever's hinge at which the tool pushes, metres
ASIDE = 0.036  # distance from the axis of a lever at which a push begins, metres
LOW, ABOVE = 0.02, 0.07  # heights of the tool above the table, metres: when it pushes, and when it passes over levers


class Turn(Stage):
    """Success: the named lever is turned by 40 degrees to the named side. Turning another that far ends the episode without success."""

    source = "turn.xml"
    wordings = r"turn (.*) to (.*)", r"rotate \1 towards \2", r"swing \1 to \2", r"move \1 to \2"

    def arrange(self, rng: np.random.Generator) -> None:
        for lever, middle, colour in zip(LEVERS, (-0.12, 0, 0.12), rng.permutation(list(COLOURS)), strict=False):
            self.place(lever, np.array([0.36, middle]) + rng.uniform((-0.04, -0.012), (0.04, 0.012)))
            self.paint(lever, str(colour))
        self._start = dict(zip(LEVERS, rng.uniform(-0.25, 0.25, len(LEVERS)), strict=True))
        for lever, angle in self._start.items():
            self.data.joint(lever).qpos[0] = angle
        self._named, self._side = LEVERS[rng.integers(len(LEVERS))], str(rng.choice(list(SIDES)))
        self.instruction = self._sentence(self._named, self._side)

    def _sentence(self, lever: str, side: str) -> str:
        return f"turn the {self.colours[lever]} lever to the {side}"

    def turned(self, lever: str, side: str) -> float:
        """Return the angle by which a lever has been turned to a side since the reset, radians; negative for the other side."""
        return float(self.data.joint(lever).qpos[0] - self._start[lever]) * SIDES[side]

    def achieved(self) -> list[str]:
        return [self._sentence(lever, side) for lever in LEVERS for side in SIDES if self.turned(lever, side) >= FAR]

    def failed(self) -> bool:
        return any(self.turned(lever, side) >= FAR for lever in LEVERS for side in SIDES if lever != self._named)

    def beside(self, angle: float) -> np.ndarray:
        """Return the position, float64[2], metres, from which the tool pushes the named lever to the named side.

        Args:
            angle: of the lever, radians.
        """
        along, across = np.array([-np.cos(angle), np.sin(angle)]), np.array([np.sin(angle), np.cos(angle)])
        return self.data.joint(self._named).xanchor[:2] + GRIP * along - SIDES[self._side] * ASIDE * across

    def reward(self) -> float:
        start = np.array([*self.beside(float(self.data.joint(self._named).qpos[0])), LOW])
        turned = tolerance(self.turned(self._named, self._side), (FAR, np.inf), margin=FAR)
        return 1.0 if turned == 1.0 else 0.4 * proximity(self.tool() - start) + 0.6 * turned

    def oracle(self, steps: int = 1) -> np.ndarray:
        tool, angle = self.tool(), float(self.data.joint(self._named).qpos[0])
        start = self.beside(angle)
        away = float(np.linalg.norm(tool[:2] - start))
        if tool[2] < LOW + 0.02 and away < 0.03:
            return self.towards(np.array([*self.beside(angle + 1.2 * SIDES[self._side]), LOW]), steps)  # along the arc, up to 1.2 rad ahead
        if away < 0.012:
            return self.towards(np.array([*start, LOW]), steps)
        over = start if tool[2] > ABOVE - 0.02 else tool  # rise before passing over
        return self.towards(np.array([*over[:2], ABOVE]), steps)
