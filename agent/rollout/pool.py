"""Several processes that practise and sit exams side by side, each with the model and environments of its own, on one thread.

Each takes every n-th job. Randomness belongs to the episode, so the episodes and their order are those of one process on one thread.
"""

import contextlib
import queue
import subprocess
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agent.records import Episode, Job, Player
from envs.process import begin, end, portable


class Crew:
    """Processes that wait for work until the run ends.

    Args:
        folder: of the run, with its config.
        size: how many of them.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._members = folder, [_Member(folder) for _ in range(size)]

    def perform(self, player: Player, jobs: Sequence[Job], variation: str = "", practice: bool = False) -> Iterator[Episode]:
        """Yield one episode a job, in order; see `Session.perform`. Who stops listening ends the processes; the next work begins new ones."""
        parts = [jobs[i :: len(self._members)] for i in range(len(self._members))]
        whole = False
        try:
            for member, part in zip(self._members, parts, strict=True):
                member.send((player, part, variation, practice))
            for index in range(len(jobs)):
                yield self._members[index % len(self._members)].receive()
            whole = True
        finally:
            if not whole:
                self.close()
                self._members = [_Member(self._folder) for _ in self._members]

    def close(self) -> None:
        """End all processes."""
        for member in self._members:
            member.close()


class _Member:
    """One process, begun when it first has work, and a thread that takes its episodes off its hands as they come."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._process = folder, None
        self._line: Connection
        self._made: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def send(self, work: Any) -> None:
        if self._process is None or self._process.poll() is not None:  # one that died idle cost nothing
            self._process, self._line = begin("agent.rollout.member")
            self._made = queue.SimpleQueue()
            threading.Thread(target=_listen, args=(self._process, self._line, self._made), daemon=True).start()
            work = (self._folder, work)
        else:
            work = (None, work)
        with contextlib.suppress(ConnectionError):  # the listener says so
            self._line.send(work)

    def receive(self) -> Episode:
        kind, content = self._made.get()
        if kind == "episode":
            return content
        if kind == "failed":
            raise content
        raise ValueError(f"A process that practises died ({content}); run the same command again to go on, with processes: 1 if it happens again.")

    def close(self) -> None:
        if self._process is not None:
            end(self._process)


def _listen(process: subprocess.Popen, line: Connection, made: queue.SimpleQueue) -> None:
    """Put what a member says aside, until it says no more."""
    try:
        while True:
            made.put(line.recv())
    except (EOFError, OSError):
        made.put(("died", end(process)))
    except Exception as error:  # what cannot be read must not be waited for
        made.put(("failed", portable(error)))
