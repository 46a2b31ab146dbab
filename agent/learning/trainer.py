"""Training: from a policy and training data to a candidate.

Shape suffixes: B replies, L tokens of a reply, P pairs, U tokens of the action vocabulary. Log-probabilities are in nats.
"""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agent.config.keys import TuneConfig
from agent.config.plugins import plugin
from agent.learning import losses
from agent.learning.optimiser import Optimiser, descend
from agent.records import Demonstration, PolicySample, PreferencePair, QAExample, TrainingData
from policies.policy import Situation
from policies.precision import Precision, autocast
from policies.scoring import score

MAX_GRAD_NORM = 1.0  # gradients are scaled down to this norm
RATIO_GUARD = 5.0  # tokens with a larger ratio have no gradient: with a negative advantage the clip does not bound it
DISPLACEMENT = 5.0  # nats that chosen replies may lose on average before a step leaves DPO out (likelihood displacement, arXiv 2410.08847)
FLIPPED = 0.1  # share of pairs that robust DPO expects to have chosen and rejected exchanged
MOST_BATCHES = (
    8  # largest number of batches of another kind in a step: thousands of demonstrations beside few policy samples would make one huge step
)


def train(
    policy: Any,
    training_data: TrainingData,
    config: TuneConfig,
    *,
    seed: Sequence[int] = (0,),
    steps: int = 0,
    checkpoint: Path | None = None,
    watch: Callable[[int, int, dict[str, float]], None] = lambda step, steps, figures: None,
) -> list[dict[str, float]]:
    """Train a policy on training data, from the champion that it holds to a candidate.

    Args:
        policy: a `policies.trained.Trained` that holds the champion's weights, which are also the reference of DPO.
        training_data: what to learn.
        config: terms of the loss, their coefficients, optimiser.
        seed: of the order of the training data.
        steps: gradient steps; 0: `config.epochs` passes over the policy samples, or over the demonstrations if there are none.
        checkpoint: see `descend`.
        watch: called with the steps done, the steps in all, and the figures of the last step.

    Returns:
        The figures of every step; docs/metrics.md explains them.
    """
    weights = (config.pg_coef or config.filtered_bc_coef, config.bc_coef, config.dpo_coef, config.detector_coef)
    samples = training_data.samples if weights[0] or config.loss else ()  # a user's own term sees all kinds, also those of coefficient 0
    demonstrations = training_data.demonstrations if weights[1] or config.loss else ()
    pairs = training_data.pairs if weights[2] or config.loss else ()
    # QA examples alone are no reason to train, unless steps are asked for: there would be a candidate that acts no better.
    qa_examples = training_data.qa_examples if weights[3] and (steps or samples or demonstrations or pairs) else ()
    kinds = (samples, demonstrations, pairs, qa_examples)
    counts = [len(part) for part, weight in zip(kinds, weights, strict=True) if weight]
    most = next(filter(None, [*counts, *map(len, kinds)]), 0)  # the first kind with data and a coefficient; it sets the length of a pass
    terms = (*TERMS, functools.partial(own_term, config.loss, plugin("tune.loss", config.loss))) if config.loss else TERMS
    steps = steps or config.epochs * math.ceil(most / config.batch_size)
    shares = [_share(len(part), most, config.batch_size) for part in kinds]
    book = _Batches(policy, config, samples, demonstrations, pairs, qa_examples)

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        # A seed for each kind, and rows by the step alone: a resumed training draws the same.
        rows = [_rows_of_step(len(part), share, step, (*seed, i)) for i, (part, share) in enumerate(zip(kinds, shares, strict=True))]
        loss, figures = _loss(book.forward(rows), config, terms) if any(map(len, rows[:3])) else (torch.zeros(()), {})
        if len(rows[3]):
            qa_loss = book.qa_loss(rows[3])
            loss, figures["detector_loss"] = loss + config.detector_coef * qa_loss, float(qa_loss.detach())
        return loss, figures

    warmup = max(round(config.warmup_ratio * steps), 1)
    optimiser = Optimiser(policy.parameters(), learning_rate=config.learning_rate, steps=steps, warmup=warmup, clip=MAX_GRAD_NORM)
    return descend(policy, optimiser, steps, loss_of, checkpoint, lambda step, figures: watch(step, steps, figures))


@dataclass(frozen=True)
class Forward:
    """One forward pass over the replies of a step: log-probabilities under the policy in training, with gradient."""

    samples: Sequence[PolicySample]
    samples_BL: torch.Tensor  # of the credited tokens: all, or with `policy.sample: action` those of the action alone
    sampled_BL: torch.Tensor  # of the same tokens, when they were sampled; no gradient
    demonstrations: Sequence[Demonstration]
    demonstrations_BL: torch.Tensor
    pairs: Sequence[PreferencePair]
    chosen_P: torch.Tensor  # summed over all replies of a pair's chosen side
    rejected_P: torch.Tensor  # likewise of its rejected side
    chosen_BL: torch.Tensor  # of the chosen replies of all pairs, one after the other
    reference_P2: torch.Tensor  # the champion's sums, of the chosen and of the rejected side; no gradient
    entropy: torch.Tensor  # nats a token, mean over all replies

    @property
    def advantage_B(self) -> torch.Tensor:
        """Return the advantage of each policy sample."""
        return torch.tensor([each.advantage for each in self.samples], device=self.samples_BL.device)


Term = Callable[[Forward, TuneConfig], tuple[torch.Tensor, dict[str, float]] | None]
"""A term of the loss: returns its value times its coefficient, and its figures; None where a step has no data for it."""


def entropy_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the entropy bonus, also with coefficient 0: the guard of the training needs its figure."""
    return -config.ent_coef * now.entropy, {"entropy": float(now.entropy.detach())}


def policy_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the clipped policy gradient, and figures of the distance between policy and champion."""
    if not (now.samples and (config.pg_coef or config.filtered_bc_coef)):  # filtered BC alone needs the figures
        return None
    loss = losses.policy_loss(now.samples_BL, now.sampled_BL, now.advantage_B, config.clip_range[0], config.clip_range[1], RATIO_GUARD)
    ratio = (now.samples_BL.detach() - now.sampled_BL).exp()
    outside = (ratio < 1 - config.clip_range[0]) | (ratio > 1 + config.clip_range[1])
    moved = {"clip_fraction": float(outside.float().mean()), "approx_kl": float((ratio - 1 - ratio.log()).mean())}  # as `losses.approx_kl`
    return config.pg_coef * loss, {"policy_loss": float(loss.detach()), **moved}


def filtered_bc_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return behaviour cloning of the policy samples with a positive advantage."""
    if not (now.samples and config.filtered_bc_coef and (better_B := (now.advantage_B > 0).float()).any()):
        return None
    loss = losses.bc_loss(now.samples_BL, better_B)
    return config.filtered_bc_coef * loss, {"filtered_bc_loss": float(loss.detach())}


def kl_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the KL divergence from the champion; it has no figure of its own, `approx_kl` is that of `policy_term`."""
    return (config.kl_coef * losses.approx_kl(now.samples_BL, now.sampled_BL), {}) if now.samples and config.kl_coef else None


def bc_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return behaviour cloning of demonstrations."""
    if not (now.demonstrations and config.bc_coef):
        return None
    weight_B = torch.tensor([each.weight for each in now.demonstrations], device=now.demonstrations_BL.device)
    loss = losses.bc_loss(now.demonstrations_BL, weight_B)
    return config.bc_coef * loss, {"bc_loss": float(loss.detach())}


def dpo_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the preference loss with its anchor, the likelihood of chosen replies; the anchor alone where these have lost too much."""
    if not (now.pairs and config.dpo_coef):
        return None
    gained, lost = now.chosen_P - now.reference_P2[:, 0], now.rejected_P - now.reference_P2[:, 1]
    margin, displaced = gained - lost, -float(gained.detach().mean())
    loss = losses.dpo_loss(margin, config.dpo_beta, config.dpo_loss_type, FLIPPED)
    contrast = 0.0 if displaced > DISPLACEMENT else 1.0  # DPO can widen the margin while both sides lose; the anchor brings the chosen side back
    figures = {"dpo_loss": float(loss.detach()), "margins": float(margin.detach().mean()), "accuracies": float((margin > 0).float().mean())}
    figures |= {"chosen_logps": float(now.chosen_P.detach().mean()), "rejected_logps": float(now.rejected_P.detach().mean())}
    return config.dpo_coef * (contrast * loss - config.rpo_alpha * now.chosen_BL.mean()), {**figures, "displacement": displaced}


def own_term(name: str, term: Term, now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the result of a user's own term (`tune.loss`).

    Raises:
        ValueError: the term fails, or returns neither None nor a loss with figures.
    """
    try:
        made = term(now, config)
        if made is not None:
            loss, figures = made
            made = loss.reshape(()), {str(key): float(value) for key, value in figures.items()}
    except Exception as error:  # a user's function may raise anything
        cause = str(error).strip().split("\n")[0]  # errors of torch have many lines
        raise ValueError(
            f"tune.loss {name!r} failed ({type(error).__name__}: {cause}); it must return None, or a loss of one number and a dict of figures."
        ) from error
    return made


TERMS: tuple[Term, ...] = (entropy_term, policy_term, filtered_bc_term, kl_term, bc_term, dpo_term)  # in the order in which they are added


class _Batches:
    """All training data of a training, and what is computed once: image features of a frozen vision tower, log-probabilities of the champion.

    Args:
        policy: the champion, not trained yet.
        config: of this training.
        samples, demonstrations, pairs, qa_examples: the training data; their situations are rows that follow one another in this order.
    """

    def __init__(
        self,
        policy: Any,
        config: TuneConfig,
        samples: Sequence[PolicySample],
        demonstrations: Sequence[Demonstration],
        pairs: Sequence[PreferencePair],
        qa_examples: Sequence[QAExample],
    ) -> None:
        self.policy, self.samples, self.demonstrations, self.pairs, self.qa_examples = policy, samples, demonstrations, pairs, qa_examples
        self.precision: Precision = policy.config.precision
        sides = [side for pair in pairs for side in (pair.chosen, pair.rejected)]
        replies = [reply for side in sides for reply in side]
        self.situations = [example.situation for example in (*samples, *demonstrations, *replies)] + [
            Situation(a.question, a.frames) for a in qa_examples
        ]
        self.frozen = not policy.config.trains_features
        size = policy.config.batch_size  # larger batches do not fit into the cache of a CPU, and are slower
        frames = [situation.frames for situation in self.situations]
        parts = [policy.features(frames[i : i + size]) for i in range(0, len(frames), size)] if self.frozen else []
        self.features = torch.cat(parts) if parts else None
        ends = len(samples) + len(demonstrations) + np.cumsum([0, *map(len, sides)])
        self.sides = [range(a, b) for a, b in itertools.pairwise(ends.tolist())]  # rows of each pair's chosen, then of its rejected replies
        self.reference = self._reference([reply.tokens for reply in replies]) if pairs else torch.zeros(0, 2)
        self.uncredited = policy.codec.thought_length if policy.config.sample == "action" else 0  # greedy thoughts were not sampled: no credit

    def distribution(self, rows: Sequence[int], tokens: Sequence[np.ndarray]) -> torch.Tensor:
        """Return float32[B, L, U] log-probabilities of every action token in replies to the situations of these rows."""
        features = None if self.features is None else self.features[list(rows)]
        with autocast(self.precision, self.policy.config.device):
            return self.policy.distribution([self.situations[i] for i in rows], np.stack(tokens), features)

    def forward(self, rows: Sequence[np.ndarray]) -> Forward:
        """Return one forward pass over rows of samples, demonstrations and pairs, int64 indices each; further kinds are not looked at."""
        kinds = (self.samples, self.demonstrations, self.pairs)
        samples, demonstrations, pairs = ([part[i] for i in index] for part, index in zip(kinds, rows, strict=False))
        sides = [self.sides[2 * row + side] for side in (0, 1) for row in rows[2].tolist()]  # all chosen sides, then all rejected ones
        replies: list[Any] = [*samples, *demonstrations, *(reply for pair in pairs for reply in pair.chosen)]
        replies += [reply for pair in pairs for reply in pair.rejected]
        tokens = [reply.tokens for reply in replies]
        distribution_BLU = self.distribution([*rows[0].tolist(), *(rows[1] + len(self.samples)).tolist(), *itertools.chain(*sides)], tokens)
        logprobs_BL, lengths = self.policy.picked(distribution_BLU, np.stack(tokens)), list(map(len, sides))
        counts = [sum(lengths[: len(pairs)]), sum(lengths[len(pairs) :])]
        samples_BL, demonstrations_BL, chosen_BL, rejected_BL = logprobs_BL.split([len(samples), len(demonstrations), *counts])
        return Forward(
            samples, samples_BL[:, self.uncredited :], self._sampled(samples, samples_BL), demonstrations, demonstrations_BL,
            pairs, *_sums(chosen_BL, rejected_BL, lengths), chosen_BL, self.reference[rows[2]], losses.entropy(distribution_BLU),
        )  # fmt: skip

    def _sampled(self, samples: Sequence[PolicySample], samples_BL: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities of the samples' credited tokens when they were sampled, on the device of `samples_BL`."""
        sampled = [sample.logprobs[self.uncredited :] for sample in samples]
        return torch.as_tensor(np.stack(sampled), device=samples_BL.device) if sampled else samples_BL  # np.stack needs one at least

    def qa_loss(self, rows: np.ndarray) -> torch.Tensor:
        """Return the mean negative log-likelihood, nats a token, of the answers of these QA examples."""
        chosen, first = [self.qa_examples[i] for i in rows.tolist()], len(self.situations) - len(self.qa_examples)
        frames = [each.frames for each in chosen]
        with autocast(self.precision, self.policy.config.device):
            features = self.policy.features(frames) if self.features is None else self.features[first + rows]
            return -score(self.policy, features, frames, [[(each.question, each.answer)] for each in chosen]).logprobs.mean()

    def _reference(self, tokens: Sequence[np.ndarray]) -> torch.Tensor:
        """Return float32[P, 2]: the champion's log-probability of the chosen and of the rejected side of each pair, before any step."""
        with torch.no_grad():
            # 128 at a time: without a gradient there is room for more replies than in a step, but not for all of them.
            first, parts = self.sides[0].start, [range(i, min(i + 128, len(tokens))) for i in range(0, len(tokens), 128)]
            logprobs = [self.distribution([first + i for i in part], [tokens[i] for i in part]) for part in parts]
            sums = torch.cat(
                [self.policy.picked(each, np.stack([tokens[i] for i in part])).sum(1) for each, part in zip(logprobs, parts, strict=True)]
            )
        return torch.stack([sums[side.start - first : side.stop - first].sum() for side in self.sides]).reshape(-1, 2)


def _sums(chosen_BL: torch.Tensor, rejected_BL: torch.Tensor, lengths: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32[P] twice: log-probabilities summed over each chosen and each rejected side, whose `lengths` are numbers of replies."""
    sums = [part.sum() for part in torch.cat([chosen_BL, rejected_BL]).split(list(lengths))]
    chosen_P, rejected_P = (torch.stack(sums) if sums else chosen_BL.new_zeros(0)).tensor_split(2)
    return chosen_P, rejected_P


def _loss(now: Forward, config: TuneConfig, terms: Sequence[Term]) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the sum of all terms of a step, and their figures."""
    made = [part for term in terms if (part := term(now, config))]
    total = functools.reduce(operator.add, (weighted for weighted, _ in made))
    return total, {name: value for _, figures in made for name, value in figures.items()}


def _share(count: int, most: int, batch: int) -> int:
    """Return how many of a kind's `count` examples a step takes: in proportion to the `most` of the first kind, of which a step takes `batch`."""
    return min(count, math.ceil(batch * count / most), MOST_BATCHES * batch) if count else 0


def _rows_of_step(count: int, share: int, step: int, seed: Sequence[int]) -> np.ndarray:
    """Return int64[share]: rows `step * share` onwards of an endless sequence of shuffled passes over `count` examples."""
    if not share:
        return np.zeros(0, np.int64)
    places = np.arange(step * share, (step + 1) * share)
    # A batch may end one pass and begin the next: each pass has its own permutation, by seed and number.
    passes = {lap: np.random.default_rng([*seed, lap]).permutation(count) for lap in set((places // count).tolist())}
    return np.array([passes[place // count][place % count] for place in places.tolist()])
