"""Checks what the tables of a dataset hold, cell by cell."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa


class Unusable(ValueError):
    """An episode of a dataset that cannot be used.

    Args:
        why: the reason; it continues "3 episodes ...".
        where: the episode, and what it holds there.
    """

    def __init__(self, why: str, where: str) -> None:
        super().__init__(f"{why} ({where})")
        self.why, self.where = why, where


def whole(value: Any, what: str) -> int:
    """Return a number that must be whole and at least 0; pandas makes floats of whole numbers where one is missing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53 or value != int(value):
        raise ValueError(f"{what} is {value!r}, and should be a whole number")
    return int(value)


def truths(cells: Sequence[Any], name: str, episode: int) -> np.ndarray:
    """Return bool[n] for truth values, 0 and 1, the texts true and false, and any of these in a list of one; nothing before the last: not yet.

    Raises:
        Unusable: a cell of the column `name` is anything else.
    """
    said = [_truth(cell) for cell in cells]
    said[:-1] = [False if cell in (None, [None]) else truth for cell, truth in zip(cells[:-1], said[:-1], strict=True)]
    if None in said:
        t = said.index(None)
        where = f"episode {episode}, row {t}" if len(cells) > 1 else f"episode {episode}"
        raise Unusable(f"have a {name} that is neither true nor false", f"{where} has {_short(cells[t])}")
    return np.array(said, bool)


def _truth(cell: Any) -> bool | None:
    if isinstance(cell, list) and len(cell) == 1:
        return _truth(cell[0])
    if isinstance(cell, str):
        return {"true": True, "false": False}.get(cell.strip().lower())
    return bool(cell) if isinstance(cell, bool | int | float) and cell in (0, 1) else None  # NaN is in no tuple of numbers


def _short(cell: Any) -> str:
    text = repr(cell)
    return text if len(text) < 80 else text[:80] + "..."


def column(rows: pa.Table, name: str, episode: int, size: int) -> np.ndarray:
    """Return a column of numbers or of lists of numbers, float64[n, size].

    Raises:
        Unusable: a cell is missing, or holds another number of numbers, or one that is not finite.
    """
    cells = rows[name].to_pylist()
    try:
        numbers = np.array(cells, np.float64).reshape(len(cells), -1)  # None becomes NaN
        bad = np.flatnonzero(~np.isfinite(numbers).all(1)) if numbers.shape[1] == size else np.zeros(1, int)
    except (TypeError, ValueError):  # rows of several lengths, texts
        numbers, bad = np.zeros((0, 0)), np.array([next((t for t, cell in enumerate(cells) if not _numeric(cell, size)), 0)])
    if len(bad):
        where = f"episode {episode}, row {bad[0]} has {_short(cells[bad[0]])}"
        raise Unusable(f"have {'an' if name[0] in 'aeiou' else 'a'} {name} that is not {size} finite number{'s' * (size != 1)}", where)
    return numbers


def _numeric(cell: Any, size: int) -> bool:
    """Return whether a cell is a number, or a list of `size` numbers, which may be NaN."""
    try:
        return np.array(cell, np.float64).size == size
    except (TypeError, ValueError):
        return False


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Raise a ValueError of one sentence for any error while a file of a dataset is read and interpreted."""
    try:
        yield
    except Unusable:
        raise
    except Exception as error:  # decoders of damaged pictures, videos and tables raise anything
        why = "it is missing" if isinstance(error, FileNotFoundError) else " ".join(str(error.__cause__ or error).split()) or type(error).__name__
        raise ValueError(f"demonstrate.dataset: {file} cannot be read ({why}); fetch or record the dataset anew.") from error
