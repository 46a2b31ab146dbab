"""Policies that act from camera frames and an instruction."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from policies.keys import PolicyConfig

if TYPE_CHECKING:
    from policies.vlm import Vlm

__all__ = ["PolicyConfig", "load", "set_threads"]


def load(config: PolicyConfig, low: Any, high: Any, counts: Any = None, make: Callable[..., Any] | None = None) -> "Vlm":
    """Return the policy that `config` names, for actions in the box [low, high]; imports torch.

    Args:
        config: which model, and how.
        low: float[A], of every action.
        high: float[A].
        counts: int[A], how many values a discrete action has; 0 or None where it is continuous.
        make: class of a policy of the user's (`policy.model: file.py:Class`); None: a Hugging Face model.
    """
    if make is not None:
        return make(config, low, high, counts)
    from policies.vlm import Vlm

    return Vlm(config, low, high, counts)


def set_threads(count: int) -> None:
    """Set how many threads torch uses in this process; imports torch."""
    import torch

    torch.set_num_threads(count)
