"""Copies of a run's environments in processes of their own, for episodes that no policy plays: scenes of stage `ground`, and demonstrations."""

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, Self

from agent.rollout.environments import Environments
from envs.adapt import Adapter
from envs.host import EnvironmentProcess, Proxy

Job = tuple[Any, ...]
"""Arguments of a function that is called with an environment."""
Call = Callable[[], Any]
"""Returns the result of a job, or raises its error."""
Play = Callable[[Callable[..., Any], Iterable[Job]], Iterator[tuple[Job, Call]]]
"""Yields each job of a function, and its call."""
LONG = 86_400.0  # seconds: a call without `env.timeout` may take a day
AHEAD = 2  # jobs a process that are begun before their results are wanted: one at work, and one that waits


def one_by_one(adapter: Adapter | Proxy, function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, Call]]:
    """Yield each job and a call that does it in `adapter`: `function(adapter, *job)`."""
    for job in jobs:
        yield job, partial(adapter.apply, function, *job)


class Copies:
    """Calls functions in copies of environments, side by side. The results come in the order of the jobs, and do not depend on `processes`.

    Args:
        environments: those of the run.
        processes: how many; with one, each job is done in the first environment of its kind, when its result is wanted.

    Use it in a `with` block, whose end ends the processes.
    """

    def __init__(self, environments: Environments, processes: int) -> None:
        self._environments, self._processes = environments, processes
        self._threads = ThreadPoolExecutor(processes)  # each waits for the answer of one process
        share = -(-processes // len(environments.configs))  # of each kind; rounded up
        limits = [(config, config.timeout or LONG) for config in environments.configs]
        self._hosts = [[EnvironmentProcess(*each) for _ in range(share)] for each in limits]  # a process is started when it is first needed
        # The last one in is the first out, so that few jobs start few processes.
        self._idle: list[queue.LifoQueue[Proxy]] = [queue.LifoQueue() for _ in limits]
        for kind, hosts in enumerate(self._hosts):
            for host in hosts:
                self._idle[kind].put(Proxy(host, environments.firsts[kind]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        hosts = [host for of_kind in self._hosts for host in of_kind]
        for host in hosts:
            host.stop()  # what is under way is not wanted any more
        self._threads.shutdown()
        for host in hosts:
            host.close()

    def run(self, function: Callable[..., Any], jobs: Iterable[tuple[int, Job]]) -> Iterator[tuple[Job, Call]]:
        """Yield each job and its call, in their order; an environment in which a job raised an error is replaced.

        Args:
            function: called as `function(adapter, *job)`; one that pickle can name, which resets the adapter itself.
            jobs: the kind of environment, and the job; maybe endless.
        """
        if self._processes == 1:
            for kind, job in jobs:
                yield job, partial(self._alone, kind, function, job)
            return
        jobs, waiting = iter(jobs), deque[tuple[Job, Future]]()
        while True:
            for kind, job in islice(jobs, AHEAD * self._processes - len(waiting)):
                waiting.append((job, self._threads.submit(self._elsewhere, kind, function, job)))
            if not waiting:
                return
            job, future = waiting.popleft()
            yield job, future.result

    def of(self, kind: int) -> Play:
        """Return `run` for jobs of one kind."""
        return lambda function, jobs: self.run(function, ((kind, job) for job in jobs))

    def _alone(self, kind: int, function: Callable[..., Any], job: Job) -> Any:
        try:
            return self._environments.firsts[kind].apply(function, *job)
        except (Exception, SystemExit):  # an environment may raise anything
            self._environments.renew(kind)
            raise

    def _elsewhere(self, kind: int, function: Callable[..., Any], job: Job) -> Any:
        proxy = self._idle[kind].get()
        try:
            return proxy.apply(function, *job)
        except Exception:
            proxy = proxy.anew()
            raise
        finally:
            self._idle[kind].put(proxy)
