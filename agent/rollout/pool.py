"""Several processes that make episodes side by side, each on one thread, with a model and environments of its own.

With n processes, each of them gets every n-th job. All random numbers belong to an episode, so the episodes and their order do not depend on n.
"""

import contextlib
import queue
import subprocess
import threading
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agent.records import Checkpoint, Episode, Job
from envs.process import begin, end, portable


class ProcessPool:
    """Worker processes that wait for jobs until the run ends.

    Args:
        folder: of the run, whose config the workers read.
        size: number of processes.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._workers = folder, [_Worker(folder) for _ in range(size)]

    def rollout(
        self, checkpoint: Checkpoint, jobs: Sequence[Job], variation: str = "", practice: bool = False
    ) -> Generator[tuple[Episode, dict[bytes, Any]], None, None]:
        """Yield an episode and its features (`Trained.cached_features`) a job, in the order of the jobs; arguments as of `Session.rollout`.

        Raises:
            ValueError: a process died.
            Exception: what a process raised.
        """
        # Dealt in turn, not in blocks: episodes are yielded in order, and with blocks those of the last worker would all wait in memory.
        parts = [jobs[i :: len(self._workers)] for i in range(len(self._workers))]
        complete = False
        try:
            for worker, part in zip(self._workers, parts, strict=True):
                worker.send((checkpoint, part, variation, practice))
            for index in range(len(jobs)):
                yield self._workers[index % len(self._workers)].receive()
            complete = True
        finally:
            # An error, or a caller that stops iterating: the workers go on with jobs that are not wanted any more. The next call would take their
            # episodes for its own, so it gets new processes.
            if not complete:
                self.close()
                self._workers = [_Worker(self._folder) for _ in self._workers]

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.close()


class _Worker:
    """One process, started with its first jobs, and a thread that receives its episodes.

    The thread empties the pipe at all times. Otherwise a worker would block on a full pipe while the main process waits for another one's episode.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._process = folder, None
        self._line: Connection
        self._made: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def send(self, work: Any) -> None:
        if self._process is None or self._process.poll() is not None:  # a process that died while idle lost nothing, and is replaced
            self._process, self._line = begin("agent.rollout.worker")
            self._made = queue.SimpleQueue()  # a new one: the thread of a former process may still write into the old one
            threading.Thread(target=_listen, args=(self._process, self._line, self._made), daemon=True).start()
            work = (self._folder, work)
        else:
            work = (None, work)  # the process has read the run's folder already
        with contextlib.suppress(ConnectionError):  # the process has just died; `receive` gets that from the thread
            self._line.send(work)

    def receive(self) -> tuple[Episode, dict[bytes, Any]]:
        kind, content = self._made.get()
        if kind == "episode":
            return content
        if kind == "failed":
            raise content  # without the worker's traceback, which cannot be sent
        raise ValueError(f"A rollout process died ({content}); run the same command again to go on, with processes: 1 if it happens again.")

    def close(self) -> None:
        if self._process is not None:
            end(self._process)


def _listen(process: subprocess.Popen, line: Connection, made: queue.SimpleQueue) -> None:
    """Move the messages of a process into a queue, and last of all how the process ended."""
    try:
        while True:
            made.put(line.recv())
    except (EOFError, OSError):  # the process died, or `close` ended it
        made.put(("died", end(process)))
    except Exception as error:  # a message that cannot be unpickled; without this `receive` would wait for ever
        made.put(("failed", portable(error)))
