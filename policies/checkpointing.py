"""Gradient checkpointing (arXiv 1604.06174): the forward pass keeps the input of each layer, and the backward pass computes the layer again."""

import contextlib
import functools
from collections.abc import Iterator

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


@contextlib.contextmanager
def gradient_checkpointing(model: torch.nn.Module) -> Iterator[None]:
    """Checkpoint the layers of all transformers in `model`, in forward passes within this context that have no KV cache.

    transformers' own switch needs `model.train()`, which would also turn dropout on: replies are scored as they are acted.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own is found again


def is_checkpointed(layer: torch.nn.Module) -> bool:
    """Return whether the backward pass will compute a layer again."""
    return "forward" in vars(layer)
