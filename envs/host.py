"""A process of its own for environments: one that hangs or dies costs its episode, not the run.

All environments of a run share that process. When it is lost, the others are made anew in the next one, and what they had done is repeated,
so their episodes come out as if nothing had happened.
"""

import contextlib
import inspect
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import Any

import numpy as np

from envs import EnvConfig
from envs.adapt import Adapter, Observation, Outcome
from envs.doctor import Diagnosis, examine
from envs.faults import in_words

STARTING = 120.0  # seconds that the process and each environment may take to begin


class Host:
    """A process that adapters live in; started when it is first needed, and again after it was lost.

    Args:
        config: of the environments.
        limit: seconds that one call may take.
    """

    def __init__(self, config: EnvConfig, limit: float) -> None:
        self.config, self.limit = config, limit
        self.life = 1  # goes up whenever the process is lost
        self._process: subprocess.Popen | None = None
        self._line: Connection

    def call(self, number: int, name: str, *arguments: Any, said: Callable[[str], None] = lambda stage: None) -> Any:
        """Return what method `name` of environment `number` returns; raise what it raises.

        Args:
            number: which environment; 'make' makes it.
            name: of the method.
            arguments: of the method.
            said: called with what the method reports meanwhile; a report begins the time anew.

        Raises:
            TimeoutError: no answer within the limit; the process was ended.
            ChildProcessError: the process died.
        """
        try:
            if self._process is None:
                self._start()
            self._line.send((number, name, arguments))
        except ConnectionError as error:
            raise ChildProcessError(f"its process died ({self._end()})") from error
        return self._answer(STARTING if name == "make" else self.limit, said)  # what is made may have to be imported

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._end()

    def _start(self) -> None:
        self._process, self._line = begin("envs.host")
        self._line.send(self.config)
        self._answer(STARTING)

    def _answer(self, limit: float, said: Callable[[str], None] = lambda stage: None) -> Any:
        try:
            while self._line.poll(limit):
                kind, answer = self._line.recv()
                if kind == "done":
                    return answer
                if kind == "failed":
                    raise answer
                said(answer)
        except (EOFError, ConnectionError) as error:
            raise ChildProcessError(f"its process died ({self._end()})") from error
        self._end()
        raise TimeoutError(f"no answer within {limit:g} s; its process was ended")

    def _end(self) -> str:
        """Make sure that the process has ended; return how it did."""
        process, self._process, self.life = self._process, None, self.life + 1
        assert process is not None
        how = end(process)
        self._line.close()
        return how


class Remote:
    """An environment that lives in a `Host`; what a policy needs of an `Adapter`.

    Args:
        host: where it lives.
        like: an adapter of the same environment, for its actions.
    """

    _numbers = itertools.count()

    def __init__(self, host: Host, like: Adapter) -> None:
        self.config, self.actions = like.config, like.actions
        self._host, self._number, self._life = host, next(self._numbers), 0
        self._done: list[tuple[Any, ...]] = []  # since the last reset

    def reset(self, seed: int) -> Observation:
        """Begin the episode of `seed`; see `Adapter.reset`."""
        self._done.clear()
        return self._do("reset", seed)

    def step(self, actions: np.ndarray, look: bool = True) -> Outcome:
        """Execute float32[H, A] actions; see `Adapter.step`."""
        return self._do("step", actions, look)

    def close(self) -> None:
        """Free the environment."""
        if self._life == self._host.life:
            self._host.call(self._number, "close")

    def _do(self, name: str, *arguments: Any) -> Any:
        if self._life != self._host.life:  # it was never made, or its process is a new one
            self._host.call(self._number, "make")
            self._life = self._host.life
            for each in self._done:
                self._host.call(self._number, *each)
        answer = self._host.call(self._number, name, *arguments)
        self._done.append((name, *arguments))
        return answer


def examine_apart(
    config: EnvConfig, limit: float, progress: Callable[[str], None], expert: Callable[[], Callable[[Adapter], np.ndarray]] | None = None
) -> Diagnosis:
    """Return `doctor.examine`'s findings, from a process of its own; hanging for `limit` seconds in one stage and dying are faults too.

    Args:
        config: the environment.
        limit: seconds that a stage may take.
        progress: is told the stages.
        expert: makes, in that process, who demonstrates.
    """
    host, stage = Host(config, limit), "at the start"

    def said(now: str) -> None:
        nonlocal stage
        stage = now
        progress(now)

    try:
        return host.call(0, "examine", expert, said=said)
    except (TimeoutError, ChildProcessError) as error:
        return Diagnosis(faults=[f"{config.title}, {stage}: {error}."])
    except Exception as error:  # whoever demonstrates may raise anything when it is made
        return Diagnosis(faults=[f"{config.title}, {stage}: {in_words(error)}."])
    finally:
        host.close()


def begin(module: str) -> tuple[subprocess.Popen, Connection]:
    """Start a process that runs `serve` of a module with the number of its end of a line; return the process and our end.

    Linux ends it with the thread that calls this, so that thread must live as long as the process is needed.
    """
    ours, theirs = Pipe()
    # The parent is watched before anything slow is imported. Ctrl-C is for the run, which then ends this.
    lines = [inspect.getsource(end_with_parent), f"end_with_parent({os.getpid()})", "import signal", "signal.signal(signal.SIGINT, signal.SIG_IGN)"]
    lines += [f"from {module} import serve", f"serve({theirs.fileno()})"]
    # Not by multiprocessing: that would run the main module of whoever uses this a second time.
    command, paths = [sys.executable, "-P", "-c", "\n".join(lines)], os.pathsep.join(filter(None, sys.path))
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


def serve(line_number: int) -> None:
    """Answer calls until nobody is there any more; what a host's process does.

    Args:
        line_number: file descriptor of the connection.
    """
    line, adapters = Connection(line_number), {}
    config = line.recv()
    line.send(("done", None))
    while True:
        try:
            number, name, arguments = line.recv()
        except EOFError:
            os._exit(0)  # at once: the environments may refuse to be closed
        try:
            if name == "make":
                adapters[number], answer = Adapter(config), None
            elif name == "examine":
                expert = arguments[0]() if arguments[0] is not None else None
                answer = examine(config, progress=lambda stage: line.send(("said", stage)), expert=expert)
            else:
                answer = getattr(adapters[number], name)(*arguments)
            if name == "close":
                del adapters[number]
            line.send(("done", answer))
        except BaseException as error:  # Ctrl-C does not reach this process, so a KeyboardInterrupt is the environment's own
            line.send(("failed", portable(error)))


def portable(error: BaseException) -> Exception:
    """Return an error that another process can read: a built-in one keeps its kind, others become words."""
    if type(error).__module__ == "builtins" and isinstance(error, Exception):
        with contextlib.suppress(Exception):  # some take more than words
            return type(error)(str(error))
    return RuntimeError(in_words(error))
