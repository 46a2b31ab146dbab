"""The main function of a process that holds environments: it answers the calls of `envs.host`, whose head describes the messages."""

import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from envs import EnvConfig
from envs.adapt import Adapter
from envs.doctor import Maker, examine
from envs.moments import Observation
from envs.process import portable

COPIED = ("actions", "state_size", "rate", "limit", "drawn_by_mujoco", "specs")  # attributes of an `Adapter` that its `Proxy` has too


class _ReportingAdapter(Adapter):
    """An adapter that reports progress at each reset, step and observation, while `apply` runs."""

    report: Callable[[], None] | None = None

    def reset(self, seed: int, look: bool = True) -> Observation:
        self._reported(None)
        return self._reported(super().reset(seed, look))

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool]:
        return self._reported(super().advance(action))

    def observe(self) -> Observation:
        return self._reported(super().observe())

    def _reported(self, answer: Any) -> Any:
        if self.report is not None:
            self.report()
        return answer


def _examine(config: EnvConfig, say: Callable[[Any], None], expert: Maker | None, quick: bool, num_bins: int, alone: bool) -> None:
    """Examine an environment, and say each stage, finding, and sign of life."""

    class Living(_ReportingAdapter):
        report = staticmethod(lambda: say(""))

    examine(config, progress=say, expert=expert, quick=quick, tell=say, num_bins=num_bins, make=Living, alone=alone)


def serve(descriptor: int) -> None:
    """Answer calls until the connection is closed: the main function of the process.

    Args:
        descriptor: file descriptor of the connection.
    """
    connection, adapters = Connection(descriptor), {}
    config = connection.recv()
    connection.send(("done", None))
    while True:
        try:
            number, name, arguments = connection.recv()
        except EOFError:
            os._exit(0)  # at once: closing an environment may hang
        except Exception as error:  # a message that cannot be unpickled here
            connection.send(("failed", portable(error)))
            continue
        try:
            if name == "make":
                adapters[number] = _ReportingAdapter(config)
                answer = {each: getattr(adapters[number], each) for each in COPIED}
            elif name == "apply":
                adapters[number].report = lambda: connection.send(("said", ""))
                answer = arguments[0](adapters[number], *arguments[1])
            elif name == "examine":
                _examine(config, lambda said: connection.send(("said", said)), *arguments)
                answer = None  # all findings have been sent
            elif name == "close":
                answer = adapters.pop(number).close()  # it is gone also where this raises an error
            else:
                answer = getattr(adapters[number], name)(*arguments)
            connection.send(("done", answer))
        except BaseException as error:  # Ctrl-C does not reach this process, so a KeyboardInterrupt is from the environment
            connection.send(("failed", portable(error)))
        finally:
            if name == "apply":
                adapters[number].report = None
