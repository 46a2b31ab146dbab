"""Figures for TensorBoard (`track.tensorboard`), by torch's own writer."""

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class TensorBoard:
    """Event files in the folder `tensorboard` of a run. Each start writes them anew, so that after a kill each figure is there once.

    Args:
        folder: of the run.

    Raises:
        ValueError: as of `writer`.
    """

    def __init__(self, folder: Path) -> None:
        make, place = writer(), folder / "tensorboard"
        shutil.rmtree(place, ignore_errors=True)
        self._writer, self._written = make(str(place)), 0

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the rows of a run so far that are not written yet; rows of gradient steps over `train/step`, all others over `cycle`."""
        steps = itertools.accumulate("step" in row for row in rows)  # gradient steps of the whole run, up to and with each row
        for row, step in list(zip(rows, steps, strict=True))[self._written :]:  # cut after counting: earlier rows count too
            for name, value in row.items():
                if isinstance(value, int | float) and name not in ("cycle", "step"):  # `promoted` is a truth value, drawn as 0 or 1
                    self._writer.add_scalar(name, value, step - 1 if "step" in row else row["cycle"])  # from 0, as in W&B
        self._written = len(rows)
        self._writer.flush()  # a kill shall cost no row that `metrics.jsonl` has

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def writer() -> Any:
    """Return torch's class `SummaryWriter`.

    Raises:
        ValueError: the package `tensorboard`, which it needs, is not installed.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise ValueError("track.tensorboard needs the package tensorboard: pip install 'etude[tensorboard]'; or set it to false.") from error
    return SummaryWriter
