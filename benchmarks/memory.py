"""Peak memory of torch tensors on any device, counted operation by operation: a CPU has no `torch.cuda.max_memory_allocated`."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """A context that counts the bytes of all tensors made in it, as long as they are alive. What a kernel uses inside does not count.

    Gradients and activations count, weights that existed before do not. Backward passes must begin within the context.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._known: dict[int, weakref.finalize] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count the memory of its results that is new."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        """Count a storage until it is freed; views of one tensor share it."""
        key = storage._cdata
        if key not in self._known:
            size = storage.nbytes()
            self._known[key] = weakref.finalize(storage, self._remove, key, size)
            self.now += size
            self.peak = max(self.peak, self.now)

    def _remove(self, key: int, size: int) -> None:
        del self._known[key]
        self.now -= size


def peak_memory(work: Callable[[], Any]) -> int:
    """Return the largest number of bytes of tensors that `work` holds at once, beside those that existed before."""
    with PeakMemory() as memory:
        work()
    return memory.peak
