"""Gradient descent, the same wherever something is trained: one optimiser, and checkpoints that a killed run goes on from."""

import functools
import logging
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from agent.run.files import write


class Optimiser:
    """AdamW with linear warm-up, cosine decay to 2 % and gradient clipping; matrices decay, vectors do not.

    Args:
        parameters: what is trained.
        lr: peak learning rate.
        steps: of the whole schedule.
        warmup: steps of linear increase.
        weight_decay: of matrices.
        clip: largest gradient norm.
    """

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], *, lr: float, steps: int, warmup: int = 10, weight_decay: float = 0.0, clip: float = 1.0
    ) -> None:
        self._parameters, self._clip = list(parameters), clip
        matrices, vectors = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self._adam = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))

        def rate(step: int) -> float:
            cosine = 0.5 * (1 + math.cos(math.pi * min(step / max(steps, 1), 1)))
            return min(1.0, (step + 1) / max(warmup, 1)) * (0.02 + 0.98 * cosine)

        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._adam, rate)

    def step(self, loss: torch.Tensor) -> float:
        """Descend once; return the gradient norm before clipping."""
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._adam.step()
        self._schedule.step()
        return float(norm)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on."""
        return {"adam": self._adam.state_dict(), "schedule": self._schedule.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self._adam.load_state_dict(state["adam"])
        self._schedule.load_state_dict(state["schedule"])


def descend(
    policy: Any,
    optimiser: Optimiser,
    steps: int,
    loss_of: Callable[[int], tuple[torch.Tensor, dict[str, float]]],
    checkpoint: Path | None = None,
    watch: Callable[[int, dict[str, float]], None] = lambda step, figures: None,
) -> list[dict[str, float]]:
    """Take `steps` steps of descent; go on from `checkpoint`, bit by bit, if that file exists.

    Args:
        policy: whose weights are trained.
        optimiser: that trains them.
        steps: in all.
        loss_of: step -> loss and figures; must draw from a generator of its own for each step.
        checkpoint: file for weights, optimiser and figures, written every 250 steps; a damaged one is dropped, and the log says so.
        watch: called with the number of steps done and their last figures.

    Returns:
        The figures of every step.

    Raises:
        ValueError: the checkpoint cannot be written, or is of another training.
    """
    rows = _resume(policy, optimiser, checkpoint) if checkpoint and checkpoint.exists() else []
    for step in range(len(rows), steps):
        loss, figures = loss_of(step)
        norm = optimiser.step(loss)
        rows.append({**figures, "loss": float(loss.detach()), "grad_norm": norm})
        watch(step + 1, rows[-1])
        if checkpoint and (step + 1) % 250 == 0:
            saved = {"weights": policy.weights(), "optimiser": optimiser.state(), "rows": rows}
            write(checkpoint, functools.partial(torch.save, saved))
    return rows


def _resume(policy: Any, optimiser: Optimiser, checkpoint: Path) -> list[dict[str, float]]:
    """Go on from a checkpoint; return the figures of the steps so far, none from a damaged one, which is dropped."""
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            sound = parts.testzip() is None  # each part has a checksum, at which torch does not look
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True) if sound else None
    except Exception:  # what a damaged file raises depends on where the damage is
        saved = None
    if saved is None:
        logging.getLogger("etude").warning("Checkpoint %s is damaged and is dropped; this training begins anew.", checkpoint)
        checkpoint.unlink()
        return []
    try:
        policy.put(saved["weights"])
        optimiser.restore(saved["optimiser"])
        return saved["rows"]
    except (ValueError, RuntimeError, LookupError, TypeError) as error:
        raise ValueError(f"Checkpoint {checkpoint} is of another training; delete it and run the same command again.") from error
