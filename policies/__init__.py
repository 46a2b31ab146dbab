"""Policies that act from camera frames and an instruction.

This package imports torch only when a model is loaded, so that reading a config or listing tasks stays fast.
"""

import os
from typing import TYPE_CHECKING, Any

from policies.keys import PolicyConfig

if TYPE_CHECKING:
    from policies.vlm import Vlm

# Read when torch is imported. By default a thread that waits for the next matrix product does so at full load, and takes its core from others:
# with two threads on a busy machine, training took ten times as much processor time.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__all__ = ["PolicyConfig", "count_gpus", "load", "set_threads"]


def load(config: PolicyConfig, low: Any, high: Any, counts: Any = None) -> "Vlm":
    """Return the Hugging Face model that `config.model` names, as a policy.

    Args:
        config: the section `policy`.
        low: float[A], finite lower bounds of an action.
        high: float[A], finite upper bounds.
        counts: int[A], number of values of each discrete action dimension, 0 where it is continuous; None: all are continuous.

    Raises:
        ValueError: the model cannot be loaded, or the device does not exist.
    """
    from policies.vlm import Vlm  # imports torch and transformers, which takes seconds

    return Vlm(config, low, high, counts)


def set_threads(count: int) -> None:
    """Set how many CPU threads torch uses in this process."""
    import torch

    torch.set_num_threads(count)


def count_gpus() -> int:
    """Return how many GPUs torch finds."""
    import torch

    return torch.cuda.device_count()
