"""Scores given answers to questions about frames, with gradients: for grounding, and for success detection.

The frames of an observation and the chat up to the question are processed once, with a KV cache. All questions about that observation continue from
the cache, each as a row of its own.

Shape suffixes: B observations, Q questions about all of them, S tokens of the longest question, K answer tokens or phrases, W possible answers,
V vocabulary, N image tokens of an observation, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from policies import codec
from policies.caches import select_rows
from policies.vlm import Vlm

MARK = "[question]"  # placeholder that marks the place of a question in a chat template; the model never gets it


@dataclass(frozen=True)
class Scores:
    """Scores of the K answer tokens of a batch of questions; the tokens of an answer are in a row."""

    logprobs: torch.Tensor
    """float32[K], nats, of the tokens of the given answers, each after the correct ones before it (teacher forcing)."""
    predicted: np.ndarray
    """int64[K], the token that the model holds most probable."""
    target: np.ndarray
    """int64[K], the token of the given answer."""
    owner: np.ndarray
    """int64[K, 2], index of the observation, and of the question among those about it."""


@dataclass(frozen=True)
class Tokenised:
    """Questions and their answers as tokens."""

    owner: np.ndarray
    """int64[Q, 2], index of the observation that a question is about, and of the question among those about it."""
    tails: list[tuple[list[int], int]]
    """Q times: the tokens of question and answer, and how many of them belong to the answer."""


Examples = Sequence[Sequence[tuple[str, str]]] | Tokenised  # B lists of (question, answer), or the result of `tokenise` for them


def tokenise(policy: Vlm, examples: Sequence[Sequence[tuple[str, str]]]) -> Tokenised:
    """Return B lists of (question, answer) as tokens; this needs no device, so data loading can do it in advance."""
    tokenizer, chat = policy.processor.tokenizer, policy.prompts.chat(MARK, 1)
    pairs = [pair for row in examples for pair in row]
    # Questions are tokenised together with the chat before them, and that is cut off: some tokenizers put a space before every text.
    prefix = len(tokenizer.encode(_before_question(chat), add_special_tokens=False))
    questions = [
        each[prefix:]
        for each in tokenizer([chat.replace(MARK, policy.prompts.known(question)) for question, _ in pairs], add_special_tokens=False)["input_ids"]
    ]
    distinct = {answer: codec.begun(tokenizer, answer) for answer in {answer for _, answer in pairs}}
    answers = [distinct[answer] for _, answer in pairs]
    tails = [(question + answer + [tokenizer.eos_token_id], len(answer) + 1) for question, answer in zip(questions, answers, strict=True)]
    return Tokenised(np.array([(observation, index) for observation, row in enumerate(examples) for index in range(len(row))]), tails)


def num_tokens_before_question(policy: Vlm, frames: np.ndarray) -> int:
    """Return the number of tokens before a question about frames, uint8[F, h, w, 3]: image tokens and the beginning of the chat."""
    return _head(policy, frames)["input_ids"].shape[1]


def score(policy: Vlm, features_BND: torch.Tensor, frames: Sequence[np.ndarray], examples: Examples, cached: bool = True) -> Scores:
    """Return the log-probabilities of given answers, token by token.

    Args:
        policy: a `Vlm` of any family.
        features_BND: the result of `policy.features(frames)`.
        frames: those of B observations, uint8[F, h, w, 3] each, all of one shape.
        examples: questions and answers.
        cached: False: read the frames again for each question, without a KV cache, as gradient checkpointing needs it.

    Returns:
        Scores in groups of questions of similar length, so not in the order of the examples; `Scores.owner` says which is which.
    """
    tokenised = examples if isinstance(examples, Tokenised) else tokenise(policy, examples)
    shared, tails, owner_Q2 = _read_shared(policy, features_BND, frames, cached), tokenised.tails, tokenised.owner
    groups = _group_by_length(np.array([len(tokens) for tokens, _ in tails]))
    parts = [_score_group(policy, shared, [tails[row] for row in rows], owner_Q2[rows]) for rows in groups]
    join = np.concatenate
    return Scores(torch.cat([p.logprobs for p in parts]), *(join([getattr(p, name) for p in parts]) for name in ("predicted", "target", "owner")))


def _score_group(policy: Vlm, shared: "Shared", tails: Sequence[tuple[list[int], int]], owner_Q2: np.ndarray) -> Scores:
    """Return the scores of Q questions of similar length, in one forward pass; `shared` is that of all observations."""
    device, (tokens_QS, scored_QS) = policy.config.device, _pad(tails)
    own = shared.select(torch.as_tensor(owner_Q2[:, 0], device=device))
    # Padding is behind the answers, where no token of a question attends to it, so the causal mask suffices.
    hidden_QSD = _continue(policy, own, torch.as_tensor(tokens_QS, device=device), scored_QS.argmax(1))
    q, s = np.nonzero(scored_QS)
    logits_KV = policy.head(hidden_QSD[q, s - 1])  # the token at s is predicted at s - 1; only answer tokens need logits
    target_K = torch.as_tensor(tokens_QS[q, s], device=device)
    logprobs_K = logits_KV.log_softmax(-1).gather(1, target_K[:, None])[:, 0]
    return Scores(logprobs_K, logits_KV.detach().argmax(-1).cpu().numpy(), tokens_QS[q, s], owner_Q2[q])


def choice_probabilities(
    policy: Vlm, observations: Sequence[np.ndarray], questions: Sequence[str], words: Sequence[str] = ("yes", "no")
) -> np.ndarray:
    """Return float64[B, W]: the probability of each word as the first token of the answer to each question, normalised over these words.

    With two words the first column is `Vlm.probability`.

    Args:
        policy: as for `score`.
        observations: frames of B observations, uint8[F, h, w, 3] each.
        questions: B, one for each observation.
        words: W possible answers, whose first tokens differ.
    """
    batches, size = [np.zeros((0, len(words)))], policy.config.batch_size
    with torch.inference_mode():
        for start in range(0, len(observations), size):
            frames, batch = observations[start : start + size], questions[start : start + size]
            scores = score(policy, policy.features(frames), frames, [[(question, word) for word in words] for question in batch])
            # Reversed, so that of the tokens of an answer the index of the first one remains.
            first = {tuple(owner): i for i, owner in reversed(list(enumerate(scores.owner.tolist())))}
            rows = [[first[row, word] for word in range(len(words))] for row in range(len(frames))]
            batches.append(scores.logprobs[torch.tensor(rows, device=scores.logprobs.device)].double().softmax(-1).cpu().numpy())
    return np.concatenate(batches)


def expected_numbers(policy: Vlm, observations: Sequence[np.ndarray], questions: Sequence[str], numbers: int) -> np.ndarray:
    """Return float64[B, numbers]: the expected index of each number token in the answer to each question, 0 for `<n0>`.

    The mean of a distribution is finer than one token. Each number is conditioned on the most probable numbers before it.

    Args:
        policy: as for `score`, and with number tokens.
        observations: frames of B observations, uint8[F, h, w, 3] each.
        questions: B, one for each observation.
        numbers: how many numbers an answer has.
    """
    ids = torch.as_tensor(codec.bins(policy.processor.tokenizer)[:, 0], device=policy.config.device)
    batches, size = [np.zeros((0, numbers))], policy.config.batch_size
    with torch.inference_mode():
        for start in range(0, len(observations), size):
            frames = observations[start : start + size]
            # Empty answers, without the end-of-text token that `tokenise` adds.
            prompts = [tokens[:-1] for tokens, _ in tokenise(policy, [[(question, "")] for question in questions[start : start + size]]).tails]
            shared, expected = _read_shared(policy, policy.features(frames), frames), np.zeros((len(frames), numbers))
            lengths = np.array([len(prompt) for prompt in prompts])
            # Questions of exactly one length go together, as the answer follows the last token of every row.
            for rows in (np.flatnonzero(lengths == length) for length in np.unique(lengths)):
                own = shared.select(torch.as_tensor(rows, device=ids.device))
                expected[rows] = _expected_in_group(policy, own, torch.tensor([prompts[row] for row in rows], device=ids.device), ids, numbers)
            batches.append(expected)
    return np.concatenate(batches)


def _expected_in_group(policy: Vlm, shared: "Shared", tokens_QS: torch.Tensor, ids: torch.Tensor, numbers: int) -> np.ndarray:
    """Return float64[Q, numbers] for questions of one length; `shared` has a row for each of them, and its cache grows."""
    expected, questions = np.zeros((len(tokens_QS), numbers)), np.full(len(tokens_QS), tokens_QS.shape[1])
    for place in range(numbers):
        hidden_QSD = _continue(policy, shared, tokens_QS, questions)
        probabilities = policy.head(hidden_QSD[:, -1])[:, ids].softmax(-1)  # over number tokens only
        expected[:, place] = probabilities.double().cpu().numpy() @ np.arange(len(ids))
        chosen_Q1 = ids[probabilities.argmax(-1)][:, None]
        tokens_QS = chosen_Q1 if shared.cache is not None else torch.cat([tokens_QS, chosen_Q1], dim=1)  # without a cache all of it is read again
    return expected


def localise(policy: Vlm, features_BND: torch.Tensor, rows: Sequence[int], phrases: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32[K, N], how well each image token of an observation fits each phrase, and float32[K, D], the embeddings of the phrases.

    A phrase is embedded as the mean of its words' input embeddings. A contrastive loss on the similarities (as CLIP's, arXiv 2103.00020, which has a
    text tower) trains the vision tower directly to represent which object is where, in the space in which the text model reads image tokens.

    Args:
        policy: its input embeddings are used; there are no new weights.
        features_BND: the result of `policy.features()`.
        rows: K, index of the observation that each phrase is about.
        phrases: K, such as 'red ball'.
    """
    distinct, device = sorted(set(phrases)), policy.config.device  # a phrase occurs many times in a batch, and is embedded once
    ids = [codec.continued(policy.processor.tokenizer, " " + each) for each in distinct]  # as words within a sentence
    embed = policy.base.get_input_embeddings()
    means = torch.stack([embed(torch.tensor(each, device=device)).mean(0) for each in ids]).float()  # frozen weights may be bfloat16
    phrase_KD = means[torch.tensor([distinct.index(each) for each in phrases], device=device)]
    seen_BND = features_BND.chunk(policy.levels, dim=-1)[0]  # of Qwen3-VL's image tokens the part that stands in the place of words
    similarity_KN1 = normalize(seen_BND[list(rows)], dim=-1) @ normalize(phrase_KD, dim=-1)[..., None]
    return similarity_KN1[..., 0] / 0.07, phrase_KD  # 0.07 is CLIP's temperature


@dataclass(frozen=True)
class Shared:
    """What B observations and the chat before the question are to the questions about them; a row for each observation, or for each question."""

    cache: Any
    """KV cache; None where none is wanted, and for a model whose prompt attends in both directions: a question changes what stands before it."""
    delta_B1: torch.Tensor | None
    """int64[B, 1], by how much positions are ahead of the count of tokens (M-RoPE: an image takes fewer positions than tokens); else None."""
    head: dict[str, torch.Tensor]
    """int64[B, P] a key, the tokens of the chat before the question; of Qwen's image grid a row for each image."""
    features_BND: torch.Tensor
    """float32[B, N, D], image tokens."""

    def select(self, rows: torch.Tensor) -> "Shared":
        """Return a copy with the given int64[Q] rows, with repetitions."""
        delta = self.delta_B1 if self.delta_B1 is None else self.delta_B1[rows]
        if self.cache is None:
            count = len(self.features_BND)
            head = {key: each.unflatten(0, (count, -1))[rows].flatten(0, 1) for key, each in self.head.items()}
            return Shared(None, delta, head, self.features_BND[rows])
        return Shared(select_rows(self.cache, rows), delta, self.head, self.features_BND)


def _read_shared(policy: Vlm, features_BND: torch.Tensor, frames: Sequence[np.ndarray], cached: bool = True) -> Shared:
    """Read the frames of B observations and the chat before the question, once for all questions about them."""
    head, count = _head(policy, frames[0]), len(frames)
    # Copies: cached prompts may have been made in inference mode (`choice_probabilities`), and autograd cannot save such tensors.
    # Gemma 3 and Qwen-VL need the token types to know which tokens are an image's. Qwen's grid has a row for each image.
    inputs = {key: value.repeat(count, 1) for key, value in head.items() if key != "attention_mask"}
    if policy.family.reads_both_ways or not cached:
        return Shared(None, None, inputs, features_BND)
    cache = policy.base.model(**inputs, use_cache=True, **policy.image_inputs(features_BND)).past_key_values
    return Shared(cache, getattr(policy.base.model, "rope_deltas", None), inputs, features_BND)


def _continue(policy: Vlm, shared: Shared, tokens_QS: torch.Tensor, questions_Q: np.ndarray) -> torch.Tensor:
    """Return float32[Q, S, D]: the last hidden states of questions and their answers.

    Args:
        policy: a `Vlm`.
        shared: has a row for each question; its cache grows.
        tokens_QS: what follows it.
        questions_Q: int[Q], how many of the tokens belong to the question.
    """
    if shared.cache is None:
        reply_QS = torch.arange(tokens_QS.shape[1], device=tokens_QS.device) >= torch.as_tensor(questions_Q, device=tokens_QS.device)[:, None]
        behind = {"input_ids": tokens_QS, "token_type_ids": reply_QS * policy.family.reply_type, "mm_token_type_ids": torch.zeros_like(tokens_QS)}
        inputs = {key: torch.cat([each, behind[key]], dim=1) if key in behind else each for key, each in shared.head.items()}
        states = policy.base.model(**inputs, **policy.image_inputs(shared.features_BND), use_cache=False).last_hidden_state
        return states[:, shared.head["input_ids"].shape[1] :]
    placed = {}
    if shared.delta_B1 is not None:  # else the model counts by itself
        first = shared.cache.get_seq_length()
        count_S = torch.arange(first, first + tokens_QS.shape[1], device=tokens_QS.device)
        placed["position_ids"] = (shared.delta_B1.to(count_S) + count_S).expand(3, -1, -1)  # [3, Q, S]: text has one position in all dimensions
    return policy.base.model(input_ids=tokens_QS, past_key_values=shared.cache, use_cache=True, **placed).last_hidden_state


def _group_by_length(lengths_Q: np.ndarray) -> list[np.ndarray]:
    """Return indices in groups of similar length, none twice as long as another in its group, because padding costs as much as text."""
    order = np.argsort(lengths_Q, kind="stable")
    groups: list[list[int]] = []
    for row in order.tolist():
        if not groups or lengths_Q[row] >= 2 * lengths_Q[groups[-1][0]]:
            groups.append([])
        groups[-1].append(row)
    return [np.array(group) for group in groups]


def _pad(tails: Sequence[tuple[list[int], int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return int64[Q, S] tokens, padded with zeros at the end, and bool[Q, S]: which of them belong to an answer."""
    lengths = np.array([len(tokens) for tokens, _ in tails])
    tokens_QS, place_S = np.zeros((len(tails), lengths.max()), np.int64), np.arange(lengths.max())
    tokens_QS[place_S < lengths[:, None]] = np.concatenate([tokens for tokens, _ in tails])
    first_Q = lengths - [answer for _, answer in tails]
    return tokens_QS, (place_S >= first_Q[:, None]) & (place_S < lengths[:, None])


def _head(policy: Vlm, frames: np.ndarray) -> dict[str, torch.Tensor]:
    """Return the tokens of the chat before the question, int64[1, P] a key."""
    return policy.prompts.tokenised(_before_question(policy.prompts.chat(MARK, len(frames))), frames)


def _before_question(chat: str) -> str:
    """Return the chat before the question, without a final space: tokenizers join that with the first word of the question."""
    return chat[: chat.index(MARK)].removesuffix(" ")
