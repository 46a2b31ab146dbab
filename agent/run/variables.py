"""W&B's environment variables, checked before W&B reads them: its own errors name neither the variable nor what is allowed."""

import contextlib
import os
import re
from collections.abc import Iterator

from agent.config.keys import TrackConfig

MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "off", "off": "off"}  # WANDB_MODE -> track.mode
NOT_IN_PROJECTS = "/\\#?%:"
NOT_IN_IDS = ":;,#?/'"


def mode() -> str:
    """Return WANDB_MODE, in any case, as a value of `track.mode`; '' where it is not set, or empty.

    Raises:
        ValueError: it is no mode.
    """
    given = os.environ.get("WANDB_MODE", "").strip()
    if given and given.lower() not in MODES:
        raise ValueError(f"WANDB_MODE is {given[:99]!r}, and it is where figures go: online, offline, or disabled (off); set one, or unset it.")
    return MODES.get(given.lower(), "")


def mode_of(track: TrackConfig) -> str:
    """Return `track.mode`, or, if that is only the default, WANDB_MODE; raise ValueError as `mode` does."""
    usual = TrackConfig().mode
    return track.mode if track.mode != usual else mode() or usual


def run_id() -> str:
    """Return WANDB_RUN_ID; '' where it is not set, or empty.

    Raises:
        ValueError: it cannot be a part of a folder's name.
    """
    given = os.environ.get("WANDB_RUN_ID", "")
    if given and not re.fullmatch(r"\w[\w.-]{0,63}", given):
        raise ValueError(f"WANDB_RUN_ID is {given[:99]!r}; as a part of a folder's name it may have 64 letters, digits, dots, hyphens or _.")
    return given


def is_id(text: str) -> bool:
    """Return whether W&B takes a text as the id of a run."""
    return bool(text) and text.isprintable() and text == text.strip() and not set(text) & set(NOT_IN_IDS)


def check(track: TrackConfig) -> None:
    """Check what W&B reads from its variables, and the keys of the config that stand in their place.

    Raises:
        ValueError: W&B would refuse one of them; names it, and says what is allowed.
    """
    run_id()
    for name, project in (("WANDB_PROJECT", os.environ.get("WANDB_PROJECT", "")), ("track.project", track.project)):
        if len(project) > 128 or set(project) & set(NOT_IN_PROJECTS):
            allowed = f"at most 128 characters, and none of {' '.join(NOT_IN_PROJECTS)}"
            raise ValueError(f"{name} is {project[:140]!r}, and it is a project of W&B: give {allowed}.")
    tags = os.environ.get("WANDB_TAGS", "")
    for name, given in (("WANDB_TAGS", tags.split(",") if tags else []), ("track.tags", track.tags)):
        if any(not 0 < len(tag) <= 64 for tag in given):
            raise ValueError(f"{name} is {','.join(given)[:140]!r}, and it is W&B's tags: give each 1 to 64 characters, with one comma between two.")


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """Hide from W&B its variables that are empty, and a mode that only etude takes, which it would refuse. All others stay: W&B reads them once."""
    taken = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("WANDB_") and (not value or (name == "WANDB_MODE" and (value == "off" or value not in MODES)))
    }
    for name in taken:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(taken)
