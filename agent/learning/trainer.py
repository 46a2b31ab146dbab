"""Optimisation: policy + lessons -> challenger.

Shape suffixes: B replies, L tokens of a reply, P pairs, U action vocabulary.
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
from agent.records import Answer, Demonstration, Lessons, PreferencePair, Trial
from policies.policy import Situation
from policies.precision import Precision, autocast
from policies.scoring import recite

RIDE = 8  # batches of each other kind in a step, at most: few policy samples beside thousands of demonstrations do not make one huge step


def tune(
    policy: Any,
    lessons: Lessons,
    config: TuneConfig,
    *,
    seed: Sequence[int] = (0,),
    steps: int = 0,
    checkpoint: Path | None = None,
    watch: Callable[[int, int, dict[str, float]], None] = lambda step, steps, figures: None,
) -> list[dict[str, float]]:
    """Train the policy on the lessons, from the champion that it holds to a challenger.

    Args:
        policy: a learner (`policies.vlm.Vlm`) that has just been loaded with the champion.
        lessons: what to learn.
        config: losses, their weights, optimiser.
        seed: of the order of the lessons.
        steps: of descent; 0: `config.epochs` passes over the trials (or the demonstrations, if there are none).
        checkpoint: see `descend`.
        watch: called with steps done, steps in all, and the last figures.

    Returns:
        The figures of every step; docs/metrics.md says what they are.
    """
    weights = (config.policy_gradient or config.filtered, config.imitation, config.preference, config.critic)
    trials = lessons.trials if weights[0] or config.loss else ()  # a term of the user's sees all kinds
    demonstrations = lessons.demonstrations if weights[1] or config.loss else ()
    pairs = lessons.pairs if weights[2] or config.loss else ()
    answers = lessons.answers if weights[3] and (steps or trials or demonstrations or pairs) else ()  # alone they are no reason to train
    kinds = (trials, demonstrations, pairs, answers)
    counts = [len(part) for part, weight in zip(kinds, weights, strict=True) if weight]
    most = next(filter(None, [*counts, *map(len, kinds)]), 0)  # the first kind with a weight says how long a pass is
    terms = (*TERMS, functools.partial(own_term, config.loss, plugin("tune.loss", config.loss))) if config.loss else TERMS
    steps = steps or config.epochs * math.ceil(most / config.batch)
    shares = [_share(len(part), most, config.batch) for part in kinds]
    book = _Book(policy, config, trials, demonstrations, pairs, answers)

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rows = [_page(len(part), share, step, (*seed, i)) for i, (part, share) in enumerate(zip(kinds, shares, strict=True))]
        loss, figures = _loss(book.forward(rows), config, terms) if any(map(len, rows[:3])) else (torch.zeros(()), {})
        if len(rows[3]):
            answering = book.answering(rows[3])
            loss, figures["critic"] = loss + config.critic * answering, float(answering.detach())
        return loss, figures

    warmup = max(round(config.warmup * steps), 1)
    optimiser = Optimiser(policy.parameters(), lr=config.lr, steps=steps, warmup=warmup, clip=config.max_grad_norm)
    return descend(policy, optimiser, steps, loss_of, checkpoint, lambda step, figures: watch(step, steps, figures))


@dataclass(frozen=True)
class Forward:
    """One pass over the replies of a step, under the policy as it is trained; log-probabilities in nats."""

    samples: Sequence[Trial]
    samples_BL: torch.Tensor
    """Of the tokens that have credit: all, or those of the action alone."""
    sampled_BL: torch.Tensor
    """Of the same tokens, when they were sampled."""
    demonstrations: Sequence[Demonstration]
    demonstrations_BL: torch.Tensor
    pairs: Sequence[PreferencePair]
    chosen_P: torch.Tensor
    rejected_P: torch.Tensor
    """Of all replies of a side together."""
    chosen_BL: torch.Tensor
    reference_P2: torch.Tensor
    """The champion's, of the chosen and of the rejected side."""
    entropy: torch.Tensor
    """Nats a token, mean over all replies."""

    @property
    def advantage_B(self) -> torch.Tensor:
        """Return the advantage of each sample."""
        return torch.tensor([each.advantage for each in self.samples], device=self.samples_BL.device)


Term = Callable[[Forward, TuneConfig], tuple[torch.Tensor, dict[str, float]] | None]
"""A term of the loss: its weighted value and its figures; None where a step has nothing for it."""


def entropy_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the entropy bonus."""
    return -config.entropy * now.entropy, {"entropy": float(now.entropy.detach())}


def policy_gradient_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the clipped policy gradient, with how far the policy has come from the champion."""
    if not (now.samples and (config.policy_gradient or config.filtered)):
        return None
    loss = losses.policy_gradient(now.samples_BL, now.sampled_BL, now.advantage_B, config.clip_low, config.clip_high, config.ratio_guard)
    ratio = (now.samples_BL.detach() - now.sampled_BL).exp()
    outside = (ratio < 1 - config.clip_low) | (ratio > 1 + config.clip_high)
    moved = {"clipped": float(outside.float().mean()), "kl": float((ratio - 1 - ratio.log()).mean())}
    return config.policy_gradient * loss, {"policy_gradient": float(loss.detach()), **moved}


def filtered_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the imitation of those samples that turned out better than expected."""
    if not (now.samples and config.filtered and (better_B := (now.advantage_B > 0).float()).any()):
        return None
    loss = losses.imitation(now.samples_BL, better_B)
    return config.filtered * loss, {"filtered": float(loss.detach())}


def kl_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the charge for drifting away from the champion."""
    return (config.kl * losses.drift(now.samples_BL, now.sampled_BL), {}) if now.samples and config.kl else None


def imitation_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the imitation of demonstrations."""
    if not (now.demonstrations and config.imitation):
        return None
    weight_B = torch.tensor([each.weight for each in now.demonstrations], device=now.demonstrations_BL.device)
    loss = losses.imitation(now.demonstrations_BL, weight_B)
    return config.imitation * loss, {"imitation": float(loss.detach())}


def preference_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the preference loss with its anchor; the anchor alone where chosen replies have lost too much (likelihood displacement)."""
    if not (now.pairs and config.preference):
        return None
    gained, lost = now.chosen_P - now.reference_P2[:, 0], now.rejected_P - now.reference_P2[:, 1]
    margin, displaced = gained - lost, -float(gained.detach().mean())
    loss = losses.preference(margin, config.beta, config.preference_by, config.flipped)
    contrast = 0.0 if displaced > config.displacement else 1.0  # the anchor alone then brings the chosen replies back
    figures = {"preference": float(loss.detach()), "margin": float(margin.detach().mean()), "accuracy": float((margin > 0).float().mean())}
    figures |= {"chosen_logprob": float(now.chosen_P.detach().mean()), "rejected_logprob": float(now.rejected_P.detach().mean())}
    return config.preference * (contrast * loss - config.anchor * now.chosen_BL.mean()), {**figures, "displaced": displaced}


def own_term(name: str, term: Term, now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return what a term of the user's gives (`tune.loss`).

    Raises:
        ValueError: it fails, or gives neither None nor a loss with figures.
    """
    try:
        made = term(now, config)
        if made is not None:
            loss, figures = made
            made = loss.reshape(()), {str(key): float(value) for key, value in figures.items()}
    except Exception as error:  # somebody's function may raise anything
        said = str(error).strip().split("\n")[0]
        raise ValueError(f"tune.loss {name!r} failed ({type(error).__name__}: {said}); it gives None, or a loss of one number and a dict.") from error
    return made


TERMS: tuple[Term, ...] = (entropy_term, policy_gradient_term, filtered_term, kl_term, imitation_term, preference_term)


class _Book:
    """The situations of all lessons, with what is computed once: image features (where the vision tower is frozen), and the champion's own opinion.

    Args:
        policy: the champion, not trained yet.
        config: of this `tune`.
        trials, demonstrations, pairs, answers: the lessons; their rows follow one another in this order.
    """

    def __init__(
        self,
        policy: Any,
        config: TuneConfig,
        trials: Sequence[Trial],
        demonstrations: Sequence[Demonstration],
        pairs: Sequence[PreferencePair],
        answers: Sequence[Answer],
    ) -> None:
        self.policy, self.trials, self.demonstrations, self.pairs, self.answers = policy, trials, demonstrations, pairs, answers
        self.precision: Precision = config.precision
        sides = [side for pair in pairs for side in (pair.chosen, pair.rejected)]
        replies = [reply for side in sides for reply in side]
        self.situations = [lesson.situation for lesson in (*trials, *demonstrations, *replies)] + [Situation(a.question, a.frames) for a in answers]
        self.frozen = policy.config.train != "all"
        size = policy.config.rows  # larger batches leave the cache of a CPU, and are slower
        frames = [situation.frames for situation in self.situations]
        parts = [policy.features(frames[i : i + size]) for i in range(0, len(frames), size)] if self.frozen else []
        self.features = torch.cat(parts) if parts else None
        ends = len(trials) + len(demonstrations) + np.cumsum([0, *map(len, sides)])
        self.sides = [range(a, b) for a, b in itertools.pairwise(ends.tolist())]  # rows of each pair's chosen, then of its rejected replies
        self.reference = self._reference([reply.tokens for reply in replies]) if pairs else torch.zeros(0, 2)
        self.uncredited = policy.codec.thought_length if policy.config.explore == "action" else 0  # thoughts that were not sampled have no credit

    def distribution(self, rows: Sequence[int], tokens: Sequence[np.ndarray]) -> torch.Tensor:
        """Return float32[B, L, U] log-probabilities of every action token in replies to the situations of these rows."""
        features = None if self.features is None else self.features[list(rows)]
        with autocast(self.precision, self.policy.config.device):
            return self.policy.distribution([self.situations[i] for i in rows], np.stack(tokens), features)

    def forward(self, rows: Sequence[np.ndarray]) -> Forward:
        """Return one pass over chosen rows of each kind: samples, demonstrations and pairs."""
        kinds = (self.trials, self.demonstrations, self.pairs)
        samples, demonstrations, pairs = ([part[i] for i in index] for part, index in zip(kinds, rows, strict=False))
        sides = [self.sides[2 * row + side] for side in (0, 1) for row in rows[2].tolist()]
        replies: list[Any] = [*samples, *demonstrations, *(reply for pair in pairs for reply in pair.chosen)]
        replies += [reply for pair in pairs for reply in pair.rejected]
        tokens = [reply.tokens for reply in replies]
        place = [*rows[0].tolist(), *(rows[1] + len(self.trials)).tolist(), *itertools.chain(*sides)]
        distribution_BLU = self.distribution(place, tokens)
        logprobs_BL, counts = self.policy.picked(distribution_BLU, np.stack(tokens)), list(map(len, sides))
        counts = [sum(counts[: len(pairs)]), sum(counts[len(pairs) :])]
        samples_BL, demonstrations_BL, chosen_BL, rejected_BL = logprobs_BL.split([len(samples), len(demonstrations), *counts])
        summed = [part.sum() for part in torch.cat([chosen_BL, rejected_BL]).split(list(map(len, sides)))]
        chosen_P, rejected_P = (torch.stack(summed) if summed else logprobs_BL.new_zeros(0)).tensor_split(2)
        sampled = [sample.logprobs[self.uncredited :] for sample in samples]
        sampled_BL = torch.as_tensor(np.stack(sampled), device=logprobs_BL.device) if sampled else samples_BL
        return Forward(
            samples, samples_BL[:, self.uncredited :], sampled_BL, demonstrations, demonstrations_BL,
            pairs, chosen_P, rejected_P, chosen_BL, self.reference[rows[2]], losses.entropy(distribution_BLU),
        )  # fmt: skip

    def answering(self, rows: np.ndarray) -> torch.Tensor:
        """Return the mean negative log-likelihood, nats a token, of these answers."""
        chosen, first = [self.answers[i] for i in rows.tolist()], len(self.situations) - len(self.answers)
        frames = [each.frames for each in chosen]
        with autocast(self.precision, self.policy.config.device):
            features = self.policy.features(frames) if self.features is None else self.features[first + rows]
            return -recite(self.policy, features, frames, [[(each.question, each.answer)] for each in chosen]).logprobs.mean()

    def _reference(self, tokens: Sequence[np.ndarray]) -> torch.Tensor:
        """Return float32[P, 2]: the champion's log-probability of all chosen and all rejected replies of each pair, once, before any step."""
        with torch.no_grad():
            first, parts = self.sides[0].start, [range(i, min(i + 128, len(tokens))) for i in range(0, len(tokens), 128)]
            told = [self.distribution([first + i for i in part], [tokens[i] for i in part]) for part in parts]
            sums = torch.cat([self.policy.picked(each, np.stack([tokens[i] for i in part])).sum(1) for each, part in zip(told, parts, strict=True)])
        return torch.stack([sums[side.start - first : side.stop - first].sum() for side in self.sides]).reshape(-1, 2)


def _loss(now: Forward, config: TuneConfig, terms: Sequence[Term]) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the sum of all terms of a step, and its figures."""
    made = [part for term in terms if (part := term(now, config))]
    total = functools.reduce(operator.add, (weighted for weighted, _ in made))
    return total, {name: value for _, figures in made for name, value in figures.items()}


def _share(count: int, most: int, batch: int) -> int:
    """Return how many lessons of a kind a step takes: in proportion to the first kind, of which it takes `batch`, but RIDE times as many at most."""
    return min(count, math.ceil(batch * count / most), RIDE * batch) if count else 0


def _page(count: int, share: int, step: int, seed: Sequence[int]) -> np.ndarray:
    """Return int64[share]: rows `step * share` onwards of an endless sequence of shuffled passes over `count` lessons."""
    if not share:
        return np.zeros(0, np.int64)
    places = np.arange(step * share, (step + 1) * share)
    passes = {lap: np.random.default_rng([*seed, lap]).permutation(count) for lap in set((places // count).tolist())}
    return np.array([passes[place // count][place % count] for place in places.tolist()])
