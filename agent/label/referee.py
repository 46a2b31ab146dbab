"""The referee: the base model, taught once what a success looks like, by demonstrations; then it judges, and neither learns nor forgets."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agent.config.keys import LabelConfig, TuneConfig
from agent.label.calibration import peaks, quality
from agent.label.detector import answers, opine
from agent.learning.training import keep_weights
from agent.records import Episode, Lessons, Player
from agent.rollout.session import Session
from agent.run.files import load
from agent.run.folder import Run
from agent.run.tracking import Track

BATCH = 32  # lessons a step
KNOWS = 0.85  # of AUROC on demonstrations that it would not learn from: with this much it is left as it is, and learns from none
SHOWN = 100  # demonstrations at most by which a critic is calibrated and measured, where it may not ask the environment


def held_out(shown: Sequence[Episode]) -> list[Episode]:
    """Return every third of the demonstrations that succeeded, and of those that failed, from which no critic has lessons: it is calibrated on them.

    All, if fewer than three succeeded.
    """
    kept = [episode for won in (True, False) for episode in [each for each in shown if each.success == won][2::3]]
    return kept if any(episode.success for episode in kept) else list(shown)


def learnt_from(shown: Sequence[Episode]) -> list[Episode]:
    """Return the others; all, if none is kept."""
    kept = {id(episode) for episode in held_out(shown)}
    return [episode for episode in shown if len(kept) == len(shown) or id(episode) not in kept]


def examine(policy: Any, shown: Sequence[Episode], question: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a critic's `peaks` on demonstrations; empty, if none has a decision."""
    some = a_few(shown)
    return peaks(opine(policy, some, question), some)


def a_few(shown: Sequence[Episode]) -> list[Episode]:
    """Return demonstrations of every task, but 100 at most, and none without a decision; a success besides, if all were left out."""
    some = [episode for episode in shown[:: -(-len(shown) // SHOWN) or 1] if len(episode)]
    return some if any(episode.success for episode in some) else some + [episode for episode in shown if len(episode) and episode.success][:1]


def knows(ends: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Return `demonstration_auroc`, how often a success is rated above what was before one; nothing, if there is no success."""
    found = quality(*ends).get("auroc") if len(ends[0]) else None
    return {} if found is None else {"demonstration_auroc": found}


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
        `before` and `after`, AUROC on the demonstrations that it does not learn from (`knows`), where they have a success; and `steps` that count: 0
        where it was left as it is, or put back because it knew less afterwards.
    """
    from agent.learning.trainer import tune

    kept = held_out(shown)
    before = knows(examine(policy, kept, config.question)).get("demonstration_auroc")
    told = answers(learnt_from(shown), config.question, BATCH * config.study, np.random.default_rng(seed)) if config.study else []
    if before is None or before >= KNOWS or not told:
        return {"steps": 0} if before is None else {"before": before, "after": before, "steps": 0}
    base = policy.weights()
    recipe = TuneConfig(policy_gradient=0, preference=0, imitation=0, critic=1, batch=BATCH, lr=2e-4, warmup=0.2)
    tune(policy, Lessons(answers=tuple(told)), recipe, seed=seed, steps=config.study, watch=watch)
    after = knows(examine(policy, kept, config.question))["demonstration_auroc"]
    if after < before:
        policy.put(base)
    return {"before": before, "after": after, "steps": config.study if after >= before else 0}


def raise_referee(session: Session, track: Track) -> dict[str, Any]:
    """Write the referee's weights; the model then holds those of the base model again."""
    run, policy = session.run, session.policy
    base, shown = policy.weights(), run.episodes(run.folder / "start")
    with track.bar("referee") as step:
        figures = train_referee(policy, shown, run.config.label, (run.config.seed, 0, 2), lambda done, steps, now: step(1, total=steps))
    name = keep_weights(policy, run.folder / "start" / "referee.safetensors")
    policy.load(base)
    return {"figures": figures, "policy": name}


def referee(run: Run) -> Player:
    """Return a run's referee."""
    folder = run.folder / "start"
    return Player(folder / "referee.safetensors", load(folder / "referee.json").get("policy", ""))  # runs of old did not record it
