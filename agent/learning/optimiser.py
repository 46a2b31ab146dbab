"""Gradient descent for every training: the optimiser, and checkpoints from which a killed run resumes bit by bit."""

import functools
import logging
import math
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from agent.run.files import write
from policies.bits import check_installed

EVERY, AFTER = 250, 120.0  # steps and seconds from one checkpoint to the next, whichever come first: a step of a large model takes seconds
SHARE = 0.05  # of the time, at most, goes to checkpoints that are written for the seconds gone by: one of a large model takes seconds too


class Optimiser:
    """AdamW with linear warm-up, cosine decay to 2 % of the learning rate, and gradient clipping.

    Args:
        parameters: the trained tensors.
        learning_rate: peak learning rate.
        steps: length of the schedule.
        warmup: steps of linear increase.
        weight_decay: of matrices; vectors (biases, norms) have none.
        clip: largest gradient norm.
        kind: `adamw_8bit` keeps the moments of tensors of 4,096 numbers and more in one byte each (arXiv 2110.02861); by bitsandbytes.

    Raises:
        ValueError: bitsandbytes is needed, and not installed.
    """

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        *,
        learning_rate: float,
        steps: int,
        warmup: int = 10,
        weight_decay: float = 0.0,
        clip: float = 1.0,
        kind: Literal["adamw", "adamw_8bit"] = "adamw",
    ) -> None:
        self._parameters, self._clip = list(parameters), clip
        matrices, vectors = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim < 2]
        # A vector has one dimension: a bias, or the gain of a norm.
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        # 0.98 averages squared gradients over about 50 steps; the default of 0.999 is longer than most trainings here.
        self._adam = _adamw(kind)(groups, lr=learning_rate, betas=(0.9, 0.98))

        def rate(step: int) -> float:
            cosine = 0.5 * (1 + math.cos(math.pi * min(step / max(steps, 1), 1)))
            # A product: with a long warm-up the peak lies below `learning_rate`. From step + 1, so that the first step is not of size 0.
            return min(1.0, (step + 1) / max(warmup, 1)) * (0.02 + 0.98 * cosine)

        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._adam, rate)

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        return self._adam.param_groups[0]["lr"]

    def clear(self) -> None:
        """Remove the gradient of all parameters."""
        self._adam.zero_grad(set_to_none=True)

    def step(self) -> float:
        """Take one step along the gradient that the parameters hold; return its norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._adam.step()
        self._schedule.step()
        return float(norm)

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` takes."""
        return {"adam": self._adam.state_dict(), "schedule": self._schedule.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state that `state` returned."""
        self._adam.load_state_dict(state["adam"])
        self._schedule.load_state_dict(state["schedule"])


def _adamw(kind: Literal["adamw", "adamw_8bit"]) -> Any:
    """Return the class of an optimiser.

    Raises:
        ValueError: bitsandbytes is needed, and not installed.
    """
    if kind == "adamw":
        return torch.optim.AdamW
    check_installed(f"tune.optim {kind}")
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit


def descend(
    policy: Any,
    optimiser: Optimiser,
    steps: int,
    gradient_of: Callable[[int, Sequence[dict[str, float]]], tuple[float, dict[str, float]]],
    checkpoint: Path | None = None,
    watch: Callable[[int, dict[str, float]], None] = lambda step, figures: None,
) -> list[dict[str, float]]:
    """Take gradient steps until `steps` are done; resume from `checkpoint`, bit by bit, if that file exists.

    Args:
        policy: the trained policy, with `weights` and `put`.
        optimiser: of its parameters.
        steps: in all, those before the checkpoint included.
        gradient_of: f(step, figures of the steps before) -> loss and figures; it adds the gradient to the parameters. It must depend on its arguments
            alone, so that a resumed training does the same.
        checkpoint: file for weights, optimiser and figures, written every `EVERY` steps and, where these take long, every `AFTER` seconds. A damaged
            one is deleted with a warning.
        watch: called with the number of steps done and the figures of the last one.

    Returns:
        The figures of every step.

    Raises:
        ValueError: the checkpoint cannot be written, or does not fit this policy and optimiser.
    """
    # One row of figures a step: their number is the number of steps done.
    rows = _resume(policy, optimiser, checkpoint) if checkpoint and checkpoint.exists() else []
    due = time.monotonic() + AFTER
    for step in range(len(rows), steps):
        optimiser.clear()
        loss, figures = gradient_of(step, rows)
        rows.append({**figures, "loss": loss, "learning_rate": optimiser.learning_rate, "grad_norm": optimiser.step()})
        watch(step + 1, rows[-1])
        if checkpoint and ((step + 1) % EVERY == 0 or time.monotonic() > due):
            # The optimiser's moments too: without them the next steps would differ from those of a run that was not killed.
            saved = {"weights": policy.weights(), "optimiser": optimiser.state(), "rows": rows}
            began = time.monotonic()
            write(checkpoint, functools.partial(torch.save, saved))  # atomic: a kill here leaves the checkpoint before
            due = time.monotonic() + max(AFTER, (time.monotonic() - began) / SHARE)
    return rows


def _resume(policy: Any, optimiser: Optimiser, checkpoint: Path) -> list[dict[str, float]]:
    """Restore policy and optimiser from a checkpoint, and return the figures of its steps; from a damaged one none, and it is deleted."""
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            sound = parts.testzip() is None  # torch.save writes a zip file with a checksum for each part, which torch.load does not verify
        # To the CPU: a run may resume on another device. Weights only: a checkpoint cannot run code.
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True) if sound else None
    except Exception:  # what a damaged file raises depends on where the damage is
        saved = None
    if saved is None:  # training again is safe, a wrong weight is not
        logging.getLogger("etude").warning("Checkpoint %s is damaged and is deleted; this training starts from its first step.", checkpoint)
        checkpoint.unlink()
        return []
    try:
        # Sound, but perhaps of another model or other settings: nothing here may be overwritten silently.
        policy.put(saved["weights"])
        optimiser.restore(saved["optimiser"])
        return saved["rows"]
    except (ValueError, RuntimeError, LookupError, TypeError) as error:  # from `put`, or from torch, by what does not fit
        raise ValueError(
            f"Checkpoint {checkpoint} is of a training with another model or optimiser; delete it and run the same command again."
        ) from error
