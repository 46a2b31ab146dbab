"""One training of the model in memory, from a champion or the base model to weights on disk."""

from pathlib import Path
from typing import Any

import numpy as np

from agent.records import Player
from agent.rollout.session import Session
from agent.run.files import write
from agent.run.tracking import Track


def base_model(session: Session) -> Player:
    """Return the base model as it is, after its grounding; before anything else is loaded into the model in memory."""
    run = session.run
    weights = run.folder / "start" / "base.safetensors"
    return Player(weights, run.keep(weights.with_suffix(".json"), lambda: {"policy": keep_weights(session.policy, weights)})["policy"])


def train(session: Session, champion: Player | None, folder: Path, teach: Any, track: Track, title: str) -> dict[str, Any]:
    """Train from the champion (None: from the base model), save the weights, and return the stage file's content."""
    policy = session.play(champion) if champion else session.policy
    session.dirty()
    with track.bar(title) as step:
        rows = teach(policy, lambda done, steps, figures: step(1, total=steps, note=f"loss {figures['loss']:.3f}"))
    name = keep_weights(policy, folder / "policy.safetensors")
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    kept = [{"step": i, **{key: round(value, 6) for key, value in row.items()}} for i, row in enumerate(rows)]
    mean = {key: float(np.mean([row[key] for row in rows if key in row])) for key in dict.fromkeys(key for row in rows for key in row)}
    return {"figures": {**mean, "steps": len(rows)}, "rows": kept, "policy": name}


def keep_weights(policy: Any, file: Path) -> str:
    """Write the trained tensors, whole or not at all; return the name of what lies there now, and is in memory."""
    write(file, policy.save)
    policy.load(file)
    return policy.name
