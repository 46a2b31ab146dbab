"""An environment whose errors, and whose texts, are of classes of its own, for tests of what passes between processes."""

from typing import Any, ClassVar

import gymnasium
import numpy as np


class Broken(Exception):
    """Pickle would make it without arguments."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"code {code} at {where}")


class Refused(ValueError):
    """The same, of a type that the user can mend."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"code {code} at {where}")


class Words(str):
    """A text that pickle cannot make again."""

    def __new__(cls, text: str, *, language: str) -> "Words":
        return super().__new__(cls, text)

    def __reduce__(self) -> Any:
        return _unmade, (str(self),)


def _unmade(text: str) -> Words:
    raise Broken(2, where=text)


class Odd:
    """An object that pickle cannot make again."""

    def __reduce__(self) -> Any:
        return _unmade, ("pickle",)


class Worded(gymnasium.Env):
    """Raises an error in its second step, where it is asked to."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})  # type: ignore[arg-type]
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.steps = 0
        return self._see(), self._told()

    def step(self, action: np.ndarray):
        self.steps += 1
        if self.fault and self.steps == 2:
            raise {"Broken": Broken, "Refused": Refused, "EOFError": lambda code, where: EOFError(where)}[self.fault](5, where="here")
        return self._see(), 0.0, False, self.steps == 3, self._told()

    def _see(self) -> dict[str, np.ndarray]:
        return {"eye": np.zeros((16, 16, 3), np.uint8)}

    def _told(self) -> dict[str, Any]:
        words = Words("go on", language="English")
        return {"success": False, "instruction": words, "achieved": (words,)}


def odd(adapter: Any) -> Odd:
    """A function for `Proxy.apply` whose result cannot be read in another process."""
    return Odd()
