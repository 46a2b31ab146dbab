"""The environments of a run, in this process or in processes of their own. The same seeds give the same episodes for any number of them."""

import contextlib
import weakref

import numpy as np

from envs import EnvConfig
from envs.adapt import Adapter
from envs.faults import in_words
from envs.host import EnvironmentProcess, Proxy
from envs.spaces import Actions

LIVING: weakref.WeakSet[Adapter] = weakref.WeakSet()
"""Environments of this process that were not closed."""


class Environments:
    """A pool of environments, made when first needed and kept for the whole run. A `kind` is the index of an environment's config.

    Args:
        configs: one environment, or several. With a `timeout` an environment lives in a process of its own.
        count: largest number of environments at a time, of all kinds together; there is one of each kind in any case.

    Raises:
        ValueError: an environment cannot be made.
    """

    def __init__(self, configs: EnvConfig | tuple[EnvConfig, ...], count: int) -> None:
        self.configs, self._count = (configs,) if isinstance(configs, EnvConfig) else configs, count
        self._environment_processes = [EnvironmentProcess(config, config.timeout) if config.timeout else None for config in self.configs]
        self._idle: list[list[Adapter | Proxy]] = [[] for _ in self.configs]
        self._busy: list[Adapter | Proxy] = []  # acquired and not released yet
        self.firsts: list[Adapter | Proxy] = []
        """One environment of each kind, which is never closed to make room: for action spaces, demonstrations and videos."""
        try:
            for config, environment_process, idle in zip(self.configs, self._environment_processes, self._idle, strict=True):
                self.firsts.append(_made(config) if environment_process is None else _told(environment_process))
                idle.append(self.firsts[-1])
        except BaseException:  # the caller gets no object that it could close, so the environments made so far are closed here
            self.close()
            raise

    @property
    def first(self) -> Adapter | Proxy:
        """Return the first environment."""
        return self.firsts[0]

    @property
    def actions(self) -> Actions:
        """Return the action space that the environments share.

        Raises:
            ValueError: their action spaces or the sizes of their proprioceptive states differ.
        """
        first, *others = self.firsts
        for other in others:
            # `counts` too: a Box and a Discrete may have the same bounds.
            if any(not np.array_equal(getattr(other.actions, name), getattr(first.actions, name)) for name in ("low", "high", "counts")):
                raise ValueError(f"{other.config.title} takes other actions than {first.config.title}; environments of one run must share them.")
            if other.state_size != first.state_size:
                sizes = f"{first.state_size} numbers in {first.config.title} and {other.state_size} in {other.config.title}"
                raise ValueError(f"The recorded state has {sizes}; name keys of one size in env.state of each.")
        return first.actions

    def of(self, task: str) -> int:
        """Return the kind whose title is `task`."""
        return [config.title for config in self.configs].index(task)

    def acquire(self, kind: int = 0) -> Adapter | Proxy | None:
        """Return an idle environment of a kind, or None if all places are taken."""
        if self._idle[kind]:
            adapter = self._idle[kind].pop()
        else:
            crowded = next((idle for idle in self._idle if any(each not in self.firsts for each in idle)), None)
            made = len(self._busy) + sum(map(len, self._idle))
            if made >= self._count and crowded is not None:  # an idle environment of another kind makes room, but never the first of its kind
                _close(crowded.pop(next(i for i, each in enumerate(crowded) if each not in self.firsts)))
                made -= 1
            if made >= max(self._count, len(self.configs)):  # `firsts` exist also where `count` is less than the number of kinds
                return None
            adapter = self._make(kind)
        self._busy.append(adapter)
        return adapter

    def release(self, adapter: Adapter | Proxy, broken: bool = False) -> None:
        """Give an environment back; a broken one is closed and replaced."""
        kind = self.of(adapter.config.title)
        self._busy = [each for each in self._busy if each is not adapter]
        if broken:  # what raised an error in the middle of a step may be in any state, and its next episode would depend on that
            _close(adapter)
            replacement = self._make(kind)
            if adapter is self.firsts[kind]:
                self.firsts[kind] = replacement
            adapter = replacement
        self._idle[kind].append(adapter)

    def renew(self, kind: int) -> None:
        """Replace the first environment of a kind, after a fault in it."""
        old = self.firsts[kind]
        _close(old)  # first: of some environments a process can have one only
        self.firsts[kind] = self._make(kind)  # a new Proxy copies the old one's spaces
        self._idle[kind] = [self.firsts[kind] if each is old else each for each in self._idle[kind]]

    def close(self) -> None:
        """Close all environments, those in use too, and end their processes."""
        # By id, since most of `firsts` are idle too, and each is to be closed once.
        for adapter in {id(each): each for group in (*self._idle, self._busy, self.firsts) for each in group}.values():
            _close(adapter)
        for environment_process in filter(None, self._environment_processes):
            environment_process.close()

    def _make(self, kind: int) -> Adapter | Proxy:
        environment_process = self._environment_processes[kind]
        # A Proxy that is like another one is not made in its process before it is used.
        return _made(self.configs[kind]) if environment_process is None else Proxy(environment_process, self.firsts[kind])


def _made(config: EnvConfig) -> Adapter:
    """Return an environment in this process.

    Raises:
        ValueError: it cannot be made; another sentence says so where only one of them can exist in a process.
    """
    try:
        adapter = Adapter(config)
    except ValueError as error:
        twin = next((each.config for each in LIVING if each.config.id == config.id), None)
        if twin is None or _can_be_made(twin):  # then it is a matter of this config
            raise
        why = in_words(error.__cause__ or error)
        raise ValueError(
            f"{config.title} cannot be made beside another instance in one process ({why}); set collect.num_envs to 1 and env.timeout, "
            "so that evaluate.variations and label.by detector have processes of their own."
        ) from error
    LIVING.add(adapter)
    return adapter


def _can_be_made(config: EnvConfig) -> bool:
    try:
        _close(Adapter(config))
    except ValueError:
        return False
    return True


def _told(environment_process: EnvironmentProcess) -> Proxy:
    """Return the first environment of a process, made at once, so that its action space is known."""
    try:
        return Proxy(environment_process)
    except (TimeoutError, ChildProcessError) as error:  # it hung or crashed while it was made: a mistake in the config rather than a fault
        raise ValueError(f"{environment_process.config.title} cannot be made: {error}.") from error


def _close(adapter: Adapter | Proxy) -> None:
    if isinstance(adapter, Adapter):
        LIVING.discard(adapter)
    with contextlib.suppress(Exception, SystemExit):  # a third-party `close` may raise anything, and the run does not need it any more
        adapter.close()
