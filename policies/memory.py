"""Estimates the memory of acting and of training from the sizes of a model, before anything is run.

All numbers are float32 but activations of training under bfloat16, which take half. P parameters, P' trained ones, B rows, T tokens of prompt
and reply, L layers, D width, I width of the MLP, K width of keys (heads x size), V vocabulary, R tokens of the reply. The vision tower has n patches
a row, and widths D_v and I_v.

    acting    4 P  +  B T (2 L K + 4 D + 3 I) 4  +  B V 4  +  min(B, 16) n (6 D_v + 2 I_v) 4
    training  4 P  +  12 P'  +  B T L (10 D + 4 K + 5 I) a  +  3 B R V 4,   a = 4, or 2 and 2 P more for the copies under bfloat16

Acting: weights, keys and values of all layers with the widest activations of one, logits of one token, one layer of the vision tower. Training:
weights, gradients and Adam's two moments (12 P'), activations that each layer saves for the backward pass, logits of the reply and their gradients.
Attention scores are left out: `sdpa` never holds them, `eager` holds B heads T^2 of a layer at once, and of all layers in training.
"""

from dataclasses import dataclass
from typing import Any

from policies.features import AT_A_TIME


@dataclass(frozen=True)
class Memory:
    """Bytes at a batch size."""

    weights: int
    """4 P."""
    acting: int
    """The peak of acting, weights included."""
    training: int
    """The peak of a training step, weights included."""


def estimate(policy: Any, rows: int, tokens: int, patches: int, half: bool) -> Memory:
    """Return the estimated peaks.

    Args:
        policy: a `Vlm`.
        rows: B, replies at once.
        tokens: T, of the prompt and the reply.
        patches: n, that the vision tower reads for one row.
        half: whether training runs in bfloat16.
    """
    text, eye = policy.base.config.get_text_config(), policy.base.config.vision_config
    parameters = sum(p.numel() for p in policy.model.parameters())
    trained = sum(p.numel() for p in policy.parameters())
    layers, width, mlp = text.num_hidden_layers, text.hidden_size, text.intermediate_size
    keys = text.num_key_value_heads * (getattr(text, "head_dim", None) or width // text.num_attention_heads)
    seen = getattr(eye, "embed_dim", None) or eye.hidden_size
    seen_mlp = getattr(eye, "intermediate_size", None) or int(seen * getattr(eye, "mlp_ratio", 4))
    weights = 4 * parameters
    acting = 4 * rows * (tokens * (2 * layers * keys + 4 * width + 3 * mlp) + text.vocab_size)
    acting += 4 * min(rows, AT_A_TIME) * patches * (6 * seen + 2 * seen_mlp)
    saved = rows * tokens * layers * (10 * width + 4 * keys + 5 * mlp) * (2 if half else 4)
    training = 12 * trained + saved + 12 * rows * policy.reply_length * text.vocab_size + (2 * parameters if half else 0)
    return Memory(weights, weights + acting, weights + training)
