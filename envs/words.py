"""The instruction of an episode: the environment's own, or a template from the config, whose placeholders are filled in."""

import inspect
import re
from collections.abc import Sequence
from enum import Enum
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np

from envs.faults import in_words
from envs.frames import first_key, lookup

KEYS = ("instruction", "mission", "task_description", "language_instruction", "lang")  # under which environments give it, tried in this order


def instruction(given: str | tuple[str, ...], seed: int, info: dict[str, Any], observation: Any, env: Any) -> str:
    """Return the instruction of the episode of `seed`; empty if there is none.

    Args:
        given: `env.instruction`; if it is empty, the environment's own instruction is used.
        seed: chooses one of several templates.
        info: of the reset.
        observation: of the reset.
        env: the environment, with its wrappers.

    Raises:
        ValueError: a placeholder names no text or numbers, or the environment's own instruction cannot be read.
    """
    holders = (info, observation, env)
    if isinstance(given, tuple):
        given = given[int(np.random.default_rng(seed).integers(len(given)))] if given else ""  # by a generator of its own
    if not given.strip():
        return next(filter(None, (_own(key, holder, seed) for key in KEYS for holder in holders)), "")

    def filled(found: re.Match[str]) -> str:
        text = text_at(found[1].strip(), holders)
        if text is None:  # an error, not an empty text: the prompt would silently be wrong
            keys = ", ".join(map(repr, info)) or "nothing"
            raise ValueError(
                f"env.instruction names {found[0]}, which neither info ({keys}), observation nor environment has as a text or numbers; "
                "names that begin with _ are not read."
            )
        return text

    return re.sub(r"\{([^{}]*)\}", filled, given)


def _own(key: str, holder: Any, seed: int) -> str:
    """Return the text that an environment gives under a key, in any usual form; '' where there is no text, such as null or an embedding.

    The forms are: text, bytes, an enum of texts, an array or a list of these, and a method that returns one. Of several texts one is drawn by seed;
    single words are those of one sentence.
    """
    try:
        value = _attribute(holder, key)
    except KeyError:
        return ""
    if inspect.isroutine(value):
        try:
            inspect.signature(value).bind()
        except (TypeError, ValueError):  # it needs arguments, so it is something else
            return ""
        try:
            value = value()
        except (Exception, SystemExit) as error:
            raise ValueError(f"its method {key}() fails with {in_words(error)}; return the instruction as text, or set env.instruction.") from error
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, list | tuple) and value:
        tokens = len(value) > 1 and all(len(_plain(each).split()) == 1 for each in value)
        value = " ".join(_plain(each).strip() for each in value) if tokens else value[int(np.random.default_rng(seed).integers(len(value)))]
    text = _plain(value)
    coded = key == "lang" and " " not in text.strip()  # the code of a language, such as 'en'
    return "" if coded or not text.strip() else text


def _plain(value: Any) -> str:
    """Return a text or bytes as text; '' of anything else."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value) if isinstance(value, str) else ""


def _attribute(holder: Any, name: str) -> Any:
    """Return what a holder has under a name; of an environment, what it or any of its wrappers has.

    Raises:
        KeyError: it has nothing of that name.
    """
    if not isinstance(holder, gymnasium.Env):
        return lookup(holder, name)
    try:
        return holder.get_wrapper_attr(name)
    except AttributeError as error:
        raise KeyError(name) from error


def text_at(path: str, holders: Sequence[Any]) -> str | None:
    """Return the text or numbers at a dotted path in the first of the holders that has any there; None if none has.

    Prompts are recorded and uploaded. So private names, modules, classes and functions are not followed: they lead out of the environment, to
    `os.environ` for instance.
    """
    for holder in holders:
        try:
            value = _followed(holder, path)
        except KeyError:  # not in this holder, or private
            continue
        if _is_plain(value):
            return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return None


def _followed(value: Any, path: str) -> Any:
    """Return what a dotted path leads to; raise KeyError where there is nothing, or only what `text_at` does not follow."""
    name, rest = first_key(value, path) if isinstance(value, dict) else path.partition(".")[::2]
    if not name or name.startswith("_"):  # an empty name would be the whole observation
        raise KeyError(name)
    found = _attribute(value, name)
    if inspect.isroutine(found) or isinstance(found, ModuleType | type):
        raise KeyError(name)
    return _followed(found, rest) if rest else found


def _is_plain(value: Any) -> bool:
    """Return whether a value is text, a number, or a list or array of these."""
    if isinstance(value, Enum):
        return isinstance(value.value, str | int)
    if isinstance(value, list | tuple):  # not dicts: their text would be long and rarely meant
        return all(map(_is_plain, value))
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufUS"
    return isinstance(value, str | bytes | bool | int | float)
