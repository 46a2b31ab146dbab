"""What an environment says in words: the instruction of an episode, and what stands for the placeholders of one that a config gives."""

import inspect
import re
from collections.abc import Sequence
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np

from envs.frames import lookup

KEYS = ("instruction", "mission", "task_description")  # where environments say what to do


def instruction(given: str | tuple[str, ...], seed: int, info: dict[str, Any], observation: Any, env: Any) -> str:
    """Return what to do in the episode of `seed`.

    Args:
        given: `env.instruction`; empty: the environment says it.
        seed: draws one of several.
        info: of the reset.
        observation: of the reset.
        env: the environment itself, without wrappers.

    Raises:
        ValueError: a placeholder names nothing that is a text or numbers.
    """
    holders = (info, observation, env)
    if isinstance(given, tuple):
        given = given[int(np.random.default_rng(seed).integers(len(given)))] if given else ""
    if not given:
        return next((text for text in (said(key, holders) for key in KEYS) if text is not None), "")

    def filled(found: re.Match[str]) -> str:
        text = said(found[1], holders)
        if text is None:
            keys = ", ".join(map(repr, info)) or "nothing"
            raise ValueError(
                f"env.instruction names {found[0]}, which neither info ({keys}), observation nor environment has as a text or numbers; "
                "names that begin with _ are not read."
            )
        return text

    return re.sub(r"\{([\w.]+)\}", filled, given)


def said(path: str, holders: Sequence[Any]) -> str | None:
    """Return the text or numbers that the first of the holders has under a dotted path; None where none has.

    A prompt is recorded and uploaded. So private names, modules, classes and functions are not followed, for these lead out of the environment.
    """
    for holder in holders:
        value = holder
        try:
            for name in path.split("."):
                if name.startswith("_"):
                    raise KeyError(path)
                value = lookup(value, name)
                if inspect.isroutine(value) or isinstance(value, ModuleType | type):
                    raise KeyError(path)
        except KeyError:
            continue
        if _is_plain(value):
            return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return None


def _is_plain(value: Any) -> bool:
    """Return whether a value is text or numbers, or a list of them."""
    if isinstance(value, Enum):
        return isinstance(value.value, str | int)
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufUS"
    return isinstance(value, str | bytes | bool | int | float)
