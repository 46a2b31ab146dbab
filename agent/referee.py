"""The referee: the base model, taught once what a success looks like, by demonstrations; then it judges, and neither learns nor forgets."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agent.critic import answers, opine, peaks, quality
from agent.records import Episode, Lessons
from agent.settings import LabelConfig, TuneConfig

BATCH = 32  # lessons a step
KNOWS = 0.85  # of AUROC on demonstrations that it would not learn from: with this much it is left as it is, and learns from none
SHOWN = 100  # demonstrations at most by which a critic is calibrated and measured, where it may not ask the environment


def held_out(shown: Sequence[Episode]) -> list[Episode]:
    """Return every third of the demonstrations, which no critic learns from, to calibrate it on; all, if there are fewer than three."""
    return list(shown[2::3] or shown)


def learnt_from(shown: Sequence[Episode]) -> list[Episode]:
    """Return the other ones."""
    return [episode for i, episode in enumerate(shown) if i % 3 < 2]


def examine(policy: Any, shown: Sequence[Episode], question: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a critic's `peaks` on demonstrations, of every task, but of 100 at most."""
    some = [episode for episode in shown[:: -(-len(shown) // SHOWN) or 1] if len(episode)]
    return peaks(opine(policy, some, question, all_moments=True), some)


def train_referee(
    policy: Any, shown: Sequence[Episode], config: LabelConfig, seed: Sequence[int], watch: Callable[[int, int, dict[str, float]], None]
) -> dict[str, float]:
    """Teach the base model to tell a success from what comes before it, and from one of something else, if it does not know it by itself.

    Args:
        policy: that holds the weights of the base model; afterwards those of the referee.
        shown: demonstrations, those that failed among them.
        config: what it is asked, and how long it learns.
        seed: of the draws.
        watch: called with steps done, steps in all, and the last figures.

    Returns:
        `before` and `after`, AUROC on the demonstrations that it does not learn from (`peaks`), and `steps` taken.
    """
    from agent.tune import tune

    before = after = quality(*examine(policy, held_out(shown), config.question))["auroc"] if shown else KNOWS
    told = answers(learnt_from(shown), config.question, BATCH * config.study, np.random.default_rng(seed)) if before < KNOWS else []
    steps = config.study if told else 0
    if steps:
        recipe = TuneConfig(policy_gradient=0, preference=0, imitation=0, critic=1, batch=BATCH, lr=2e-4, warmup=0.2)
        tune(policy, Lessons(answers=tuple(told)), recipe, seed=seed, steps=steps, watch=watch)
        after = quality(*examine(policy, held_out(shown), config.question))["auroc"]
    return {"before": before, "after": after, "steps": steps}
