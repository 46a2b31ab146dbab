"""Runs environments in another process: one that hangs or crashes costs its episode, not the run.

All environments of one config share the process. After its loss a new one repeats the actions of the others, so their episodes stay the same.

Messages to the process are (number of the environment, method, arguments). Its messages are (kind, content):

| kind | content |
|---|---|
| `done` | the result of the method |
| `failed` | the error that it raised |
| `said` | a progress report, or a finding of the doctor; the time limit begins again |
"""

import contextlib
import itertools
import subprocess
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from envs import EnvConfig
from envs.adapt import Adapter
from envs.diagnosis import Diagnosis, Finding
from envs.doctor import Maker
from envs.faults import in_words
from envs.hosted import COPIED
from envs.moments import Observation, Outcome
from envs.process import begin, end
from envs.spaces import Actions

STARTING = 120.0  # seconds that the process, and making each environment, may take
MAKING = ("making", "making a second one", "making the expert")  # stages of the doctor that may import packages, and so have as long


class EnvironmentProcess:
    """A process that holds adapters. It is started when it is first needed, and again after a loss.

    Args:
        config: of the environments.
        limit: seconds that one call may take.
    """

    def __init__(self, config: EnvConfig, limit: float) -> None:
        self.config, self.limit = config, limit
        self._starting = max(STARTING, limit)  # seconds for what may import packages or make an environment
        self.generation = 1  # 1 more after each loss, so that a `Proxy` can tell that its environment is gone
        self._process: subprocess.Popen | None = None
        self._connection: Connection
        self._stopped = False

    def call(self, number: int, name: str, *arguments: Any, report: Callable[[Any], None] = lambda stage: None) -> Any:
        """Return the result of method `name` of environment `number`, or raise its error.

        Args:
            number: of the environment; the caller chooses it with the method 'make'.
            name: of a method of `Adapter`, or 'make', 'apply' or 'examine'.
            arguments: of the method.
            report: called with each progress report; the time limit begins again with it.

        Raises:
            TimeoutError: there was no answer within the limit, and the process was ended.
            ChildProcessError: the process died; `Killed` where another program killed it.
        """
        try:
            if self._process is None:
                self._start()
            self._connection.send((number, name, arguments))
        except ConnectionError as error:
            raise self._died() from error
        return self._answer(self._starting if name in ("make", "apply", "examine") else self.limit, report)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._end()

    def stop(self) -> None:
        """Kill the process while another thread waits for its answer, which becomes a ChildProcessError; it is never started again."""
        self._stopped = True
        if (process := self._process) is not None:
            process.kill()

    def _start(self) -> None:
        if self._stopped:
            raise ChildProcessError("its process was stopped")
        self._process, self._connection = begin("envs.hosted")
        if self._stopped:  # since the line above
            self._process.kill()
        self._connection.send(self.config)
        self._answer(self._starting)  # packages are imported before it answers

    def _answer(self, limit: float, report: Callable[[Any], None] = lambda stage: None) -> Any:
        while self._connection.poll(limit):
            try:
                kind, answer = self._connection.recv()
            except (EOFError, ConnectionError) as error:
                raise self._died() from error
            except Exception as error:  # it holds an object of the user's that cannot be unpickled here
                raise ValueError(f"its answer cannot be read in the main process ({in_words(error)})") from error
            if kind == "done":
                return answer
            if kind == "failed":
                raise answer
            report(answer)
            limit = self._starting if answer in MAKING else self.limit  # imports are over
        self._end()
        raise TimeoutError(f"no answer within {limit:g} s; its process was ended")

    def _died(self) -> ChildProcessError:
        how = self._end()
        return (Killed if how == "SIGKILL" else ChildProcessError)(f"its process died ({how})")

    def _end(self) -> str:
        """End the process if it still runs; return the name of its signal, or its exit code."""
        process, self._process, self.generation = self._process, None, self.generation + 1
        assert process is not None
        how = end(process)
        self._connection.close()
        return how


class Killed(ChildProcessError):
    """Another program killed the process, as Linux does when memory is short. The environment itself may be sound, so its call is repeated once."""


class Proxy:
    """An environment in an `EnvironmentProcess`, with those methods and attributes of an `Adapter` that a run needs.

    Args:
        process: the process of the environment.
        like: another one of the same config, whose attributes are copied; the environment is then made at its first reset. None: it is made now.
    """

    actions: Actions
    state_size: int
    rate: float
    limit: int | None
    drawn_by_mujoco: bool
    specs: dict[str, Any]
    _numbers = itertools.count()

    def __init__(self, process: EnvironmentProcess, like: "Proxy | Adapter | None" = None) -> None:
        self.config, self._process, self._number, self._generation = process.config, process, next(self._numbers), 0
        self._done: list[tuple[Any, ...]] = []  # calls since the last reset, that included
        self._repeated = False  # whether a call of this episode was repeated
        vars(self).update({name: getattr(like, name) for name in COPIED} if like else self._made())

    def reset(self, seed: int, look: bool = True) -> Observation:
        """Begin the episode of `seed`; see `Adapter.reset`."""
        self._done, self._repeated = [], False
        return self._do("reset", seed, look)

    def step(self, actions: np.ndarray, look: bool = True) -> Outcome:
        """Execute float32[H, A] actions; see `Adapter.step`."""
        return self._do("step", actions, look)

    def apply(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(adapter, *arguments)`, called in the process of the environment.

        The time limit is from one reset, step or observation to the next. The call is repeated once if another program kills the process.

        Args:
            function: one that pickle can name, so defined at the top of a module. It must reset the adapter itself.
            arguments: picklable.
        """
        self._done = []  # the function resets: there is nothing to repeat before it
        with contextlib.suppress(Killed):
            return self._try("apply", function, arguments)
        return self._try("apply", function, arguments)

    def anew(self) -> "Proxy":
        """Close the environment; return another one in the same process, which is made when it is first needed."""
        with contextlib.suppress(Exception):  # its `close` may raise anything
            self.close()
        return Proxy(self._process, self)

    def close(self) -> None:
        """Close the environment, if its process still exists."""
        if self._generation == self._process.generation:
            self._process.call(self._number, "close")

    def _made(self) -> dict[str, Any]:
        """Make the environment in the current process; return its attributes `COPIED`."""
        attributes = self._process.call(self._number, "make")
        self._generation = self._process.generation
        return attributes

    def _do(self, *call: Any) -> Any:
        """Return the result of a call; if another program kills the process, repeat the episode up to this call in a new one, once an episode."""
        try:
            return self._try(*call)
        except Killed:
            if self._repeated:
                raise
            self._repeated = True
            return self._try(*call)

    def _try(self, *call: Any) -> Any:
        if self._generation != self._process.generation:  # it was not made yet, or its process was lost
            self._made()
            for each in self._done:
                self._process.call(self._number, *each)
        answer = self._process.call(self._number, *call)
        self._done += [call] if call[0] != "apply" else []
        return answer


def examine_in_process(
    config: EnvConfig,
    limit: float,
    progress: Callable[[str], None],
    expert: Maker | None = None,
    quick: bool = False,
    num_bins: int = 33,
    tell: Callable[[Finding], None] = lambda finding: None,
    alone: bool = False,
) -> Diagnosis:
    """Return the findings of `doctor.examine`, run in another process. Crashing, and hanging for `limit` seconds, are faults, and end it.

    Args:
        config: the environment.
        limit: seconds that a reset, a step or the drawing of frames may take; `STARTING` where something is made.
        progress: called with the name of each stage.
        expert: called in that process to make the expert; None: the environment's own.
        quick: as in `doctor.examine`.
        num_bins: as in `doctor.examine`.
        tell: called with each finding as it is made.
        alone: as in `doctor.examine`.
    """
    process, diagnosis, stage = EnvironmentProcess(config, limit), Diagnosis(tell=tell), "at the start"

    def report(said: str | Finding) -> None:
        nonlocal stage
        if isinstance(said, Finding):
            diagnosis.add(said)
        elif said:  # empty: it only lives
            stage = said
            progress(said)

    try:
        process.call(0, "examine", expert, quick, num_bins, alone, report=report)
    except (TimeoutError, ChildProcessError) as error:
        diagnosis.fault(f"{config.title}, {stage}: {error}.")
    except Exception as error:  # `expert` may be nothing that can be sent
        diagnosis.fault(f"{config.title}, {stage}: {in_words(error)}.")
    finally:
        process.close()
    return diagnosis
