"""Describes errors of third-party code in one line, and keeps them from ending the program."""

import contextlib
import dis
from collections.abc import Iterator

LONGEST = 1000  # characters of a description; some messages hold whole arrays


class NoExpert(ValueError):
    """There is no expert. This is a mistake in the config, so the run stops; other errors only make their episode faulty."""


class ExpertFault(ValueError):
    """An expert raised an error, or gave no action. The message names the expert and the form that it must have; it has no full stop."""


def in_words(error: BaseException) -> str:
    """Return the type and message of an error on one line, as in 'KeyError: 'x''; it never raises."""
    try:
        message = " ".join(str(error).split())
    except BaseException as another:  # `__str__` of an environment's own error class may itself raise
        message = f"its message raises {type(another).__name__}"
    if isinstance(error, ExpertFault):  # a sentence of our own
        return message
    return f"{type(error).__name__}: {message if len(message) <= LONGEST else message[:LONGEST] + '...'}" if message else type(error).__name__


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Turn what third-party code raises beside errors, such as `asyncio.CancelledError`, into a RuntimeError; Ctrl-C and SystemExit pass."""
    try:
        yield
    except (Exception, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not _by_a_statement(error):
            raise
        raise RuntimeError(in_words(error)) from error


def _by_a_statement(error: BaseException) -> bool:
    """Return whether an error comes from a `raise` statement: a KeyboardInterrupt of the user's breaks in anywhere else."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")
