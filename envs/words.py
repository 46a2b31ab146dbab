"""The instruction of an episode: the environment's own, or a template from the config, whose placeholders are filled in."""

import inspect
import re
from collections.abc import Sequence
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np

from envs.frames import lookup

KEYS = ("instruction", "mission", "task_description")  # under which environments give an instruction, tried in this order


def instruction(given: str | tuple[str, ...], seed: int, info: dict[str, Any], observation: Any, env: Any) -> str:
    """Return the instruction of the episode of `seed`; empty if there is none.

    Args:
        given: `env.instruction`; if it is empty, the environment's own instruction is used.
        seed: chooses one of several templates.
        info: of the reset.
        observation: of the reset.
        env: the environment, without wrappers.

    Raises:
        ValueError: a placeholder names no text or numbers.
    """
    holders = (info, observation, env)
    if isinstance(given, tuple):
        given = given[int(np.random.default_rng(seed).integers(len(given)))] if given else ""  # by a generator of its own
    if not given:
        return next((text for text in (text_at(key, holders) for key in KEYS) if text is not None), "")

    def filled(found: re.Match[str]) -> str:
        text = text_at(found[1], holders)
        if text is None:  # an error, not an empty text: the prompt would silently be wrong
            keys = ", ".join(map(repr, info)) or "nothing"
            raise ValueError(
                f"env.instruction names {found[0]}, which neither info ({keys}), observation nor environment has as a text or numbers; "
                "names that begin with _ are not read."
            )
        return text

    return re.sub(r"\{([\w.]+)\}", filled, given)


def text_at(path: str, holders: Sequence[Any]) -> str | None:
    """Return the text or numbers at a dotted path in the first of the holders that has any there; None if none has.

    Prompts are recorded and uploaded. So private names, modules, classes and functions are not followed: they lead out of the environment, to
    `os.environ` for instance.
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
        except KeyError:  # not in this holder, or private
            continue
        if _is_plain(value):
            return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return None


def _is_plain(value: Any) -> bool:
    """Return whether a value is text, a number, or a list or array of these."""
    if isinstance(value, Enum):
        return isinstance(value.value, str | int)
    if isinstance(value, list | tuple):  # not dicts: their text would be long and rarely meant
        return all(map(_is_plain, value))
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufUS"
    return isinstance(value, str | bytes | bool | int | float)
