"""All training data of a training, and what is computed once: image features of a frozen vision tower, log-probabilities of the champion.

Shape suffixes: N replies of a step, L tokens of a reply, P pairs, U tokens of the action vocabulary. Log-probabilities are in nats.
"""

import contextlib
import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agent.config.keys import TuneConfig
from agent.learning import losses, reference
from agent.learning.memory import fitting
from agent.learning.terms import Forward
from agent.records import Demonstration, PolicySample, PreferencePair, QAExample
from policies.checkpointing import gradient_checkpointing
from policies.features import StoredFeatures, digest
from policies.policy import Situation
from policies.precision import autocast, half
from policies.scoring import Tokenised, num_tokens_before_question, score, tokenise
from policies.vlm import Vlm

QA_COEF = 0.1  # weight of the detector's examples beside a cycle's other terms; without them it forgets while the policy is trained


@dataclass(frozen=True)
class Unit:
    """Replies of a step to one situation, which share a forward pass; or one QA example."""

    tokens_once: int  # of its forward pass, however many replies there are
    tokens_each: int = 0  # further ones for each reply
    replies: tuple[int, ...] = ()  # places among the N replies of the step
    answer: int | None = None  # index of the QA example

    @property
    def tokens(self) -> int:
        """Return the tokens of its forward pass."""
        return self.tokens_once + self.tokens_each * len(self.replies)

    def cut(self, most: int) -> list["Unit"]:
        """Return it in parts of at most `most` tokens, or of one reply."""
        if self.tokens <= most or len(self.replies) < 2:
            return [self]
        size = max((most - self.tokens_once) // self.tokens_each, 1)
        return [replace(self, replies=self.replies[i : i + size]) for i in range(0, len(self.replies), size)]


@dataclass(frozen=True)
class Step:
    """The training data of one gradient step. Its N replies are those of samples, of demonstrations, of all chosen and of all rejected sides."""

    samples: Sequence[PolicySample]
    demonstrations: Sequence[Demonstration]
    pairs: Sequence[PreferencePair]
    rows_N: list[int]  # of the replies, among all rows of `Batches`
    tokens_NL: np.ndarray
    lengths: list[int]  # numbers of replies of the chosen sides, then of the rejected sides
    reference_P2: torch.Tensor
    units: list[Unit]
    num_answer_tokens: int  # of all its QA examples

    @property
    def places_of_pairs(self) -> list[list[int]]:
        """Return the places of the replies of each pair, of both sides, among the N."""
        ends = len(self.samples) + len(self.demonstrations) + np.cumsum([0, *self.lengths])
        sides = [range(a, b) for a, b in itertools.pairwise(ends.tolist())]
        return [[*chosen, *rejected] for chosen, rejected in zip(sides[: len(self.pairs)], sides[len(self.pairs) :], strict=True)]

    @property
    def size(self) -> int:
        """Return the tokens of all its forward passes."""
        return sum(unit.tokens for unit in self.units)


class Batches:
    """All training data of a training.

    Args:
        policy: the champion, not trained yet.
        config: of the training.
        samples, demonstrations, pairs, qa_examples: the training data; their situations are rows that follow one another in this order.
        qa_coef: weight of the QA examples' loss.
        reference_file: where the champion's log-probabilities of pairs are kept; None: nowhere.
    """

    def __init__(
        self,
        policy: Any,
        config: TuneConfig,
        samples: Sequence[PolicySample],
        demonstrations: Sequence[Demonstration],
        pairs: Sequence[PreferencePair],
        qa_examples: Sequence[QAExample],
        qa_coef: float = QA_COEF,
        reference_file: Path | None = None,
    ) -> None:
        self.qa_coef, self.checkpointing = qa_coef, False
        self.policy, self.samples, self.demonstrations, self.pairs, self.qa_examples = policy, samples, demonstrations, pairs, qa_examples
        sides = [side for pair in pairs for side in (pair.chosen, pair.rejected)]
        replies = [reply for side in sides for reply in side]
        situations = [example.situation for example in (*samples, *demonstrations, *replies)]
        self._first_answer = len(situations)
        seen = [*(each.frames for each in situations), *(each.frames for each in qa_examples)]
        firsts, self._frames = distinct([digest(frames) for frames in seen])
        shown, precision = [seen[i] for i in firsts], policy.config.precision
        size = policy.config.batch_size  # larger batches do not fit into the cache of a CPU, and are slower
        stored = isinstance(policy, Vlm) and half(precision, policy.config.device)  # what another class returns may need all of its digits
        self._features = None if policy.config.trains_features else StoredFeatures(policy.features, shown, size, policy.config.device, stored)
        keys = [(s.instruction, s.advantage, None if s.state is None else s.state.tobytes()) for s in situations]
        firsts, self._situation = distinct(list(zip(self._frames, keys, strict=False)))
        self.situations = [situations[firsts[number]] for number in self._situation]  # equal ones are one object
        self._questions = tokenise(policy, [[(each.question, each.answer)] for each in qa_examples]).tails if qa_examples else []
        ends = len(samples) + len(demonstrations) + np.cumsum([0, *map(len, sides)])
        self._sides = [range(a, b) for a, b in itertools.pairwise(ends.tolist())]  # rows of each pair's chosen, then of its rejected replies
        self._reference_P2 = self._reference([reply.tokens for reply in replies], reference_file) if pairs else torch.zeros(0, 2)
        self._uncredited = policy.codec.thought_length if policy.config.sample == "action" else 0  # greedy thoughts were not sampled: no credit

    def checkpoint_layers(self) -> None:
        """From now on keep the input of each layer alone, and compute the layer again in the backward pass: less memory, the same gradient."""
        self.checkpointing = True

    def step(self, rows: Sequence[np.ndarray]) -> Step:
        """Return a step of the training data with these indices: int64 of samples, demonstrations, pairs and QA examples."""
        kinds = (self.samples, self.demonstrations, self.pairs)
        samples, demonstrations, pairs = ([part[i] for i in index] for part, index in zip(kinds, rows, strict=False))
        sides = [self._sides[2 * row + side] for side in (0, 1) for row in rows[2].tolist()]  # all chosen sides, then all rejected ones
        replies: list[Any] = [*samples, *demonstrations, *(reply for pair in pairs for reply in pair.chosen)]
        replies += [reply for pair in pairs for reply in pair.rejected]
        rows_N = [*rows[0].tolist(), *(rows[1] + len(self.samples)).tolist(), *itertools.chain(*sides)]
        together: dict[int, list[int]] = {}
        for place, row in enumerate(rows_N):
            together.setdefault(self._situation[row], []).append(place)
        units = [self._unit(self.situations[rows_N[places[0]]], places) for places in together.values()]
        asked = [(index, *self._questions[index]) for index in rows[3].tolist()]
        units += [Unit(num_tokens_before_question(self.policy, self.qa_examples[i].frames) + len(tail), answer=i) for i, tail, _ in asked]
        return Step(
            samples, demonstrations, pairs, rows_N, np.stack([reply.tokens for reply in replies]) if replies else np.zeros((0, 0), np.int64),
            [len(side) for side in sides], self._reference_P2[rows[2]], units, sum(scored for *_, scored in asked),
        )  # fmt: skip

    def _unit(self, situation: Situation, places: Sequence[int]) -> Unit:
        once, each = self.policy.num_tokens(situation)
        return Unit(once, each, tuple(places))

    def replies(self, step: Step, places: Sequence[int]) -> torch.Tensor:
        """Return float32[len(places), 2, L]: log-probabilities of the tokens of these replies of a step, and the entropies at these tokens."""
        tokens = step.tokens_NL[list(places)]
        distribution_BLU = self._distribution([step.rows_N[place] for place in places], tokens)
        return torch.stack([self.policy.picked(distribution_BLU, tokens), losses.entropy(distribution_BLU)], dim=1).float()

    def forward(self, step: Step, replies_N2L: torch.Tensor) -> Forward:
        """Return what the terms of the loss see of a step, from the result of `replies` for all of its replies."""
        logprobs_NL, entropy_NL = replies_N2L.unbind(1)
        counts = [sum(step.lengths[: len(step.pairs)]), sum(step.lengths[len(step.pairs) :])]
        samples_BL, demonstrations_BL, chosen_BL, rejected_BL = logprobs_NL.split([len(step.samples), len(step.demonstrations), *counts])
        return Forward(
            step.samples, samples_BL[:, self._uncredited :], self._sampled(step.samples, samples_BL), step.demonstrations, demonstrations_BL,
            step.pairs, *_sums(chosen_BL, rejected_BL, step.lengths), chosen_BL, step.reference_P2, entropy_NL.mean(),
        )  # fmt: skip

    def answers(self, step: Step, indices: Sequence[int]) -> torch.Tensor:
        """Return the negative log-likelihood of the answers of these QA examples, nats, summed and divided by all answer tokens of the step."""
        frames, tails = [self.qa_examples[i].frames for i in indices], [self._questions[i] for i in indices]
        tokenised = Tokenised(np.array([(place, 0) for place in range(len(indices))]), tails)
        with self._kept(), autocast(self.policy.config.precision, self.policy.config.device):
            found = None if self._features is None else self._features.rows([self._frames[self._first_answer + i] for i in indices])
            features = self.policy.features(frames) if found is None else found
            scores = score(self.policy, features, frames, tokenised, cached=not self.checkpointing)  # a layer that is computed again adds to a cache
        return -(scores.logprobs.sum() / step.num_answer_tokens)

    def _distribution(self, rows: Sequence[int], tokens_BL: np.ndarray) -> torch.Tensor:
        """Return float32[B, L, U] log-probabilities of every action token in replies to the situations of these rows."""
        features = None if self._features is None else self._features.rows([self._frames[row] for row in rows])
        with self._kept(), autocast(self.policy.config.precision, self.policy.config.device):
            return self.policy.distribution([self.situations[row] for row in rows], tokens_BL, features)

    def _kept(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which layers are checkpointed, where that is wanted and there is a gradient."""
        return gradient_checkpointing(self.policy.model) if self.checkpointing and torch.is_grad_enabled() else contextlib.nullcontext()

    def _sampled(self, samples: Sequence[PolicySample], samples_BL: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities of the samples' credited tokens when they were sampled, on the device of `samples_BL`."""
        sampled = [sample.logprobs[self._uncredited :] for sample in samples]
        return torch.as_tensor(np.stack(sampled), device=samples_BL.device) if sampled else samples_BL  # np.stack needs one at least

    def _reference(self, tokens: Sequence[np.ndarray], file: Path | None) -> torch.Tensor:
        """Return float32[P, 2]: the champion's log-probability of the chosen and of the rejected side of each pair, before any step.

        Args:
            tokens: of all replies of the pairs.
            file: keeps the result; None: nothing does.
        """
        first = self._sides[0].start

        def attempt(most: int) -> torch.Tensor:
            parts = [range(i, min(i + most, len(tokens))) for i in range(0, len(tokens), most)]
            stacked = [np.stack([tokens[i] for i in part]) for part in parts]
            logprobs = [self._distribution([first + i for i in part], each) for part, each in zip(parts, stacked, strict=True)]
            return torch.cat([self.policy.picked(each, own).sum(1) for each, own in zip(logprobs, stacked, strict=True)])

        def compute() -> torch.Tensor:
            with torch.no_grad():
                # 128 at a time: without a gradient there is room for more replies than in a step, but not for all of them.
                sums, _ = fitting(attempt, 128, 1, "replies")
            return torch.stack([sums[side.start - first : side.stop - first].sum() for side in self._sides]).reshape(-1, 2)

        if file is None:
            return compute()
        lengths = ",".join(str(len(side)) for side in self._sides)
        key = reference.identity(self.policy, self.situations[first : first + len(tokens)], tokens, lengths)
        return reference.kept(file, key, compute).to(self.policy.config.device)


def distinct(keys: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Return the place at which each different key occurs first, and for each key the number of the different one that it is."""
    numbers: dict[Hashable, int] = {}
    which = [numbers.setdefault(key, len(numbers)) for key in keys]
    firsts: dict[int, int] = {}
    for place, number in enumerate(which):
        firsts.setdefault(number, place)
    return list(firsts.values()), which


def _sums(chosen_BL: torch.Tensor, rejected_BL: torch.Tensor, lengths: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32[P] twice: log-probabilities summed over each chosen and each rejected side, whose `lengths` are numbers of replies."""
    sums = [part.sum() for part in torch.cat([chosen_BL, rejected_BL]).split(list(lengths))]
    chosen_P, rejected_P = (torch.stack(sums) if sums else chosen_BL.new_zeros(0)).tensor_split(2)
    return chosen_P, rejected_P
