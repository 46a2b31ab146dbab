# ruff: noqa: D102 (a task's methods are documented where Stage declares them)
"""Press: push down the button that the instruction names, and no other. There are four buttons with springs, of different colours."""

import numpy as np

from envs.tasks.base import COLOURS, Stage, scatter
from envs.tasks.rewards import tolerance

BUTTONS = tuple(f"button_{i}" for i in range(4))
TRAVEL = 0.016  # of a button, metres
DOWN = 0.6  # share of the travel at which a button counts as pressed
ABOVE = 0.075  # height at which the expert moves between buttons, metres


class Press(Stage):
    """Success: the named button is down. Pressing another ends the episode without success."""

    source = "press.xml"
    wordings = r"press (.*)", r"push \1 down", r"click \1", r"hit \1"

    def arrange(self, rng: np.random.Generator) -> None:
        places = scatter(rng, len(BUTTONS), 0.10, (0.20, -0.19), (0.43, 0.19))
        for button, xy, colour in zip(BUTTONS, places, rng.permutation(list(COLOURS)), strict=False):
            self.place(button.replace("button", "plate"), xy)  # the plate carries the button
            self.paint(button, str(colour))
        self._named = BUTTONS[rng.integers(len(BUTTONS))]
        self.instruction = f"press the {self.colours[self._named]} button"

    def depth(self, button: str) -> float:
        """Return how far a button is pressed, as a share of its travel."""
        return float(self.data.joint(button).qpos[0]) / TRAVEL

    def achieved(self) -> list[str]:
        return [f"press the {self.colours[button]} button" for button in BUTTONS if self.depth(button) >= DOWN]

    def failed(self) -> bool:
        return any(self.depth(button) >= DOWN for button in BUTTONS if button != self._named)

    def reward(self) -> float:
        near = float(np.linalg.norm(self.tool() - self.position(self._named)))
        return 0.7 * tolerance(near, (0, 0.02), margin=0.25) + 0.3 * min(max(self.depth(self._named) / DOWN, 0.0), 1.0)

    def oracle(self, steps: int = 1) -> np.ndarray:
        tool, button = self.tool(), self.position(self._named)
        aside = np.linalg.norm((tool - button)[:2])
        if aside < 0.012:
            return self.towards(np.array([*button[:2], 0.015]), steps)  # the lowest allowed tool target
        height = max(ABOVE, 0.9 * tool[2]) if aside > 0.04 else ABOVE  # descend gradually on the way
        return self.towards(np.array([*button[:2], height]), steps)
