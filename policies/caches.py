"""Rows of a KV cache: what was read once is gone on with by several questions."""

import copy
from typing import Any

import torch


def select_rows(cache: Any, rows: torch.Tensor) -> Any:
    """Return a copy of a KV cache whose rows are the given int64[Q] rows, with repetitions."""
    # Tensors within an autograd graph cannot be copied deeply. They need not be: a layer's tensors are replaced, never changed in place.
    selected = copy.copy(cache)
    selected.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in selected.layers:
        if hasattr(layer, "batch_select_indices"):
            layer.batch_select_indices(rows)
        if hasattr(layer, "conv_states"):  # linear attention (Qwen3.5) or a convolution (LFM2): states instead of keys and values
            _select_states(layer, rows)
    return selected


def _select_states(layer: Any, rows: torch.Tensor) -> None:
    """Give a copied layer of a cache the given rows of its states."""

    def keep(recurrent_states: torch.Tensor, state_idx: int = 0, **_: Any) -> torch.Tensor:
        layer.recurrent_states[state_idx] = recurrent_states
        return recurrent_states

    for name in ("conv_states", "recurrent_states"):
        states = getattr(layer, name)
        setattr(layer, name, {i: state if state is None else state.index_select(0, rows) for i, state in states.items()})
    for name in ("has_previous_state", "is_conv_states_initialized", "is_recurrent_states_initialized"):
        setattr(layer, name, dict(getattr(layer, name)))
    layer.update_recurrent_state = keep  # transformers writes into the tensor that autograd has saved for the backward pass
