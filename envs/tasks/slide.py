# ruff: noqa: D102 (a task's methods are documented where Stage declares them)
"""Slide: open the drawer that the instruction names, and no other. A chest has three drawers of different colours, side by side."""

import numpy as np

from envs.tasks.base import COLOURS, Stage
from envs.tasks.rewards import proximity, tolerance

DRAWERS = tuple(f"drawer_{i}" for i in range(3))
OUT = 0.05  # a drawer counts as open when it is pulled out this far, metres
HOOK, ABOVE = 0.02, 0.075  # heights of the tool above the table, metres: when it pulls, and when it passes over handles
ROOM = 0.016, 0.02  # the tool is inside a handle within these distances of its middle, along x and y, metres


class Slide(Stage):
    """Success: the named drawer is 5 cm open. Opening another ends the episode without success."""

    source = "slide.xml"
    wordings = r"open (.*)", r"pull out \1", r"slide \1 open", r"draw \1 out"

    def arrange(self, rng: np.random.Generator) -> None:
        self.place("chest", rng.uniform((0.385, -0.06), (0.425, 0.06)))
        for drawer, colour in zip(DRAWERS, rng.permutation(list(COLOURS)), strict=False):
            self.paint(drawer, str(colour))
        self._named = DRAWERS[rng.integers(len(DRAWERS))]
        self.instruction = f"open the {self.colours[self._named]} drawer"

    def opening(self, drawer: str) -> float:
        """Return how far a drawer is open, metres."""
        return float(self.data.joint(drawer).qpos[0])

    def achieved(self) -> list[str]:
        return [f"open the {self.colours[drawer]} drawer" for drawer in DRAWERS if self.opening(drawer) >= OUT]

    def failed(self) -> bool:
        return any(self.opening(drawer) >= OUT for drawer in DRAWERS if drawer != self._named)

    def reward(self) -> float:
        hook = np.array([*self.position(self._named)[:2], HOOK])
        out = tolerance(self.opening(self._named), (OUT, np.inf), margin=OUT)
        return 1.0 if out == 1.0 else 0.5 * proximity(self.tool() - hook) + 0.5 * out

    def oracle(self, steps: int = 1) -> np.ndarray:
        tool, handle = self.tool(), self.position(self._named)
        aside = np.abs(tool - handle)[:2]
        if tool[2] < HOOK + 0.015 and (aside < ROOM).all():
            return self.towards(np.array([tool[0] - 2 * OUT, handle[1], HOOK]), steps)  # pull towards the robot, -x
        if (aside < 0.010).all():
            return self.towards(np.array([*handle[:2], HOOK]), steps)
        over = handle if tool[2] > ABOVE - 0.02 else tool  # rise before passing over
        return self.towards(np.array([*over[:2], ABOVE]), steps)
