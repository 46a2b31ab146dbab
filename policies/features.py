"""What a vision tower made of pictures, kept: one that does not learn need not look at the same picture twice.

The takes of a seed begin alike, exams are sat on the same seeds again, and what was seen in practice is then learnt from.
"""

import hashlib
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch


class Seen:
    """Image tokens by the pictures that they were made of, up to a number of bytes; the oldest are forgotten first.

    What is new is encoded in batches of one size, filled up where there is less, because a matrix product may round differently for another
    number of rows: what a picture looks like must not depend on what else was there.

    Args:
        encode: B moments, uint8[F, h, w, 3] each -> float32[B, N, D].
        at_a_time: B.
        limit: bytes, on the device of the image tokens.
    """

    def __init__(self, encode: Callable[[Sequence[np.ndarray]], torch.Tensor], at_a_time: int = 16, limit: int = 2**28) -> None:
        self._encode, self._at_a_time, self._limit = encode, at_a_time, limit
        self._tokens: dict[bytes, torch.Tensor] = {}

    def look(self, moments: Sequence[np.ndarray]) -> torch.Tensor:
        """Return float32[M, N, D] for M moments."""
        keys = [hashlib.blake2b(moment.tobytes(), digest_size=16).digest() for moment in moments]
        new = [(key, moment) for key, moment in dict(zip(keys, moments, strict=True)).items() if key not in self._tokens]
        for start in range(0, len(new), self._at_a_time):
            some = new[start : start + self._at_a_time]
            filled = [moment for _, moment in some] + [some[-1][1]] * (self._at_a_time - len(some))
            encoded_BND = self._encode(filled)
            self._tokens.update({key: each.clone() for (key, _), each in zip(some, encoded_BND, strict=False)})
        tokens_MND = torch.stack([self._tokens[key] for key in keys])
        excess = len(self._tokens) - self._limit // (4 * tokens_MND[0].numel())
        for key in list(itertools.islice(self._tokens, max(excess, 0))):
            del self._tokens[key]
        return tokens_MND
