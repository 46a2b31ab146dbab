"""What a user plugs in by name: `module:function` or `file.py:function`."""

from collections.abc import Callable
from typing import Any

from envs.faults import in_words
from envs.make import module_of


def plugin(key: str, name: str) -> Callable[..., Any]:
    """Return what a key of the config names.

    Args:
        key: of the config, for the sentence.
        name: `module:function` or `file.py:function`; a class may stand for a function.

    Raises:
        ValueError: there is no such thing, it cannot be imported, or nobody can call it.
    """
    place, _, attribute = name.rpartition(":")
    if not (place and attribute):
        raise ValueError(f"{key} is {name!r}; give module:function or file.py:function.")
    try:
        found = getattr(module_of(place), attribute)
    except (Exception, SystemExit) as error:  # somebody's module may raise anything
        raise ValueError(f"{key} {name!r} cannot be used ({in_words(error)}).") from error
    if not callable(found):
        raise ValueError(f"{key} {name!r} is a {type(found).__name__}, which nobody can call; give a function.")
    return found
