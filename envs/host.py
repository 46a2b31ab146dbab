"""A process of its own for environments: one that hangs or dies costs its episode, not the run.

All environments of a run share that process. When it is lost, the others are made anew in the next one, and what they had done is repeated,
so their episodes come out as if nothing had happened.
"""

import contextlib
import itertools
import os
import subprocess
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from envs import EnvConfig
from envs.adapt import Adapter
from envs.doctor import Diagnosis, examine
from envs.faults import in_words
from envs.moments import Observation, Outcome
from envs.process import begin, end, portable
from envs.spaces import Actions

TOLD = ("actions", "state_size", "rate", "limit", "drawn")  # of an `Adapter`, to whoever has it made
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
            raise self._died() from error
        return self._answer(STARTING if name in ("make", "apply") else self.limit, said)  # what is made or applied may have to be imported

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
                limit = self.limit
        except (EOFError, ConnectionError) as error:
            raise self._died() from error
        self._end()
        raise TimeoutError(f"no answer within {limit:g} s; its process was ended")

    def _died(self) -> ChildProcessError:
        how = self._end()
        return (Killed if how == "SIGKILL" else ChildProcessError)(f"its process died ({how})")

    def _end(self) -> str:
        """Make sure that the process has ended; return how it did."""
        process, self._process, self.life = self._process, None, self.life + 1
        assert process is not None
        how = end(process)
        self._line.close()
        return how


class Killed(ChildProcessError):
    """The process was killed from outside, as the system does where memory runs out."""


class Remote:
    """An environment that lives in a `Host`; what a run needs of an `Adapter`.

    Args:
        host: where it lives.
        like: one of the same environment, made already; None: it is made now, to be asked for its actions and so on.
    """

    actions: Actions
    state_size: int
    rate: float
    limit: int | None
    drawn: bool
    _numbers = itertools.count()

    def __init__(self, host: Host, like: "Remote | Adapter | None" = None) -> None:
        self.config, self._host, self._number, self._life = host.config, host, next(self._numbers), 0
        self._done: list[tuple[Any, ...]] = []  # since the last reset
        self._spared = False
        vars(self).update({name: getattr(like, name) for name in TOLD} if like else self._made())

    def reset(self, seed: int, look: bool = True) -> Observation:
        """Begin the episode of `seed`; see `Adapter.reset`."""
        self._done, self._spared = [], False
        return self._do("reset", seed, look)

    def step(self, actions: np.ndarray, look: bool = True) -> Outcome:
        """Execute float32[H, A] actions; see `Adapter.step`."""
        return self._do("step", actions, look)

    def apply(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(adapter, *arguments)`, where the environment lives: a function of a module, from its own reset on.

        The time limit is that of each of the adapter's resets and steps, and of what lies between them; before the first there is more time, for
        something may have to be imported. It is done again, once, where the process is killed meanwhile.
        """
        self._done = []
        with contextlib.suppress(Killed):
            return self._try("apply", function, arguments)
        return self._try("apply", function, arguments)

    def close(self) -> None:
        """Free the environment."""
        if self._life == self._host.life:
            self._host.call(self._number, "close")

    def _made(self) -> dict[str, Any]:
        """Make it in the host's present process; return what is told of it."""
        told = self._host.call(self._number, "make")
        self._life = self._host.life
        return told

    def _do(self, *call: Any) -> Any:
        """Have a method carried out; once an episode also where the process is killed meanwhile: what was done is repeated in a new one."""
        try:
            return self._try(*call)
        except Killed:
            if self._spared:
                raise
            self._spared = True
            return self._try(*call)

    def _try(self, *call: Any) -> Any:
        if self._life != self._host.life:  # it was never made, or its process is a new one
            self._made()
            for each in self._done:
                self._host.call(self._number, *each)
        answer = self._host.call(self._number, *call)
        self._done += [call] if call[0] != "apply" else []
        return answer


class _Watched(Adapter):
    """An adapter that says so whenever it has done a part of something longer."""

    said: Callable[[], None] | None = None

    def reset(self, seed: int, look: bool = True) -> Observation:
        self._and_said(None)
        return self._and_said(super().reset(seed, look))

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool]:
        return self._and_said(super().advance(action))

    def observe(self) -> Observation:
        return self._and_said(super().observe())

    def _and_said(self, answer: Any) -> Any:
        if self.said is not None:
            self.said()
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
        except Exception as error:  # what cannot be read here
            line.send(("failed", portable(error)))
            continue
        try:
            if name == "make":
                adapters[number] = _Watched(config)
                answer = {each: getattr(adapters[number], each) for each in TOLD}
            elif name == "apply":
                adapters[number].said = lambda: line.send(("said", ""))
                answer = arguments[0](adapters[number], *arguments[1])
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
        finally:
            if name == "apply":
                adapters[number].said = None
