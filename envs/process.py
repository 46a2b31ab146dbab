"""Processes of our own: how one begins and ends, and what it can tell of an error."""

import contextlib
import inspect
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from envs.faults import NoExpert, in_words

HERE = str(Path(__file__).resolve().parent.parent)  # the folder of our packages


def begin(module: str) -> tuple[subprocess.Popen, Connection]:
    """Start a process that runs `serve` of a module with the number of its end of a line; return the process and our end.

    Linux ends it with the thread that calls this, so that thread must live as long as the process is needed.
    """
    ours, theirs = Pipe()
    # The parent is watched before anything slow is imported. Ctrl-C is for the run, which then ends this.
    lines = [inspect.getsource(end_with_parent), f"end_with_parent({os.getpid()})", "import signal", "signal.signal(signal.SIGINT, signal.SIG_IGN)"]
    # Our packages come first, from beside this one: what the user runs may have put folders of the same names before them.
    lines += ["import sys", f"sys.path.insert(0, {HERE!r})", "import agent, envs, policies", "del sys.path[0]"]
    lines += [f"from {module} import serve", f"serve({theirs.fileno()})"]
    # Not by multiprocessing: that would run the main module of whoever uses this a second time.
    command, paths = [sys.executable, "-P", "-c", "\n".join(lines)], os.pathsep.join(path or os.getcwd() for path in sys.path)
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={**os.environ, "PYTHONPATH": paths})
    theirs.close()
    return process, ours


def end(process: subprocess.Popen) -> str:
    """Make sure that a process has ended; return how it did."""
    with contextlib.suppress(subprocess.TimeoutExpired):  # one that died by itself says how
        process.wait(0.2)
    process.kill()
    code = process.wait()
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def end_with_parent(parent: int) -> None:
    """End this process with the one that began it, also where that is killed or this one hangs (Linux), and at once where it is gone already.

    Args:
        parent: process id of the one that began this one. Its thread that did so counts.
    """
    import contextlib
    import ctypes
    import os
    import signal  # imported here, for these lines are the first that a new process runs

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def portable(error: BaseException) -> Exception:
    """Return an error that another process can read: a built-in one keeps its kind, others become words."""
    if type(error).__module__ in ("builtins", NoExpert.__module__) and isinstance(error, Exception):
        with contextlib.suppress(Exception):  # some take more than words
            return type(error)(str(error))
    return RuntimeError(in_words(error))
