"""Where environments live: in this process, one after the other. The same seeds give the same episodes for any number of them."""

import contextlib

from envs import EnvConfig
from envs.adapt import Adapter


class Workers:
    """A fixed set of environments, made when first needed and kept for the whole run.

    Args:
        config: which environment.
        count: how many of them.
    """

    def __init__(self, config: EnvConfig, count: int) -> None:
        self.config, self._count = config, count
        self._idle = [Adapter(config)]
        self._made = 1

    @property
    def first(self) -> Adapter:
        """Return one environment, to read spaces from or to make films with."""
        return self._idle[0]

    def take(self) -> Adapter | None:
        """Return an idle environment, or None if all are busy."""
        if not self._idle and self._made < self._count:
            self._made += 1
            return Adapter(self.config)
        return self._idle.pop() if self._idle else None

    def give_back(self, adapter: Adapter, broken: bool = False) -> None:
        """Return an environment; a broken one is closed and will be made anew."""
        if broken:
            self._made -= 1
            with contextlib.suppress(Exception, SystemExit):  # it is broken already
                adapter.close()
        if not broken or not self._made:
            self._idle.append(Adapter(self.config) if broken else adapter)
            self._made += broken

    def close(self) -> None:
        """Free them all."""
        for adapter in self._idle:
            adapter.close()
