"""Policies that act from camera frames and an instruction."""

from typing import TYPE_CHECKING, Any

from policies.keys import PolicyConfig

if TYPE_CHECKING:
    from policies.vlm import Vlm

__all__ = ["PolicyConfig", "load", "set_threads"]


def load(config: PolicyConfig, low: Any, high: Any, counts: Any = None) -> "Vlm":
    """Return the model that `config` names, for actions in the box [low, high], `counts` values where they are discrete; imports torch."""
    from policies.vlm import Vlm

    return Vlm(config, low, high, counts)


def set_threads(count: int) -> None:
    """Set how many threads torch uses in this process; imports torch."""
    import torch

    torch.set_num_threads(count)
