"""Keeps what the code of an environment may change for the whole process: the working folder, and two settings of torch."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Put back the working folder, and torch's default type and its recording of gradients, as they were before this context.

    A run's paths are relative to that folder. With another default type the model would be trained in mixed types, without gradients not at all.
    """
    folder, torch = os.getcwd(), sys.modules.get("torch")
    # Not imported here: where no model acts, as in `etude tasks`, torch would take seconds.
    settings = (torch.get_default_dtype(), torch.is_grad_enabled()) if torch else None
    try:
        yield
    finally:
        os.chdir(folder)
        if torch := sys.modules.get("torch"):
            dtype, grad = settings or (torch.float32, True)
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(grad)
