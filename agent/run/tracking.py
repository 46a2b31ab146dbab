"""Output of a run while it works: figures to `metrics.jsonl`, W&B and TensorBoard; notes and progress to the console."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from agent.config.config import Config
from agent.run import progress
from agent.run.entries import entries
from agent.run.files import write_text
from agent.run.layout import summary
from agent.run.tensorboard import TensorBoard
from agent.run.variables import check, mode_of
from agent.run.wandb_run import WandbRun


class Track:
    """Figures, videos, notes and progress bars of one run. Trouble with W&B never stops the run.

    Args:
        folder: of the run.
        config: of the run.
        mode: in place of `track.mode`; empty: that of the config, or of WANDB_MODE.

    Raises:
        ValueError: TensorBoard is asked for and not installed, or an environment variable of W&B cannot be used.
    """

    def __init__(self, folder: Path, config: Config, mode: str = "") -> None:
        self.folder, self.console = folder, Console(highlight=False, emoji=False)  # rich would colour each number, and draw :door: in a name
        self._rows: list[dict[str, Any]] = []
        mode = mode or mode_of(config.track)
        if mode != "off":
            check(config.track)
        self._board = TensorBoard(folder) if config.track.tensorboard else None
        self._wandb: WandbRun | None = None  # None: off, or not available
        if mode != "off":
            try:
                self._wandb = WandbRun(folder, config, mode)
            except Exception as error:  # W&B raises many types: no network, no key, no space
                self.note(f"W&B is not available ({type(error).__name__}); metrics.jsonl has everything.")

    @property
    def online(self) -> bool:
        """Return whether figures reach W&B."""
        return self._wandb is not None

    def log(self, rows: list[dict[str, Any]]) -> None:
        """Write all rows of the run so far to `metrics.jsonl`, and publish what is new."""
        # All rows, so that the file is whole after a kill too.
        write_text(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        self._rows = rows
        if self._board:
            self._board.write(rows)
        self.publish()

    def publish(self) -> None:
        """Send W&B what it has not received of the run's rows, videos, tables and artifacts, and the result of a finished run."""
        if not self._wandb:
            return
        try:
            self._wandb.send(entries(self.folder, self._rows))
            if results := summary(self.folder):
                self._wandb.summarise(results)
        except Exception as error:  # its service process may have died; the disk may be full
            self._wandb = None
            self.note(f"W&B is not available any more ({type(error).__name__}); the run's folder has everything, and the next start sends it.")

    def note(self, text: str) -> None:
        """Print a line to the console; where that is no terminal, without line breaks."""
        self.console.print(text, soft_wrap=not self.console.is_terminal)

    def bar(self, title: str, total: int | None = None, done: int = 0) -> contextlib.AbstractContextManager[Callable[..., None]]:
        """Show the progress of a stage; arguments and result as of `agent.run.progress.bar`."""
        return progress.bar(self.console, title, total, done)

    def close(self, failed: bool = False) -> None:
        """Finish the W&B run, as failed if `failed`, and close the files of TensorBoard."""
        if self._wandb:
            self._wandb.close(failed)
        if self._board:
            self._board.close()
