"""What a user plugs in by name: `module:function` or `file.py:function`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import policies
from envs.faults import in_words
from envs.make import module_of
from envs.spaces import Actions

if TYPE_CHECKING:
    from policies.vlm import Vlm

NEEDED = ("config", "model", "codec", "chunk", "reply_length", "temperature", "base_name", "name", "act", "distribution", "features", "load")


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


def load_model(config: policies.PolicyConfig, actions: Actions) -> "Vlm":
    """Return the policy that a config names: a Hugging Face model, or a class of the user's.

    Args:
        config: section `policy`.
        actions: of the environment.

    Raises:
        ValueError: there is none, or it cannot be made.
    """
    if not config.model.rpartition(":")[2].isidentifier() or ":" not in config.model or Path(config.model).exists():
        return policies.load(config, actions.low, actions.high, actions.counts)
    make = plugin("policy.model", config.model)
    try:
        made = make(config, actions.low, actions.high, actions.counts)
    except Exception as error:  # somebody's constructor may raise anything
        raise ValueError(f"policy.model {config.model!r} cannot be made ({in_words(error)}).") from error
    lacks = [name for name in NEEDED if not hasattr(made, name)]
    if lacks:
        raise ValueError(f"policy.model {config.model!r} lacks {', '.join(lacks)}; build it on policies.trained.Trained (docs/extend.md).")
    return made
