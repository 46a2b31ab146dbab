"""Training: from a policy and training data to a candidate."""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.config.keys import TuneConfig
from agent.config.plugins import plugin
from agent.learning.batches import QA_COEF, Batches
from agent.learning.microbatches import step_gradient
from agent.learning.optimiser import Optimiser, descend
from agent.learning.terms import TERMS, own_term
from agent.learning.training import REFERENCE
from agent.records import TrainingData

MAX_GRAD_NORM = 1.0  # gradients are scaled down to this norm
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
    qa_coef: float = QA_COEF,
    checkpoint: Path | None = None,
    watch: Callable[[int, int, dict[str, float]], None] = lambda step, steps, figures: None,
) -> list[dict[str, float]]:
    """Train a policy on training data, from the champion that it holds to a candidate.

    Args:
        policy: a `policies.trained.Trained` that holds the champion's weights, which are also the reference of DPO.
        training_data: what to learn.
        config: terms of the loss, their coefficients, optimiser.
        seed: of the order of the training data.
        qa_coef: weight of the QA examples' loss beside the terms of the config.
        steps: gradient steps; 0: `config.epochs` passes over the policy samples, or over the demonstrations if there are none.
        checkpoint: see `descend`.
        watch: called with the steps done, the steps in all, and the figures of the last step.

    Returns:
        The figures of every step; docs/metrics.md explains them.
    """
    weights = (config.pg_coef or config.filtered_bc_coef, config.bc_coef, config.dpo_coef, qa_coef)
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
    batches = Batches(policy, config, *kinds, qa_coef, checkpoint.with_name(REFERENCE) if checkpoint else None)
    warmup = max(round(config.warmup_ratio * steps), 1)
    optimiser = Optimiser(policy.parameters(), learning_rate=config.learning_rate, steps=steps, warmup=warmup, clip=MAX_GRAD_NORM, kind=config.optim)

    def gradient_of(step: int, rows: Sequence[dict[str, float]]) -> tuple[float, dict[str, float]]:
        # A seed for each kind, and rows by the step alone: a resumed training draws the same.
        drawn = [_rows_of_step(len(part), share, step, (*seed, i)) for i, (part, share) in enumerate(zip(kinds, shares, strict=True))]
        # What memory forced upon an earlier step stays so, also after a resume: gradients summed in other parts are rounded differently.
        last = rows[-1] if rows else {}
        most = int(last.get("micro_batch_tokens", config.micro_batch_tokens))
        if last.get("checkpointing"):
            batches.checkpoint_layers()
        return step_gradient(batches, batches.step(drawn), config, terms, most, optimiser.clear)

    return descend(policy, optimiser, steps, gradient_of, checkpoint, lambda step, figures: watch(step, steps, figures))


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
