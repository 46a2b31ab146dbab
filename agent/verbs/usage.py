"""How the verbs read their arguments: `--help` in sections, and a mistake is one sentence."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from agent.verbs.manual import fitted

LARGEST_SEED = 2**31 - 1  # many environments use generators that take 32 bits, and further seeds follow this one
POLICY = "a run, a checkpoint in a run (RUN/cycle-003), a folder of `etude export` or its hub id, or an untrained model: nano, a hub id, a folder"
ENV = "an environment's id, or a config file (.yaml)"
OVERRIDES = (
    "Any config key, as in a run: --env.cameras front wrist, --policy.device cuda, --collect.num_envs 8. All keys: etude improve CONFIG RUN --help"
)


class Usage(argparse.ArgumentParser):
    """Parser of one verb's arguments.

    Args:
        verb: its name.
        says: what it does, in a few sentences.
        example: a command.
        overrides: whether config keys may be given, as `--env.size 64`.
    """

    def __init__(self, verb: str, says: str, example: str, overrides: bool = False) -> None:
        also = f"config keys:\n  {OVERRIDES}\n\n" if overrides else ""
        # Without abbreviations: a later option could change what a shortened name means.
        super().__init__(
            prog=f"etude {verb}", description=says, epilog=f"{also}example:\n  {example}", allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        self._overrides = overrides

    def format_help(self) -> str:
        """Return the help at the width of the terminal."""
        return fitted(super().format_help())

    def error(self, message: str) -> NoReturn:
        """Raise a ValueError of one sentence; argparse itself would print the usage and exit."""
        raise ValueError(f"{message}; see {self.prog} --help")

    def read(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Return the arguments, and the overrides of config keys among them, for `agent.config.read.override`."""
        own, keys, at = [], [], 0
        while at < len(arguments):
            start, at = at, at + 1
            name, equals, _ = arguments[start].partition("=")
            if self._overrides and self._is_key(name):
                while not equals and at < len(arguments) and not arguments[at].startswith("--"):  # a key may take several words
                    at += 1
                keys += arguments[start:at]
            else:
                own.append(arguments[start])
        return self.parse_intermixed_args(own), keys  # options may stand before, between and behind the arguments

    def _is_key(self, name: str) -> bool:
        """Return whether `--name` is a config key: one of a section, which has a dot, or one of its own, as `--threads`."""
        if not name.startswith("--") or name in self._option_string_actions:
            return False
        from agent.config.config import Config  # here, since its imports take a while

        return "." in name or name[2:].replace("-", "_") in Config.model_fields


def run_folder(arguments: Sequence[str], verb: str) -> Path:
    """Return the folder of a run, the only argument of a verb."""
    if not any(arguments[:1]) or not os.path.exists(Path(arguments[0]) / "config.yaml"):  # False also where a path is too long
        raise ValueError(f"etude {verb} needs the folder of a run; {arguments[0] if any(arguments[:1]) else 'nothing'} holds none.")
    if arguments[1:]:
        raise ValueError(f"{arguments[1]!r} is one argument too many; it is only: etude {verb} RUN")
    return Path(arguments[0])


def path(text: str) -> Path:
    """Return a path; an empty one would be the working folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def whole(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        if not (text.isdecimal() and int(text) >= least):  # `int` alone also takes ' 5' and '1_000'
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        if most is not None and int(text) > most:
            raise argparse.ArgumentTypeError(f"{text!r} is more than {most}")
        return int(text)

    return read


def seconds(text: str) -> float:
    """Return a number of seconds above 0."""
    try:
        value: Any = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):  # NaN fails too
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value
