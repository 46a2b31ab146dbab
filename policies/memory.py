"""Estimates the memory of acting and of training from the sizes of a model, before anything is run.

W bytes of weights: 4 a parameter, or 2 where it is frozen and stored in bfloat16. P parameters in float32, P' trained ones, B rows, T tokens of
prompt and reply, L layers, D width, I width of the MLP, K width of keys (heads x size), V vocabulary, R tokens of the reply. The vision tower has n
patches a row, and widths D_v and I_v. Training holds b rows at once: as many as a micro-batch has, at most B.

    acting    W  +  B T (2 L K + 4 D + 3 I) 4  +  B V 4  +  min(B, 16) n (6 D_v + 2 I_v) 4
    training  W  +  12 P'  +  b T L (10 D + 4 K + 5 I) a  +  3 b R V 4,   a = 4, or 2 and 2 P more for the copies under bfloat16
    least     W  +  12 P'  +  T (L D + 10 D + 4 K + 5 I) a  +  3 R V 4,   one reply at once, whose layers are computed again in the backward pass

Acting: weights, keys and values of all layers with the widest activations of one, logits of one token, one layer of the vision tower. Training:
weights, gradients and Adam's two moments (12 P'), activations that each layer saves for the backward pass, logits of the reply and their gradients.
Attention scores are left out: `sdpa` never holds them, `eager` holds B heads T^2 of a layer at once, and of all layers in training.
What training adds to the weights is within a factor of 1.5 of the measured peak (tests/agent/learning/test_peaks.py); a whole process, which holds
more than tensors, within 2 (tests/policies/test_check.py, docs/families.md).
"""

from dataclasses import dataclass
from typing import Any

import torch

from policies.features import AT_A_TIME


@dataclass(frozen=True)
class Memory:
    """Bytes at a batch size."""

    weights: int
    """W."""
    acting: int
    """The peak of acting, weights included."""
    training: int
    """The peak of a training step, weights included."""
    least: int
    """The peak of a training step with one reply at once and gradient checkpointing: what training comes down to where memory runs out."""


def estimate(policy: Any, rows: int, tokens: int, patches: int, half: bool, micro_batch_tokens: int) -> Memory:
    """Return the estimated peaks.

    Args:
        policy: a `Vlm`.
        rows: B, replies at once.
        tokens: T, of the prompt and the reply.
        patches: n, that the vision tower reads for one row.
        half: whether training runs in bfloat16.
        micro_batch_tokens: most tokens of a forward pass in training.
    """
    text, eye = policy.base.config.get_text_config(), policy.base.config.vision_config
    weights = sum(p.numel() * p.element_size() for p in policy.model.parameters())
    layers, width, mlp = text.num_hidden_layers, text.hidden_size, text.intermediate_size
    keys = text.num_key_value_heads * (getattr(text, "head_dim", None) or width // text.num_attention_heads)
    seen = getattr(eye, "embed_dim", None) or eye.hidden_size
    seen_mlp = getattr(eye, "intermediate_size", None) or int(seen * getattr(eye, "mlp_ratio", 4))
    acting = 4 * rows * (tokens * (2 * layers * keys + 4 * width + 3 * mlp) + text.vocab_size)
    acting += 4 * min(rows, AT_A_TIME) * patches * (6 * seen + 2 * seen_mlp)
    layer, logits = tokens * (10 * width + 4 * keys + 5 * mlp) * (2 if half else 4), 12 * policy.reply_length * text.vocab_size
    inputs = tokens * layers * width * (2 if half else 4)  # of all layers
    fixed, at_once = weights + _trained(policy, half), max(min(rows, micro_batch_tokens // tokens), 1)
    return Memory(weights, weights + acting, fixed + at_once * (layers * layer + logits), fixed + inputs + layer + logits)


def _trained(policy: Any, half: bool) -> int:
    """Return the bytes of gradients and moments, and of the copies of weights that training in bfloat16 multiplies."""
    copied = sum(p.numel() for p in policy.model.parameters() if p.dtype == torch.float32)
    return 12 * sum(p.numel() for p in policy.parameters()) + (2 * copied if half else 0)
