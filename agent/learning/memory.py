"""What to do where a device runs out of memory: the same again, in smaller parts."""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def fitting(attempt: Callable[[int], Result], most: int, least: int, unit: str, spare: Callable[[], int] | None = None) -> tuple[Result, int]:
    """Return `attempt(most)`, and the size that fitted: it is halved, with one log line, each time that the device runs out of memory.

    Args:
        attempt: works in parts of at most that size; it is called again from the beginning, so it must undo what it left unfinished.
        most: size of a part to begin with.
        least: size of the smallest possible part.
        unit: of the size, for the log line: `tokens`.
        spare: called once where not even parts of size `least` fit, so that attempts after it need less memory; returns the size to begin with again.
            None: there is no such way.

    Raises:
        ValueError: not even parts of size `least` fit.
    """
    while True:
        try:
            return attempt(most), most
        except torch.OutOfMemoryError as error:
            if most <= least and spare is None:
                first = str(error).strip().split("\n")[0]
                raise ValueError(
                    f"A forward pass of {most} {unit} does not fit into the device's memory ({first}); use a smaller model, fewer or smaller frames, "
                    "policy.train: lora, or another policy.device."
                ) from error
        # Outside of `except`: the error holds the frames, and with them the tensors, of the attempt.
        if most > least or spare is None:
            most = max(most // 2, least)
            logging.getLogger("etude").warning("The device is out of memory; the step is repeated in parts of at most %d %s.", most, unit)
        else:
            most, spare = spare(), None  # last, because it makes each further step slower
            logging.getLogger("etude").warning("The device is out of memory; from now on the backward pass computes layers again (checkpointing).")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # blocks of the old sizes, which the smaller parts could not use
