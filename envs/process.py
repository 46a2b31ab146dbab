"""Starts and ends helper processes, and makes errors fit to be sent from one to another."""

import contextlib
import inspect
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from envs.faults import NoExpert, in_words

HERE = str(Path(__file__).resolve().parent.parent)  # the folder that holds the packages agent, envs and policies


def begin(module: str) -> tuple[subprocess.Popen, Connection]:
    """Start a process that runs `serve(descriptor)` of a module; return the process, and our end of a connection to it.

    Linux kills the process when the thread that called this ends, so that thread must live as long as the process is needed.

    Args:
        module: dotted name of a module with a function `serve`, which gets the file descriptor of its end of the connection.
    """
    ours, theirs = Pipe()
    # First, before anything slow is imported, the process is tied to its parent. Ctrl-C is for the run, which then ends this process.
    lines = [inspect.getsource(end_with_parent), f"end_with_parent({os.getpid()})", "import signal", "signal.signal(signal.SIGINT, signal.SIG_IGN)"]
    # Our packages are imported first, from their own folder: the user's path may have other folders of these names before it.
    lines += ["import sys", f"sys.path.insert(0, {HERE!r})", "import agent, envs, policies", "del sys.path[0]"]
    lines += [f"from {module} import serve", f"serve({theirs.fileno()})"]
    # Not by multiprocessing, which would run the user's main module a second time. -P keeps the working directory off the path.
    command, paths = [sys.executable, "-P", "-c", "\n".join(lines)], os.pathsep.join(path or os.getcwd() for path in sys.path)
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={**os.environ, "PYTHONPATH": paths})
    theirs.close()
    return process, ours


def end(process: subprocess.Popen) -> str:
    """End a process if it still runs; return the name of the signal that ended it, or 'exit' and its code."""
    with contextlib.suppress(subprocess.TimeoutExpired):  # one that is dying by itself gets time, so that its own code is returned
        process.wait(0.2)
    process.kill()
    code = process.wait()
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def end_with_parent(parent: int) -> None:
    """Make the system kill this process when its parent ends, even if the parent is killed or this process hangs (Linux only).

    If the parent has ended already, this process exits at once.

    Args:
        parent: process id of the parent. On Linux the end of the thread that started this process counts as its end.
    """
    import contextlib
    import ctypes
    import os
    import signal  # imported here: `begin` runs the source of this function alone, first of all

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def portable(error: BaseException) -> Exception:
    """Return an error that any process can unpickle.

    Built-in types are kept. Another type becomes the description of the error, as a ValueError if it is one, else as a RuntimeError.
    """
    if type(error).__module__ in ("builtins", NoExpert.__module__) and isinstance(error, Exception):
        with contextlib.suppress(Exception):  # some types need more arguments than a message
            return type(error)(str(error))
    return (ValueError if isinstance(error, ValueError) else RuntimeError)(in_words(error))
