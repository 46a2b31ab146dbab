"""Pictures are encoded once, in batches of one size, and the oldest are forgotten."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from policies.features import FeatureCache, StoredFeatures


class Eye:
    """Encodes a moment as its mean, and counts what it was shown."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, moments: Sequence[np.ndarray]) -> torch.Tensor:
        self.batches.append(len(moments))
        return torch.tensor([[[float(moment.mean())] * 4] * 3 for moment in moments])


def moments(*values: int) -> list[np.ndarray]:
    return [np.full((2, 8, 8, 3), value, np.uint8) for value in values]


def test_each_picture_is_encoded_once_and_in_full_batches() -> None:
    eye = Eye()
    seen = FeatureCache(eye, at_a_time=4)
    first = seen.lookup(moments(1, 2, 1, 3, 2, 5, 7))
    assert first[:, 0, 0].tolist() == [1, 2, 1, 3, 2, 5, 7] and first.shape == (7, 3, 4)
    assert eye.batches == [4, 4, 1]  # five pictures, the second batch filled up; and one picture alone proves to give the same bits
    assert torch.equal(seen.lookup(moments(7, 1)), first[[6, 0]])
    assert eye.batches == [4, 4, 1]
    seen.lookup(moments(9))
    assert eye.batches == [4, 4, 1, 1]


def test_the_oldest_are_forgotten() -> None:
    eye = Eye()
    seen = FeatureCache(eye, at_a_time=1, limit=2 * 3 * 4 * 4)  # bytes: two moments of 3 x 4 numbers
    seen.lookup(moments(1, 2, 3))
    seen.lookup(moments(2, 3))
    assert len(eye.batches) == 3
    assert seen.lookup(moments(1))[0, 0, 0] == 1
    assert len(eye.batches) == 4


def test_what_was_seen_without_gradients_can_be_learnt_from() -> None:
    seen = FeatureCache(Eye())
    with torch.inference_mode():
        seen.lookup(moments(3))
    weight = torch.ones(4, requires_grad=True)
    (seen.lookup(moments(3)) @ weight).sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [9.0] * 4


def line_of(address: int) -> str:
    """What the process has mapped at an address; a file without a name is called deleted."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, _, last = line.partition(" ")[0].partition("-")
        if int(first, 16) <= address < int(last, 16):
            return line
    return ""


def test_stored_features_are_gathered_by_row() -> None:
    """In float32 as they are, in bfloat16 where the vision tower computes in it, and beyond the limits on the host or in a file."""
    eye, many = Eye(), moments(*range(1, 8))
    whole = StoredFeatures(eye, many, 3, "cpu", half=False).rows([6, 0, 6])
    assert whole.dtype == torch.float32 and whole[:, 0, 0].tolist() == [7, 1, 7] and eye.batches == [3, 3, 1]
    stored = StoredFeatures(eye, many, 3, "cpu", half=True)
    assert stored._stored.dtype == torch.bfloat16 and torch.equal(stored.rows([6, 0, 6]), whole), "small integers have no rounding"
    size = 7 * 3 * 4 * 2  # bytes of all, in bfloat16
    for limit, device in ((size, "meta"), (size - 1, "cpu")):
        assert StoredFeatures(eye, many, 3, "meta", half=True, limit=limit)._stored.device.type == device
    assert StoredFeatures(eye, many, 3, "meta", half=True, limit=0).rows([1]).device.type == "meta", "rows are where the policy is"
    paged = StoredFeatures(eye, many, 3, "cpu", half=True, limit=0, host_limit=0)
    assert torch.equal(paged.rows([6, 0, 6]), whole) and "(deleted)" in line_of(paged._stored.data_ptr())
    assert "(deleted)" not in line_of(StoredFeatures(eye, many, 3, "cpu", half=True, limit=0, host_limit=size)._stored.data_ptr())
    assert StoredFeatures(eye, [], 3, "cpu", half=False).rows([]).shape == (0,)
    numbers = StoredFeatures(lambda shown: torch.full((len(shown), 2), 257), many, 3, "cpu", half=False).rows([1])
    assert numbers.dtype == torch.int64 and numbers.tolist() == [[257, 257]], "a class of the user's may return any type"
