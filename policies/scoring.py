"""What a model thinks of given answers to questions about frames, for grounding.

The frames and what stands before a question are read once a moment; all questions about it go on from there, each as a row of its own.

Shape suffixes: B moments, Q questions of all moments, S tokens of the longest of them, K answer tokens or phrases, V vocabulary, N image tokens
of a moment, D width.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from policies import codec
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


@dataclass(frozen=True)
class Spelt:
    """Questions with their answers, as tokens."""

    owner: np.ndarray
    """int64[Q, 2], which moment a question is about, and which of its questions it is."""
    tails: list[tuple[list[int], int]]
    """Q: the tokens of question and answer, and how many of them are the answer's."""


def spell(policy: Vlm, asked: Sequence[Sequence[tuple[str, str]]]) -> Spelt:
    """Return B lists of (question, answer) as tokens; nothing here needs the model's device."""
    tokenizer, chat = policy.processor.tokenizer, policy.prompts.chat(MARK, 1)
    pairs = [pair for row in asked for pair in row]
    # Read behind what stands before them: some tokenizers begin a text with a space of their own.
    opening = len(tokenizer.encode(_opening(chat), add_special_tokens=False))
    questions = [each[opening:] for each in tokenizer([chat.replace(MARK, asks) for asks, _ in pairs], add_special_tokens=False)["input_ids"]]
    answers = tokenizer([answer for _, answer in pairs], add_special_tokens=False)["input_ids"]
    tails = [(said + told + [tokenizer.eos_token_id], len(told) + 1) for said, told in zip(questions, answers, strict=True)]
    return Spelt(np.array([(moment, index) for moment, row in enumerate(asked) for index in range(len(row))]), tails)


def recite(policy: Vlm, features_BND: torch.Tensor, frames: Sequence[np.ndarray], asked: Sequence[Sequence[tuple[str, str]]] | Spelt) -> Recital:
    """Return the log-probabilities of given answers, token by token.

    Args:
        policy: a model whose text positions are plain counts (not Qwen's three-dimensional ones).
        features_BND: what `policy.features(frames)` gave.
        frames: B moments, uint8[F, h, w, 3], all of one shape.
        asked: B lists of (question, answer), or what `spell` made of them.
    """
    spelt = asked if isinstance(asked, Spelt) else spell(policy, asked)
    device, text = policy.config.device, policy.base.model
    cache = _read(policy, features_BND, frames)
    owner_Q2, tails, parts = spelt.owner, spelt.tails, []
    for rows in _alike(np.array([len(tokens) for tokens, _ in tails])):
        tokens_QS, scored_QS = _lay_out([tails[row] for row in rows])
        read = _of(cache, torch.as_tensor(owner_Q2[rows, 0], device=device))
        # Filler stands at the end, where no token of a question can see it, so the causal mask is all that is needed.
        hidden_QSD = text(input_ids=torch.as_tensor(tokens_QS, device=device), past_key_values=read, use_cache=True).last_hidden_state
        q, s = np.nonzero(scored_QS)
        logits_KV = policy.base.lm_head(hidden_QSD[q, s - 1]).float()
        target_K = torch.as_tensor(tokens_QS[q, s], device=device)
        logprobs_K = logits_KV.log_softmax(-1).gather(1, target_K[:, None])[:, 0]
        parts.append(Recital(logprobs_K, logits_KV.detach().argmax(-1).cpu().numpy(), tokens_QS[q, s], owner_Q2[rows][q]))
    join = np.concatenate
    return Recital(torch.cat([p.logprobs for p in parts]), *(join([getattr(p, name) for p in parts]) for name in ("guessed", "told", "owner")))


def believe(policy: Vlm, moments: Sequence[np.ndarray], questions: Sequence[str], words: Sequence[str] = ("yes", "no")) -> np.ndarray:
    """Return float64[B, W]: how probable each word is as the first token of the answer to each question, if it is one of these; many at a time.

    With two words the first column is `Vlm.probability`.

    Args:
        policy: as for `recite`.
        moments: B of them, uint8[F, h, w, 3].
        questions: B, one a moment.
        words: W possible answers that begin differently.
    """
    found, size = [np.zeros((0, len(words)))], policy.config.rows
    with torch.inference_mode():
        for start in range(0, len(moments), size):
            frames, asked = moments[start : start + size], questions[start : start + size]
            told = recite(policy, policy.features(frames), frames, [[(question, word) for word in words] for question in asked])
            first = {tuple(owner): i for i, owner in reversed(list(enumerate(told.owner.tolist())))}
            rows = [[first[row, word] for word in range(len(words))] for row in range(len(frames))]
            found.append(told.logprobs[torch.tensor(rows, device=told.logprobs.device)].double().softmax(-1).cpu().numpy())
    return np.concatenate(found)


def tell(policy: Vlm, moments: Sequence[np.ndarray], questions: Sequence[str], numbers: int) -> np.ndarray:
    """Return float64[B, numbers]: the number tokens that a model expects in its answer to each question, 0 for `<n0>`.

    A mean over its distribution is finer than one token; each place follows the most probable numbers in those before it.

    Args:
        policy: as for `recite`, and with number tokens.
        moments: B of them, uint8[F, h, w, 3].
        questions: B, one a moment.
        numbers: of an answer.
    """
    ids = torch.as_tensor(codec.bins(policy.processor.tokenizer)[:, 0], device=policy.config.device)
    found, size, text = [np.zeros((0, numbers))], policy.config.rows, policy.base.model
    with torch.inference_mode():
        for start in range(0, len(moments), size):
            frames = moments[start : start + size]
            asked = [tokens[:-1] for tokens, _ in spell(policy, [[(question, "")] for question in questions[start : start + size]]).tails]
            cache, told, lengths = _read(policy, policy.features(frames), frames), np.zeros((len(frames), numbers)), np.array([*map(len, asked)])
            for rows in (np.flatnonzero(lengths == length) for length in np.unique(lengths)):
                read = _of(cache, torch.as_tensor(rows, device=ids.device))
                said = torch.tensor([asked[row] for row in rows], device=ids.device)
                for place in range(numbers):
                    hidden_QSD = text(input_ids=said, past_key_values=read, use_cache=True).last_hidden_state
                    chances_QN = policy.base.lm_head(hidden_QSD[:, -1]).float()[:, ids].softmax(-1)
                    told[rows, place] = chances_QN.double().cpu().numpy() @ np.arange(len(ids))
                    said = ids[chances_QN.argmax(-1)][:, None]
            found.append(told)
    return np.concatenate(found)


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
    words, device = sorted(set(phrases)), policy.config.device
    ids = policy.processor.tokenizer([" " + each for each in words], add_special_tokens=False)["input_ids"]
    embed = policy.base.get_input_embeddings()
    means = torch.stack([embed(torch.tensor(each, device=device)).mean(0) for each in ids])
    phrase_KD = means[torch.tensor([words.index(each) for each in phrases], device=device)]
    near_KN1 = normalize(features_BND[list(rows)], dim=-1) @ normalize(phrase_KD, dim=-1)[..., None]
    return near_KN1[..., 0] / 0.07, phrase_KD  # 0.07 is CLIP's temperature


def _read(policy: Vlm, features_BND: torch.Tensor, frames: Sequence[np.ndarray]) -> Any:
    """Return the cache of B moments' frames and of what stands before a question."""
    head = _head(policy, frames[0])
    return policy.base.model(
        # Clones, for what `believe` read in inference mode may be trained on later. Token types tell Gemma 3 which tokens are an image's.
        **{key: head[key].expand(len(frames), -1).clone() for key in ("input_ids", "token_type_ids") if key in head},
        use_cache=True,
        **policy.seen(features_BND),
    ).past_key_values


def _of(cache: Any, moments: torch.Tensor) -> Any:
    """Return a copy of a cache, with a row for each of int64[Q] moments."""
    read = copy.copy(cache)
    read.layers = [copy.copy(layer) for layer in cache.layers]
    read.batch_select_indices(moments)
    return read


def _alike(lengths_Q: np.ndarray) -> list[np.ndarray]:
    """Return rows in groups of like length, none twice as long as another in its group: filler costs as much as words."""
    order = np.argsort(lengths_Q, kind="stable")
    groups: list[list[int]] = []
    for row in order.tolist():
        if not groups or lengths_Q[row] >= 2 * lengths_Q[groups[-1][0]]:
            groups.append([])
        groups[-1].append(row)
    return [np.array(group) for group in groups]


def _lay_out(tails: Sequence[tuple[list[int], int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return int64[Q, S] tokens, filled up with zeros, and bool[Q, S]: which of them are an answer's."""
    lengths = np.array([len(tokens) for tokens, _ in tails])
    tokens_QS, place_S = np.zeros((len(tails), lengths.max()), np.int64), np.arange(lengths.max())
    tokens_QS[place_S < lengths[:, None]] = np.concatenate([tokens for tokens, _ in tails])
    first_Q = lengths - [answer for _, answer in tails]
    return tokens_QS, (place_S >= first_Q[:, None]) & (place_S < lengths[:, None])


def _head(policy: Vlm, frames: np.ndarray) -> dict[str, torch.Tensor]:
    """Return the tokens that stand before the question, int64[1, P] a key."""
    return policy.prompts.tokenised(_opening(policy.prompts.chat(MARK, len(frames))), frames)


def _opening(chat: str) -> str:
    """Return what stands before the question, less a space, which belongs to its first token."""
    return chat[: chat.index(MARK)].removesuffix(" ")
