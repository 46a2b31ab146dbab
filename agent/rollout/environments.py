"""Where environments live: here or in a process of their own. The same seeds give the same episodes for any number of them."""

import contextlib

import numpy as np

from envs import EnvConfig
from envs.adapt import Adapter
from envs.host import Host, Remote
from envs.spaces import Actions


class Workers:
    """A fixed number of environments, made when first needed and kept for the whole run.

    Args:
        configs: which environment, or several; the `timeout` of each says where it lives.
        count: how many at a time, of all kinds together.

    Raises:
        ValueError: an environment cannot be made.
    """

    def __init__(self, configs: EnvConfig | tuple[EnvConfig, ...], count: int) -> None:
        self.configs, self._count = (configs,) if isinstance(configs, EnvConfig) else configs, count
        self._hosts = [Host(config, config.timeout) if config.timeout else None for config in self.configs]
        self._idle: list[list[Adapter | Remote]] = [[] for _ in self.configs]
        self.firsts: list[Adapter | Remote] = []
        """One environment of each kind, to be asked for its spaces, to demonstrate in and to make films with."""
        try:
            for config, host, idle in zip(self.configs, self._hosts, self._idle, strict=True):
                self.firsts.append(Adapter(config) if host is None else _told(host))
                idle.append(self.firsts[-1])
        except BaseException:  # nobody has these yet who could close them
            self.close()
            raise
        self._made = sum(map(len, self._idle))

    @property
    def first(self) -> Adapter | Remote:
        """Return the first environment."""
        return self.firsts[0]

    @property
    def actions(self) -> Actions:
        """Return the actions that the environments share.

        Raises:
            ValueError: they take different ones, or record states of different sizes.
        """
        first, *others = self.firsts
        for other in others:
            if any(not np.array_equal(getattr(other.actions, name), getattr(first.actions, name)) for name in ("low", "high", "counts")):
                raise ValueError(f"{other.config.title} takes other actions than {first.config.title}; environments of one run must share them.")
            if other.state_size != first.state_size:
                sizes = f"{first.state_size} numbers in {first.config.title} and {other.state_size} in {other.config.title}"
                raise ValueError(f"The recorded state has {sizes}; name keys of one size in env.state of each.")
        return first.actions

    def of(self, task: str) -> int:
        """Return which environment has this title."""
        return [config.title for config in self.configs].index(task)

    def take(self, kind: int = 0) -> Adapter | Remote | None:
        """Return an idle environment of a kind, or None if all places are taken."""
        if self._idle[kind]:
            return self._idle[kind].pop()
        spare = next((idle for idle in self._idle if any(each not in self.firsts for each in idle)), None)
        if self._made >= self._count and spare is not None:  # one of another kind makes room
            _close(spare.pop(next(i for i, each in enumerate(spare) if each not in self.firsts)))
            self._made -= 1
        if self._made >= max(self._count, len(self.configs)):
            return None
        self._made += 1
        return self._make(kind)

    def give_back(self, adapter: Adapter | Remote, broken: bool = False) -> None:
        """Return an environment; a broken one is closed and made anew."""
        kind = self.of(adapter.config.title)
        if broken:
            _close(adapter)
            made = self._make(kind)
            if adapter is self.firsts[kind]:
                self.firsts[kind] = made
            adapter = made
        self._idle[kind].append(adapter)

    def renew(self, kind: int) -> None:
        """Make the first environment of a kind anew, after a fault."""
        before, self.firsts[kind] = self.firsts[kind], self._make(kind)
        _close(before)
        self._idle[kind] = [self.firsts[kind] if each is before else each for each in self._idle[kind]]

    def close(self) -> None:
        """Free them all, and end their processes."""
        for adapter in {id(each): each for idle in (*self._idle, self.firsts) for each in idle}.values():
            _close(adapter)
        for host in filter(None, self._hosts):
            host.close()

    def _make(self, kind: int) -> Adapter | Remote:
        host = self._hosts[kind]
        return Adapter(self.configs[kind]) if host is None else Remote(host, self.firsts[kind])


def _told(host: Host) -> Remote:
    """Return an environment that was made in a host."""
    try:
        return Remote(host)
    except (TimeoutError, ChildProcessError) as error:
        raise ValueError(f"{host.config.title} cannot be made: {error}.") from error


def _close(adapter: Adapter | Remote) -> None:
    with contextlib.suppress(Exception, SystemExit):  # one that cannot even be closed costs nothing more
        adapter.close()
