"""Sizes of batches that give the same bits as a full batch.

A matrix product may round differently for another number of rows, and a result must not depend on the other rows of its batch. So batches have one
size, up to which they are filled. Which kernel computes, and in which order it adds, depends on the shapes alone. A smaller size that once gave the
bits of the full one therefore always does, on the same device, and is used from then on.
"""

from collections.abc import Callable, Hashable

import torch

Tensors = tuple[torch.Tensor, ...]
STEPS = 16  # sizes that are tried: whole sixteenths of the full one


class Rows:
    """Computes batches of `full` rows, or of the smallest size that has proven to give the same bits.

    Args:
        full: rows of a full batch.
    """

    def __init__(self, full: int) -> None:
        self.full = full
        self._sizes = sorted({full * step // STEPS for step in range(1, STEPS + 1)} - {0})
        self._same: dict[tuple[Hashable, int], bool] = {}  # shape and size -> whether it gives the bits of a full batch

    def compute(self, function: Callable[[int], Tensors], count: int, shape: Hashable) -> Tensors:
        """Return tensors whose first `count` rows are, bit by bit, those of `function(full)`.

        Args:
            function: size -> tensors [size, ...], the results of the first rows of a full batch.
            count: rows that are needed, at most `full`.
            shape: of everything else in the batch.
        """
        size = next(size for size in self._sizes if size >= count and (size == self.full or self._same.get((shape, size), True)))
        if size == self.full or (shape, size) in self._same:
            return function(size)
        whole = function(self.full)
        self._same[shape, size] = all(torch.equal(part, all_of_it[:size]) for part, all_of_it in zip(function(size), whole, strict=True))
        return whole
