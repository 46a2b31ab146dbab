"""Optimisation: policy + lessons -> challenger.

Shape suffixes: B replies, L tokens of a reply, P pairs, U action vocabulary.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agent.config.keys import TuneConfig
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
    trials = lessons.trials if config.policy_gradient or config.filtered else ()
    demonstrations = lessons.demonstrations if config.imitation else ()
    pairs = lessons.pairs if config.preference else ()
    answers = lessons.answers if config.critic and (steps or trials or demonstrations or pairs) else ()  # alone they are no reason to train
    kinds = (trials, demonstrations, pairs, answers)
    most = next(filter(None, map(len, kinds)), 0)
    steps = steps or config.epochs * math.ceil(most / config.batch)
    shares = [_share(len(part), most, config.batch) for part in kinds]
    book = _Book(policy, config, trials, demonstrations, pairs, answers)

    def loss_of(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rows = [_page(len(part), share, step, (*seed, i)) for i, (part, share) in enumerate(zip(kinds, shares, strict=True))]
        loss, figures = _loss(book, trials, demonstrations, pairs, rows[:3], config) if any(map(len, rows[:3])) else (torch.zeros(()), {})
        if len(rows[3]):
            answering = book.answering(rows[3])
            loss, figures["critic"] = loss + config.critic * answering, float(answering.detach())
        return loss, figures

    warmup = max(round(config.warmup * steps), 1)
    optimiser = Optimiser(policy.parameters(), lr=config.lr, steps=steps, warmup=warmup, clip=config.max_grad_norm)
    return descend(policy, optimiser, steps, loss_of, checkpoint, lambda step, figures: watch(step, steps, figures))


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
        self.policy, self.answers = policy, answers
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


def _loss(
    book: _Book,
    trials: Sequence[Trial],
    demonstrations: Sequence[Demonstration],
    pairs: Sequence[PreferencePair],
    rows: Sequence[np.ndarray],
    config: TuneConfig,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the weighted sum of the three losses on chosen rows of each kind of lesson, and its figures; one pass for all replies."""
    tried, shown, paired = ([part[i] for i in index] for part, index in zip((trials, demonstrations, pairs), rows, strict=True))
    sides = [book.sides[2 * row + side] for side in (0, 1) for row in rows[2].tolist()]
    place = [*rows[0].tolist(), *(rows[1] + len(trials)).tolist(), *itertools.chain(*sides)]
    replies = [*tried, *shown, *(reply for pair in paired for reply in pair.chosen), *(reply for pair in paired for reply in pair.rejected)]
    tokens = [reply.tokens for reply in replies]
    logprobs_BLU = book.distribution(place, tokens)
    logprobs, entropy = book.policy.picked(logprobs_BLU, np.stack(tokens)), losses.entropy(logprobs_BLU)
    counts = [sum(map(len, part)) for part in (sides[: len(paired)], sides[len(paired) :])]
    tried_BL, shown_BL, chosen_BL, rejected_BL = logprobs.split([len(tried), len(shown), *counts])
    total, figures = -config.entropy * entropy, {"entropy": float(entropy.detach())}
    if tried:
        sampled_BL = torch.as_tensor(np.stack([t.logprobs for t in tried]), device=logprobs.device)
        advantage_B = torch.tensor([t.advantage for t in tried], device=logprobs.device)
        credited = slice(book.uncredited, None)
        loss = losses.policy_gradient(
            tried_BL[:, credited], sampled_BL[:, credited], advantage_B, config.clip_low, config.clip_high, config.ratio_guard
        )
        total = total + config.policy_gradient * loss
        better_B = (advantage_B > 0).float()
        if config.filtered and better_B.any():
            repeated = losses.imitation(tried_BL[:, credited], better_B)
            total, figures["filtered"] = total + config.filtered * repeated, float(repeated.detach())
        if config.kl:
            total = total + config.kl * losses.drift(tried_BL[:, credited], sampled_BL[:, credited])
        ratio = (tried_BL.detach() - sampled_BL)[:, credited].exp()
        outside = (ratio < 1 - config.clip_low) | (ratio > 1 + config.clip_high)
        figures |= {"policy_gradient": float(loss.detach()), "clipped": float(outside.float().mean()), "kl": float((ratio - 1 - ratio.log()).mean())}
    if shown:
        loss = losses.imitation(shown_BL, torch.tensor([d.weight for d in shown], device=logprobs.device))
        total, figures["imitation"] = total + config.imitation * loss, float(loss.detach())
    if paired:
        summed = [part.sum() for part in torch.cat([chosen_BL, rejected_BL]).split([len(side) for side in sides])]
        chosen, rejected = torch.stack(summed).chunk(2)
        gained, lost = chosen - book.reference[rows[2], 0], rejected - book.reference[rows[2], 1]
        margin, displaced = gained - lost, -float(gained.detach().mean())
        loss = losses.preference(margin, config.beta, config.preference_by, config.flipped)
        contrast = 0.0 if displaced > config.displacement else 1.0  # the anchor alone then brings the chosen replies back
        total = total + config.preference * (contrast * loss - config.anchor * chosen_BL.mean())
        figures |= {"preference": float(loss.detach()), "margin": float(margin.detach().mean()), "accuracy": float((margin > 0).float().mean())}
        figures |= {"chosen_logprob": float(chosen.detach().mean()), "rejected_logprob": float(rejected.detach().mean()), "displaced": displaced}
    return total, figures


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
