"""How many seeds for scenes a faulty environment may cost."""

import contextlib
from collections.abc import Iterator

from envs.faults import NoExpert, in_words

FEW, SPOILT = 4, 0.2  # faulty seeds that are tolerated: so many in any case, and this share of all seeds


class Tolerance:
    """Counts seeds that were lost to a fault of their environment or expert.

    Args:
        title: of the environment.
    """

    def __init__(self, title: str) -> None:
        self._title, self._tried, self._faults = title, 0, 0

    @contextlib.contextmanager
    def of(self, seed: int) -> Iterator[None]:
        """Tolerate an error within this context, which costs the scenes of the seed.

        Raises:
            NoExpert: a mistake in the config, which would cost every seed.
            ValueError: too many seeds were faulty.
        """
        self._tried += 1
        try:
            yield
        except NoExpert:
            raise
        except (Exception, SystemExit) as error:  # an environment and an expert may raise anything
            self._faults += 1
            if self._faults > max(FEW, SPOILT * self._tried):
                faults = f"{self._faults} of {self._tried} seeds for scenes of stage ground were faulty"
                raise ValueError(f"{self._title}: {faults}; the last was {seed}, {in_words(error)}.") from error
