"""A cache of image tokens: a vision tower that is not trained need not encode the same frames twice.

Frames recur: episodes of one seed begin alike, evaluations repeat their seeds, and training reads the frames that were collected before.
"""

import hashlib
import itertools
import math
import os
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
import torch

from policies.rows import Rows

AT_A_TIME = 16  # observations that are encoded at once


def digest(frames: np.ndarray) -> bytes:
    """Return a hash of the frames of an observation, uint8[F, h, w, 3]."""
    return hashlib.blake2b(frames.tobytes(), digest_size=16).digest()


class FeatureCache:
    """Image tokens by the hash of the frames they were computed from, up to a number of bytes. The oldest entries are dropped first.

    New frames are encoded in batches of a fixed size; a smaller rest is filled up to that, or to a smaller size that gives the same bits
    (`policies.rows`): the tokens of a frame must not depend on the other frames in its batch.

    Args:
        encode: function from B observations, uint8[F, h, w, 3] each, to float32[B, N, D].
        at_a_time: B.
        limit: bytes, on the device of the image tokens.
    """

    def __init__(self, encode: Callable[[Sequence[np.ndarray]], torch.Tensor], at_a_time: int = AT_A_TIME, limit: int = 2**28) -> None:
        self._encode, self._rows, self._limit = encode, Rows(at_a_time), limit
        self._tokens: dict[bytes, torch.Tensor] = {}

    def lookup(self, observations: Sequence[np.ndarray]) -> torch.Tensor:
        """Return float32[M, N, D] for the frames of M observations, uint8[F, h, w, 3] each; frames that are not cached are encoded."""
        keys = [digest(frames) for frames in observations]
        new = [(key, frames) for key, frames in dict(zip(keys, observations, strict=True)).items() if key not in self._tokens]
        for start in range(0, len(new), self._rows.full):
            batch = new[start : start + self._rows.full]
            filled = [frames for _, frames in batch] + [batch[-1][1]] * (self._rows.full - len(batch))
            (encoded_BND,) = self._rows.compute(lambda size: (self._encode(filled[:size]),), len(batch), filled[0].shape)  # noqa: B023
            # Clones: a view would keep the memory of its whole batch alive.
            self._tokens.update({key: each.clone() for (key, _), each in zip(batch, encoded_BND, strict=False)})
        tokens_MND = torch.stack([self._tokens[key] for key in keys])  # before the limit applies: this call may need more than it
        self._forget()
        return tokens_MND

    def cached(self, observations: Sequence[np.ndarray]) -> dict[bytes, np.ndarray]:
        """Return the entries of observations that are cached: float32[N, D] by `digest`."""
        keys = {digest(frames) for frames in observations}
        return {key: self._tokens[key].cpu().numpy() for key in keys if key in self._tokens}

    def add(self, entries: dict[bytes, torch.Tensor]) -> None:
        """Add float32[N, D] by `digest`, on the device of all others."""
        self._tokens.update(entries)
        self._forget()

    def _forget(self) -> None:
        """Drop the oldest entries beyond the limit."""
        size = 4 * next((each.numel() for each in self._tokens.values()), 1)  # 4 bytes a float32
        for key in list(itertools.islice(self._tokens, max(len(self._tokens) - self._limit // size, 0))):
            del self._tokens[key]


class StoredFeatures:
    """Features of many observations for a whole training: on the device, beyond a number of bytes on the host, and beyond its free memory on disk.

    Args:
        features: function from B observations, uint8[F, h, w, 3] each, to a tensor [B, ...].
        observations: M of them, which should all be different.
        at_a_time: B.
        device: on which `rows` returns them.
        half: store them in bfloat16, which loses nothing where the vision tower computes in it.
        limit: bytes on the device.
        host_limit: bytes in the memory of the host; None: half of what is free. Beyond it they lie in a temporary file (in `TMPDIR`).
    """

    def __init__(
        self,
        features: Callable[[Sequence[np.ndarray]], torch.Tensor],
        observations: Sequence[np.ndarray],
        at_a_time: int,
        device: str,
        half: bool,
        limit: int = 2**31,
        host_limit: int | None = None,
    ) -> None:
        self._device, self._stored, self._kind = device, torch.empty(0), torch.float32
        for start in range(0, len(observations), at_a_time):
            part = features(observations[start : start + at_a_time]).detach()
            if start == 0:  # only now their shape is known; one block, because joining parts would need twice the memory
                kind, self._kind = torch.bfloat16 if half else part.dtype, part.dtype
                shape = (len(observations), *part.shape[1:])
                fits = math.prod(shape) * kind.itemsize <= limit
                self._stored = torch.empty(shape, dtype=kind, device=device) if fits else _on_host(shape, kind, host_limit)
            self._stored[start : start + len(part)] = part

    def rows(self, rows: Sequence[int]) -> torch.Tensor:
        """Return a tensor [len(rows), ...], of the type that `features` returns: those of some observations, on the device of the policy."""
        index = torch.tensor(rows, dtype=torch.int64, device=self._stored.device)
        return self._stored.index_select(0, index).to(self._device, self._kind)


def _on_host(shape: tuple[int, ...], kind: torch.dtype, limit: int | None) -> torch.Tensor:
    """Return an empty tensor in the memory of the host; where it takes more bytes than `limit`, in a file that ends with it."""
    limit = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 if limit is None else limit
    if math.prod(shape) * kind.itemsize <= limit:
        return torch.empty(shape, dtype=kind)
    with tempfile.NamedTemporaryFile() as file:  # its name goes at once, its pages when the tensor goes
        return torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=kind).view(shape)
