"""Prefix sharing: several replies to one situation in one sequence, over one copy of its image tokens and its prompt.

    prompt | reply 1 | reply 2        a reply attends to the prompt and to itself, and its positions continue those of the prompt

Shape suffixes: G situations, R replies to each, P tokens of a prompt, J tokens of a reply, S tokens of the whole sequence, x 1 or 3 position axes.
"""

from typing import Any

import torch

PLAIN = {"input_ids", "attention_mask"}  # keys of a prompt of most families
GRID = {"mm_token_type_ids", "image_grid_thw"}  # further ones of Qwen-VL, from which positions in three dimensions follow


def can_share(base: Any, prompt: dict[str, torch.Tensor]) -> bool:
    """Return whether a model takes a mask and positions of ours: all its layers have full attention, in a kernel that takes any mask.

    Args:
        base: the model.
        prompt: tokens of a prompt. Families whose tokens have types (Gemma 3, PaliGemma: image tokens see each other in both directions) have a
            further key, and share nothing.
    """
    text = base.config.get_text_config()
    full = set(getattr(text, "layer_types", None) or ["full_attention"]) == {"full_attention"} and not getattr(text, "sliding_window", None)
    return full and text._attn_implementation in ("eager", "sdpa") and prompt.keys() <= PLAIN | (GRID if _rope_index(base) else set())


def shared_inputs(base: Any, prompts: dict[str, torch.Tensor], reply_GRJ: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return `input_ids`, `position_ids` and `attention_mask` of a forward pass over all replies.

    Args:
        base: the model.
        prompts: int64[G, P] a key, of prompts of one length.
        reply_GRJ: tokens of the replies.
    """
    ids_GP, device = prompts["input_ids"], reply_GRJ.device
    (count, length), (replies, tokens) = ids_GP.shape, reply_GRJ.shape[1:]
    # 0: the prompt, which all see; 1 to R: a reply, which sees itself alone.
    owner_S = torch.cat([torch.zeros(length, dtype=torch.long), torch.arange(1, replies + 1).repeat_interleave(tokens)]).to(device)
    seen_SS = ((owner_S == 0) | (owner_S == owner_S[:, None])).tril()
    mask = seen_SS.expand(count, 1, -1, -1)
    if base.config.get_text_config()._attn_implementation == "eager":  # this kernel adds the mask to its logits
        mask = torch.zeros(mask.shape, device=device).masked_fill(~mask, torch.finfo(torch.float32).min)
    rope_index = _rope_index(base)
    before_xGP = rope_index(**prompts)[0] if rope_index else torch.arange(length, device=device).expand(1, count, -1)
    next_1G1 = before_xGP.amax((0, 2), keepdim=True) + 1  # text counts alike along all axes
    after_xGS = (next_1G1 + torch.arange(tokens, device=device).repeat(replies)).expand(len(before_xGP), -1, -1)
    position_xGS = torch.cat([before_xGP, after_xGS], dim=-1)
    return {
        "input_ids": torch.cat([ids_GP, reply_GRJ.flatten(1)], dim=1),
        "position_ids": position_xGS if rope_index else position_xGS[0],
        "attention_mask": mask,
    }


def reply_places(replies: int, tokens: int) -> torch.Tensor:
    """Return int64[R, J + 1]: the places, among the last token of the prompt and all R x J tokens of replies, at which each reply is predicted."""
    own_RJ = 1 + torch.arange(replies * tokens).reshape(replies, tokens)
    return torch.cat([torch.zeros(replies, 1, dtype=torch.long), own_RJ], dim=1)  # its first token is predicted at the end of the prompt


def _rope_index(base: Any) -> Any:
    """Return the method of Qwen-VL's models that computes positions in three dimensions; None where positions are plain counts."""
    return getattr(base.model, "get_rope_index", None)
