"""Shared pieces: tiny models of all families, and situations."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("etude", deadline=None)  # what an example takes says how busy the machine is
settings.load_profile("etude")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.pop("DISPLAY", None)  # no test opens a window on somebody's screen
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a second thread waits, at every product, for a core that something else may have


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the folder of a family's tiny model with random weights, which is made once; 'nano' is the embedded model's name."""
    from tests import families

    made = functools.cache(lambda family: families.make(family, tmp_path_factory.mktemp(family)))
    return lambda family: Path("nano") if family == "nano" else made(family)


@pytest.fixture(scope="session")
def smolvlm(folder_of: Callable[[str], Path]) -> Path:
    """The folder of a tiny SmolVLM."""
    return folder_of("smolvlm")


@pytest.fixture
def situations() -> list[Any]:
    """Five situations of two instructions whose prompts have different lengths."""
    from policies.policy import Situation

    rng = np.random.default_rng(0)
    words = ["touch the red ball", "touch the purple ball, please", "touch the red ball", "touch the blue ball", "touch the purple ball, please"]
    return [Situation(each, rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)) for each in words]
