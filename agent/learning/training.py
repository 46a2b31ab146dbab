"""One training of the model in memory: load a champion or take the base model, train it, and write its weights."""

from pathlib import Path
from typing import Any

import numpy as np

from agent.records import Checkpoint
from agent.rollout.session import Session
from agent.run.files import write
from agent.run.tracking import Track

REFERENCE = "reference.safetensors"  # log-probabilities of the champion, beside the checkpoint of a training


def base_model(session: Session) -> Checkpoint:
    """Return the checkpoint of the base model, after grounding if there was any; write its weights if they are not on disk yet.

    Call it before anything else is loaded or trained: it takes the weights that are in memory.
    """
    run = session.run
    weights = run.folder / "start" / "base.safetensors"
    return Checkpoint(weights, run.keep(weights.with_suffix(".json"), lambda: {"policy": keep_weights(session.policy, weights)})["policy"])


def train_checkpoint(session: Session, champion: Checkpoint | None, folder: Path, teach: Any, track: Track, title: str) -> dict[str, Any]:
    """Train a policy, write its weights, and return the content of the stage file.

    Args:
        session: of the run.
        champion: where training starts; None: from the model in memory, which must hold the base model's weights.
        folder: of the stage; gets `policy.safetensors`.
        teach: trains: f(policy, watch) -> the figures of every step.
        track: for the progress bar.
        title: of the progress bar.

    Returns:
        `figures`: the mean of each figure over the steps that have it, and `steps`. `rows`: the figures of every step. `policy`: the name of the
        weights.
    """
    policy = session.load_checkpoint(champion) if champion else session.policy
    session.weights_changed()  # from here on the model in memory is no longer the loaded checkpoint
    with track.bar(title) as step:
        rows = teach(policy, lambda done, steps, figures: step(upto=done, total=steps, note=f"loss {figures['loss']:.3f}"))
    name = keep_weights(policy, folder / "policy.safetensors")  # before the stage file, which says that they are complete
    for each in ("checkpoint.pt", REFERENCE):  # only now: a kill before the weights are written resumes from these
        (folder / each).unlink(missing_ok=True)
    # Six digits in the file. A step that lacks a figure had no data for it, so it does not count as 0 in the mean.
    kept = [{"step": i, **{key: float(f"{value:.6g}") for key, value in row.items()}} for i, row in enumerate(rows)]
    mean = {key: float(np.mean([row[key] for row in rows if key in row])) for key in dict.fromkeys(key for row in rows for key in row)}
    return {"figures": {**mean, "steps": len(rows)}, "rows": kept, "policy": name}


def keep_weights(policy: Any, file: Path) -> str:
    """Write the trained tensors, atomically, load them again, and return their name."""
    write(file, policy.save)
    policy.load(file)  # `load` computes the name, of the weights as they are on disk
    return policy.name
