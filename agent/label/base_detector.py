"""The base-model detector: the base model, trained once on demonstrations to recognise success, and frozen for the rest of the run."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agent.config.keys import LabelConfig, TuneConfig
from agent.label.calibration import peaks, quality
from agent.label.detector import detect, qa_examples
from agent.learning.training import keep_weights
from agent.records import DRAWS, Checkpoint, Episode, TrainingData
from agent.rollout.session import Session
from agent.run.files import load
from agent.run.folder import Run
from agent.run.tracking import Track

STEPS = 80  # gradient steps
BATCH = 32  # QA examples a step
KNOWN_AUROC = 0.85  # AUROC on held-out demonstrations from which on the base model is good enough, and is not trained
MOST_DEMONSTRATIONS = 100  # demonstrations, about, on which a detector is calibrated and measured where it may not use the environment's success


def held_out(shown: Sequence[Episode]) -> list[Episode]:
    """Return the demonstrations that no detector is trained on: it is calibrated and measured on them.

    They are every third of the successful demonstrations and every third of the failed ones; all, if fewer than three succeeded.
    """
    kept = [episode for won in (True, False) for episode in [each for each in shown if each.success == won][2::3]]
    # Calibration needs a success. With too few, training and calibration share all demonstrations, and the measured AUROC is optimistic.
    return kept if any(episode.success for episode in kept) else list(shown)


def training_part(shown: Sequence[Episode]) -> list[Episode]:
    """Return the demonstrations that a detector is trained on: those not `held_out`; all, if too few succeeded to hold one out."""
    kept = {id(episode) for episode in held_out(shown)}  # by identity: episodes hold arrays, which == and hash cannot compare
    return [episode for episode in shown if len(kept) == len(shown) or id(episode) not in kept]


def examine(policy: Any, shown: Sequence[Episode], question: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the `peaks` of the policy's scores on demonstrations, float64[M] and bool[M]; both empty if no demonstration has a decision."""
    sample = measured_part(shown)
    return peaks(detect(policy, sample, question), sample)


def measured_part(shown: Sequence[Episode]) -> list[Episode]:
    """Return about 100 demonstrations with at least one decision, evenly spaced; the first success is added if none was among them."""
    # Demonstrations lie task after task, so even spacing keeps every task. -(-a // b) is a / b rounded up; `or 1` is for no demonstration at all.
    sample = [episode for episode in shown[:: -(-len(shown) // MOST_DEMONSTRATIONS) or 1] if len(episode)]
    return sample if any(episode.success for episode in sample) else sample + [episode for episode in shown if len(episode) and episode.success][:1]


def demonstration_figures(ends: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Return `demonstration_auroc`: the probability that a success gets a higher score than frames without one; {} without both classes.

    Args:
        ends: scores and classes, as `peaks` returns them.
    """
    auroc = quality(*ends).get("auroc") if len(ends[0]) else None
    return {} if auroc is None else {"demonstration_auroc": auroc}


def teach_base_detector(
    policy: Any, shown: Sequence[Episode], config: LabelConfig, seed: Sequence[int], watch: Callable[[int, int, dict[str, float]], None]
) -> dict[str, float]:
    """Train the base model to recognise success, unless it already can; restore its weights if training made it worse.

    Args:
        policy: holds the weights of the base model; afterwards those of the base-model detector.
        shown: demonstrations, the failed ones included.
        config: which question the detector is asked.
        seed: of the choice of examples and of their order.
        watch: called with the steps done, the steps in all, and the figures of the last step.

    Returns:
        `before` and `after`: AUROC on held-out demonstrations, absent if none of them succeeded. `steps`: gradient steps that
        were kept; 0 if the model was not trained, or if its weights were restored.
    """
    from agent.learning.trainer import train  # imports torch, without which commands that train nothing start faster

    kept = held_out(shown)
    before = demonstration_figures(examine(policy, kept, config.question)).get("demonstration_auroc")
    # As many as the steps use, so that none is repeated where there are enough.
    examples = qa_examples(training_part(shown), config.question, BATCH * STEPS, np.random.default_rng(seed))
    if before is None or before >= KNOWN_AUROC or not examples:
        return {"steps": 0} if before is None else {"before": before, "after": before, "steps": 0}
    base = policy.weights()
    # No loss on actions: these weights only ever answer questions.
    recipe = TuneConfig(pg_coef=0, dpo_coef=0, bc_coef=0, batch_size=BATCH, learning_rate=2e-4, warmup_ratio=0.2)
    train(policy, TrainingData(qa_examples=tuple(examples)), recipe, qa_coef=1, seed=seed, steps=STEPS, watch=watch)
    after = demonstration_figures(examine(policy, kept, config.question))["demonstration_auroc"]
    if after < before:
        policy.put(base)
    return {"before": before, "after": after, "steps": STEPS if after >= before else 0}


def make_base_detector(session: Session, track: Track) -> dict[str, Any]:
    """Train the base-model detector, write its weights, and return the content of its stage file.

    The model in memory holds the base model's weights again afterwards: training of the warm start begins from them.
    """
    run, policy = session.run, session.policy
    base, demonstrations = policy.weights(), run.episodes(run.folder / "start")
    with track.bar("base_detector") as step:
        seed = (run.config.seed, 0, 0, 0, DRAWS["base_detector"])
        figures = teach_base_detector(policy, demonstrations, run.config.label, seed, lambda done, steps, now: step(upto=done, total=steps))
    name = keep_weights(policy, run.folder / "start" / "base_detector.safetensors")
    policy.load(base)
    return {"figures": figures, "policy": name}


def base_detector(run: Run) -> Checkpoint:
    """Return the checkpoint of a run's base-model detector."""
    folder = run.folder / "start"
    return Checkpoint(folder / "base_detector.safetensors", load(folder / "base_detector.json")["policy"])
