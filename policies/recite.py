"""What a model thinks of given answers to questions about frames, for grounding.

All questions about one moment stand behind its image tokens in one sequence. A mask keeps each from seeing the others, and positions are
counted as if it stood there alone, so frames and prefix are paid for once.

Shape suffixes: B moments, S tokens of a sequence, K answer tokens or phrases, V vocabulary, N image tokens of a moment, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn.functional import normalize

from policies.vlm import Vlm

MARK = "[question]"  # stands where a question goes, to find its place in a chat template


@dataclass(frozen=True)
class Recital:
    """K answer tokens of a batch of questions, one after the other."""

    logprobs: torch.Tensor
    """float32[K], nats, of the given answers' tokens."""
    guessed: np.ndarray
    """int64[K], the token that the model held most probable."""
    told: np.ndarray
    """int64[K], the token of the given answer."""
    owner: np.ndarray
    """int64[K, 2], which moment and which of its questions the token belongs to."""


def recite(policy: Vlm, features_BND: torch.Tensor, frames: Sequence[np.ndarray], asked: Sequence[Sequence[tuple[str, str]]]) -> Recital:
    """Return the log-probabilities of given answers, token by token.

    Args:
        policy: a model whose text positions are plain counts (not Qwen's three-dimensional ones).
        features_BND: what `policy.features(frames)` gave.
        frames: B moments, uint8[F, h, w, 3].
        asked: B lists of (question, answer).
    """
    chat = policy.chat(MARK, 1)
    closing = chat[chat.index(MARK) + len(MARK) :]
    sequences = [
        [(_head(policy, moment), 0), *(_tail(policy, closing, *pair) for pair in pairs)] for moment, pairs in zip(frames, asked, strict=True)
    ]
    tokens_BS, segment_BS, position_BS, scored_BS = _lay_out(sequences)
    device = policy.config.device
    hidden_BSD = policy.base.model(
        input_ids=torch.as_tensor(tokens_BS, device=device),
        attention_mask=_apart(torch.as_tensor(segment_BS, device=device)),
        position_ids=torch.as_tensor(position_BS, device=device),
        mm_encoder_outputs={"image": SimpleNamespace(pooler_output=[features_BND.flatten(0, 1)])},
        use_cache=False,
    ).last_hidden_state
    b, s = np.nonzero(scored_BS)
    logits_KV = policy.base.lm_head(hidden_BSD[b, s - 1]).float()
    target_K = torch.as_tensor(tokens_BS[b, s], device=device)
    logprobs_K = logits_KV.log_softmax(-1).gather(1, target_K[:, None])[:, 0]
    owner_K2 = np.stack([b, segment_BS[b, s] - 1], axis=1)
    return Recital(logprobs_K, logits_KV.detach().argmax(-1).cpu().numpy(), tokens_BS[b, s], owner_K2)


def point(policy: Vlm, features_BND: torch.Tensor, rows: Sequence[int], phrases: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32[K, N]: how well each image token of a moment fits each phrase; and the phrases themselves, float32[K, D].

    A phrase is the mean of its words' input embeddings. Contrasting it with image tokens (as CLIP, arXiv 2103.00020, does with a tower of
    its own) tells the vision tower directly what stands where, in the space in which the text model will look for it.

    Args:
        policy: whose embeddings are used; no new weights.
        features_BND: what `policy.features()` gave.
        rows: K, which moment each phrase is about.
        phrases: K, 'red ball'.
    """
    tokenizer, embed = policy.processor.tokenizer, policy.base.get_input_embeddings()
    ids = [torch.tensor(tokenizer.encode(" " + phrase, add_special_tokens=False), device=policy.config.device) for phrase in phrases]
    phrase_KD = torch.stack([embed(each).mean(0) for each in ids])
    near_KN1 = normalize(features_BND[list(rows)], dim=-1) @ normalize(phrase_KD, dim=-1)[..., None]
    return near_KN1[..., 0] / 0.07, phrase_KD  # 0.07 is CLIP's temperature


def _lay_out(sequences: Sequence[Sequence[tuple[np.ndarray, int]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return tokens, segments (-1: filler, 0: frames, 1..: questions), positions and whether a token is scored; all of shape [B, S]."""
    shape = (len(sequences), max(sum(len(tokens) for tokens, _ in row) for row in sequences))
    tokens_BS, segment_BS, position_BS = np.zeros(shape, np.int64), np.full(shape, -1), np.zeros(shape, np.int64)
    scored_BS = np.zeros(shape, bool)
    for b, row in enumerate(sequences):
        start = 0
        for segment, (tokens, answer_length) in enumerate(row):
            end = start + len(tokens)
            tokens_BS[b, start:end], segment_BS[b, start:end] = tokens, segment
            position_BS[b, start:end] = np.arange(len(tokens)) + (len(row[0][0]) if segment else 0)
            scored_BS[b, end - answer_length : end] = True
            start = end
    return tokens_BS, segment_BS, position_BS, scored_BS


def _apart(segment_BS: torch.Tensor) -> torch.Tensor:
    """Return the additive mask float32[B, 1, S, S]: causal, own segment and segment 0 only."""
    same = segment_BS[:, :, None] == segment_BS[:, None, :]
    causal = torch.ones(same.shape[1:], dtype=torch.bool, device=same.device).tril()
    visible = causal & (same | (segment_BS[:, None, :] == 0))
    return torch.zeros(visible.shape, device=same.device).masked_fill(~visible, torch.finfo(torch.float32).min)[:, None]


def _head(policy: Vlm, frames: np.ndarray) -> np.ndarray:
    """Return the tokens that stand before the question."""
    text = policy.chat(MARK, len(frames))
    return policy.tokenised(text[: text.index(MARK)].rstrip(), frames)["input_ids"][0].cpu().numpy()


def _tail(policy: Vlm, closing: str, question: str, answer: str) -> tuple[np.ndarray, int]:
    """Return the tokens of question and answer, and how many of them are the answer's."""
    tokenizer = policy.processor.tokenizer
    asked = tokenizer.encode(f" {question}{closing}", add_special_tokens=False)
    told = [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
    return np.array(asked + told), len(told)
