"""Several processes that make episodes side by side, each with environments of its own.

| form | who decides |
|---|---|
| own models, on a CPU | each process has a model, on one thread |
| one model, on a GPU | the main process (`agent.rollout.served`): for one half of them, while the other half steps and draws |
| several GPUs | each process has a model on a GPU of its own, and in turn a process pool of the second form |

With n processes, each of them gets every n-th job. All random numbers belong to an episode, so the episodes and their order do not depend on n.
"""

import contextlib
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agent.config.config import Config
from agent.records import Checkpoint, Episode, Job
from agent.rollout.served import Question, decide, tell
from envs.faults import in_words
from envs.process import begin, end, portable
from policies.policy import Policy

GROUPS = 2  # of processes; the model decides for one, while the environments of the others step


def is_served(device: str) -> bool:
    """Return whether one model decides for all processes. On a CPU it would keep one core busy, and the others would wait for it."""
    return device.partition(":")[0] != "cpu"


def configs_of_processes(config: Config, gpus: int, served: bool) -> list[Config]:
    """Return the config of each process of a run's pool.

    Args:
        config: of the run, with more than one process.
        gpus: how many there are.
        served: whether the main process has the only model.
    """
    count = min(gpus, config.processes) if config.policy.device == "cuda" else 1
    if count > 1:  # in turn: the processes, and with them their environments
        policies = [config.policy.model_copy(update={"device": f"cuda:{i}"}) for i in range(count)]
        shares = [len(range(i, config.processes, count)) for i in range(count)]
        return [config.model_copy(update={"processes": n, "policy": policy}) for n, policy in zip(shares, policies, strict=True)]
    alone: dict[str, Any] = {"threads": 1, "processes": 1}  # one thread beside other processes, and no process pool inside the pool
    if served:  # `num_envs` in each group
        # `-(-a // b)` rounds up.
        alone["collect"] = config.collect.model_copy(update={"num_envs": -(-GROUPS * config.collect.num_envs // config.processes)})
    return [config.model_copy(update=alone)] * config.processes


class ProcessPool:
    """Worker processes that wait for jobs until the run ends.

    Args:
        folder: of the run.
        configs: one a process.
    """

    def __init__(self, folder: Path, configs: Sequence[Config]) -> None:
        self._folder, self._configs = folder, configs
        self._begin()

    def _begin(self) -> None:
        self._received: queue.SimpleQueue[tuple[_Worker, subprocess.Popen, str, Any]] = queue.SimpleQueue()
        self._workers = [_Worker(self._folder, config, self._received) for config in self._configs]

    def rollout(
        self, acting: Checkpoint | Policy, jobs: Sequence[Job], variation: str = "", practice: bool = False
    ) -> Generator[tuple[Episode, dict[bytes, Any]], None, None]:
        """Yield an episode and its features (`Trained.cached_features`) a job, in the order of the jobs.

        Args:
            acting: the checkpoint that each process loads into a model of its own; or the policy that decides here for all of them.
            jobs: seed, sampling noise and kind of environment of each episode.
            variation: a name in `evaluate.variations`.
            practice: whether to use the environments for practice.

        Raises:
            ValueError: a process died, or something was raised in it.
        """
        policy = None if isinstance(acting, Checkpoint) else acting
        # Dealt in turn, not in blocks: episodes are yielded in order, and with blocks those of the last worker would all wait in memory.
        parts = [jobs[i :: len(self._workers)] for i in range(len(self._workers))]
        complete = False
        try:
            for worker, part in zip(self._workers, parts, strict=True):
                worker.send((acting if policy is None else tell(policy), part, variation, practice), len(part))
            for index in range(len(jobs)):
                worker = self._workers[index % len(self._workers)]
                while not worker.made:  # others may be ahead; theirs wait in `made`
                    self._receive(policy)
                yield worker.next()
            complete = True
        finally:
            # An error, or a caller that stops iterating: the workers go on with jobs that are not wanted any more. The next call would take their
            # episodes for its own, so it gets new processes.
            if not complete:
                self.close()
                self._begin()

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.close()

    def _receive(self, policy: Policy | None) -> None:
        """Wait for one message of a process, and let the policy decide for each group of which every process that is at work has asked."""
        worker, process, kind, content = self._received.get()
        if process is not worker.process:  # it died while it was idle, and was replaced
            return
        worker.note(kind, content)
        for group in (self._workers[i::GROUPS] for i in range(GROUPS)):
            asking = [each for each in group if each.asked is not None]
            # A worker that has made all of its episodes asks no more, and nobody waits for it.
            if policy is not None and asking and len(asking) == sum(each.due > 0 for each in group):
                questions: list[Any] = [each.asked for each in asking]
                for each, decisions in zip(asking, decide(policy, questions), strict=True):
                    each.answer(decisions)


class _Worker:
    """One process, started with its first jobs, and a thread that receives its messages.

    The thread empties the pipe at all times. Otherwise a worker would block on a full pipe while the main process is busy.
    """

    def __init__(self, folder: Path, config: Config, received: queue.SimpleQueue) -> None:
        self._setting, self._received = (folder, config), received
        self.process: subprocess.Popen | None = None
        self._line: Connection
        self.made: deque[tuple[str, Any]] = deque()
        """Episodes that nobody has taken yet, and last of all what went wrong."""
        self.due = 0
        """Episodes that are not made yet."""
        self.asked: Question | None = None
        """Situations that wait for decisions."""

    def send(self, work: Any, due: int) -> None:
        setting = None  # the process has made its session already
        if self.process is None or self.process.poll() is not None:  # a process that died while idle lost nothing, and is replaced
            self.process, self._line = begin("agent.rollout.worker")
            threading.Thread(target=_listen, args=(self, self.process, self._line, self._received), daemon=True).start()
            setting = self._setting
        self.due = due
        with contextlib.suppress(ConnectionError):  # the process has just died; the thread will say so
            self._line.send((setting, work))

    def answer(self, decisions: Any) -> None:
        self.asked = None
        with contextlib.suppress(ConnectionError):
            self._line.send(decisions)

    def note(self, kind: str, content: Any) -> None:
        if kind == "asked":
            self.asked = content
            return
        if kind != "episode":  # nothing more will come, and nobody waits for a decision
            self.due, self.asked = 1, None
        self.due -= 1
        self.made.append((kind, content))

    def next(self) -> tuple[Episode, dict[bytes, Any]]:
        kind, content = self.made.popleft()
        if kind == "episode":
            return content
        if kind == "failed":
            if isinstance(content, ValueError):
                raise content
            # Without the worker's traceback, which cannot be sent.
            raise ValueError(f"A rollout process failed ({in_words(content)}); the same command with processes: 1 shows where.") from content
        raise ValueError(f"A rollout process died ({content}); run the same command again to go on, with processes: 1 if it happens again.")

    def close(self) -> None:
        if self.process is not None:
            end(self.process)


def _listen(worker: _Worker, process: subprocess.Popen, line: Connection, received: queue.SimpleQueue) -> None:
    """Move the messages of a process into a queue, and last of all how the process ended."""
    try:
        while True:
            received.put((worker, process, *line.recv()))
    except (EOFError, OSError):  # the process died, or `close` ended it
        received.put((worker, process, "died", end(process)))
    except Exception as error:  # a message that cannot be unpickled; without this `rollout` would wait for ever
        received.put((worker, process, "failed", portable(error)))
