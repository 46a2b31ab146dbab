"""Functions and classes of the user's, which the config names as `module:function` or `file.py:function`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import policies
from envs.faults import in_words
from envs.make import found_in
from envs.spaces import Actions
from policies.policy import Situation

if TYPE_CHECKING:
    from policies.vlm import Vlm

# Attributes of a policy class that the loop uses; checked when it is made, not hours later.
NEEDED = (
    "config",
    "model",
    "codec",
    "chunk",
    "reply_length",
    "temperature",
    "base_name",
    "name",
    "act",
    "distribution",
    "features",
    "num_tokens",
    "cached_features",
    "add_features",
    "load",
)


def plugin(key: str, name: str) -> Callable[..., Any]:
    """Import the function or class that a config key names.

    Args:
        key: of the config, for error sentences.
        name: `module:function` or `file.py:function`; a class is allowed too.

    Raises:
        ValueError: it does not exist, cannot be imported, or cannot be called.
    """
    place, _, attribute = name.rpartition(":")  # the last colon: a path may hold others
    if not (place and attribute):
        raise ValueError(f"{key} is {name!r}; give module:function or file.py:function.")
    try:
        found = found_in(place, attribute)
    except (Exception, SystemExit) as error:  # the user's module may raise anything, and even exit
        raise ValueError(f"{key} {name!r} cannot be used ({in_words(error)}).") from error
    if not callable(found):
        raise ValueError(f"{key} {name!r} is a {type(found).__name__}, which cannot be called; give a function.")
    return found


def load_model(config: policies.PolicyConfig, actions: Actions, situation: Situation | None = None) -> "Vlm":
    """Return the policy that a config names: a Hugging Face model, or an instance of a class of the user's.

    Args:
        config: section `policy`.
        actions: action space of the environments.
        situation: of the environments, on which a class of the user's is tried; None: it is not tried.

    Raises:
        ValueError: it does not exist, cannot be made, or returns something else than `policies.trained.Trained` says.
    """
    # A class is `place:Identifier`; a hub id has no colon, and a folder with a colon in its name exists.
    if not config.model.rpartition(":")[2].isidentifier() or ":" not in config.model or Path(config.model).exists():
        return policies.load(config, actions.low, actions.high, actions.counts)
    make = plugin("policy.model", config.model)
    try:
        policy = make(config, actions.low, actions.high, actions.counts)  # float[A], float[A], int[A]
    except Exception as error:  # the user's constructor may raise anything
        raise ValueError(f"policy.model {config.model!r} cannot be made ({in_words(error)}).") from error
    missing = [name for name in NEEDED if not hasattr(policy, name)]
    if missing:
        raise ValueError(f"policy.model {config.model!r} lacks {', '.join(missing)}; build it on policies.trained.Trained (docs/extend.md).")
    if situation is not None and (wrong := _tried(policy, situation)):
        raise ValueError(f"policy.model {config.model!r} {wrong} (docs/extend.md).")
    return policy


def _tried(policy: Any, situation: Situation) -> str:
    """Return what is wrong with the results of a user's policy, or what it raises; empty if nothing is."""
    from policies.trained import misfit  # here, since it imports torch

    try:
        return misfit(policy, situation)
    except Exception as error:  # the user's methods may raise anything
        return f"fails with {in_words(error)} when it is asked about frames uint8{list(situation.frames.shape)}"
