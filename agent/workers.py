"""Where environments live: here or in a process of their own. The same seeds give the same episodes for any number of them."""

import contextlib

from envs import EnvConfig
from envs.adapt import Adapter
from envs.host import Host, Remote


class Workers:
    """A fixed set of environments, made when first needed and kept for the whole run.

    Args:
        config: which environment; its `timeout` says where they live.
        count: how many of them.

    Raises:
        ValueError: the environment cannot be made.
    """

    def __init__(self, config: EnvConfig, count: int) -> None:
        self.config, self._count, self._made = config, count, 0
        self._host = Host(config, config.timeout) if config.timeout else None
        if self._host is not None:
            try:
                self._host.call(0, "make")  # where it may hang or crash: `first` is made in this process
            except (TimeoutError, ChildProcessError) as error:
                raise ValueError(f"{config.id} cannot be made: {error}.") from error
            self._host.call(0, "close")
        self.first = Adapter(config)
        """One environment in this process, to read spaces from, to demonstrate in and to make films with."""
        self._idle: list[Adapter | Remote] = [] if self._host else [self.first]
        self._made = len(self._idle)

    def take(self) -> Adapter | Remote | None:
        """Return an idle environment, or None if all are busy."""
        if not self._idle and self._made < self._count:
            self._made += 1
            return self._make()
        return self._idle.pop() if self._idle else None

    def give_back(self, adapter: Adapter | Remote, broken: bool = False) -> None:
        """Return an environment; a broken one is closed and made anew."""
        if not broken:
            self._idle.append(adapter)
            return
        with contextlib.suppress(Exception, SystemExit):  # it is broken already
            adapter.close()
        made = self._make()
        if adapter is self.first:
            assert isinstance(made, Adapter)
            self.first = made
        self._idle.append(made)

    def close(self) -> None:
        """Free them all."""
        for adapter in {id(each): each for each in (*self._idle, self.first)}.values():
            adapter.close()
        if self._host is not None:
            self._host.close()

    def _make(self) -> Adapter | Remote:
        return Adapter(self.config) if self._host is None else Remote(self._host, self.first)
