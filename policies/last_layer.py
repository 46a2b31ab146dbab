"""The last layer of a text model computes only what is read: of tokens whose logits are dropped, their keys and values alone."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.functional import pad

from policies import families
from policies.checkpointing import is_checkpointed


@contextlib.contextmanager
def last_tokens(model: Any, count: int) -> Iterator[None]:
    """Within this context the last layer's queries, output projection and MLP see the last `count` tokens of a forward pass, and give 0 for others.

    So the last hidden states of the other tokens are wrong, and those of the last tokens are as ever. Each of these modules works token by token.
    Layers of other forms compute everything, and so do checkpointed layers, whose backward pass comes after this context.

    Args:
        model: an image-text-to-text model, with or without adapters.
        count: at least as many tokens as have logits, `logits_to_keep`.
    """
    modules = _tokenwise(model)
    for module in modules:
        module.forward = functools.partial(_of_last, module.forward, count)
    try:
        yield
    finally:
        for module in modules:
            del module.forward  # the class's own is found again


def _tokenwise(model: Any) -> list[Any]:
    """Return the modules of the last layer whose result for a token depends on that token alone."""
    layers = getattr(families.text_model(model), "layers", None)
    if not layers or is_checkpointed(layers[-1]):
        return []
    attention, mlp = getattr(layers[-1], "self_attn", None), getattr(layers[-1], "mlp", None)
    found = [getattr(attention, "q_proj", None), getattr(attention, "o_proj", None)]
    return [module for module in (*found, mlp if hasattr(mlp, "down_proj") else None) if module is not None]  # a mixture of experts has none


def _of_last(forward: Callable[[torch.Tensor], torch.Tensor], count: int, hidden_BSD: torch.Tensor) -> torch.Tensor:
    """Return `forward` of the last `count` tokens, and 0 for those before."""
    before = max(hidden_BSD.shape[1] - count, 0)
    return pad(forward(hidden_BSD[:, before:]), (0, 0, before, 0))
