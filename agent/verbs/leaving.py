"""The end of a process whose environment left a thread running."""

import atexit
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Iterator

PATIENCE = 5.0  # seconds for threads that are about to end


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """End the process behind this context, even if a thread of an environment or a plug-in runs for ever: Python would wait for it."""
    code = 1
    try:
        yield
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    finally:
        if left := _running():
            if not isinstance(error := sys.exc_info()[1], SystemExit | None):
                traceback.print_exception(error)  # a bug keeps its traceback
            print(f"etude: the thread {left[0].name!r} did not end, of an environment or a plug-in; it is left behind.", file=sys.stderr)
            atexit._run_exitfuncs()  # which `os._exit` leaves out
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _running() -> list[threading.Thread]:
    """Return the threads for which Python would wait, after some seconds of patience."""
    others = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    for each in others:
        each.join(PATIENCE / len(others))
    return [each for each in others if each.is_alive()]
