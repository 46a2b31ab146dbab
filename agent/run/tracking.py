"""Output of a run while it works: figures and videos to `metrics.jsonl` and Weights & Biases, notes and progress bars to the console."""

import contextlib
import functools
import itertools
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.config.config import Config
from agent.config.keys import TrackConfig
from agent.config.read import write
from agent.run.files import read_object, write_text


class Track:
    """Figures, videos, notes and progress bars of one run. Trouble with W&B never stops the run.

    Args:
        folder: of the run.
        config: of the run.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self.console = folder, Console(highlight=False)
        self._wandb: Any = _start_wandb(folder, config, self.console)  # None: off, or not available
        file = folder / "wandb" / "sent.json"  # so that a later start sends nothing twice
        self._sent: dict[str, int] = {"rows": 0, "steps": 0} | (read_object(file) if file.exists() else {})  # by all starts together

    def log(self, rows: list[dict[str, Any]]) -> None:
        """Write all rows of the run so far to `metrics.jsonl`, and send W&B those that no start of this run has sent.

        Rows of single gradient steps have the axis `train/step`, which counts through all cycles; all other rows have the axis `cycle`.
        """
        write_text(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        self._sent["rows"] = min(self._sent["rows"], len(rows))  # fewer rows than sent: a cycle was deleted, and is sent again
        steps = itertools.accumulate("step" in row for row in rows)  # gradient steps of the whole run, up to and with each row
        for number, (row, step) in enumerate(zip(rows, steps, strict=True), 1):
            if number > self._sent["rows"] and self._wandb:
                self._send(functools.partial(_figures, row, step - 1))
                self._sent["rows"] = number if self._wandb else number - 1  # `_send` sets `_wandb` to None on an error: the next start sends it
        self._remember()

    def _remember(self) -> None:
        """Store how many rows and W&B steps were sent."""
        if self._wandb:
            write_text(self.folder / "wandb" / "sent.json", json.dumps(self._sent))

    def summarise(self, summary: dict[str, Any]) -> None:
        """Send the result of the run to W&B: `base/rate`, `warm_start/rate`, `after/rate`, each with low, high and n, and the gain."""
        if not self._wandb:
            return
        flat = {f"{name}/{key}": value for name, part in summary.items() if isinstance(part, dict) and "rate" in part for key, value in part.items()}
        flat |= {key: summary[key] for key in ("before_is", "gain", "gain_low", "gain_high", "p_value", "cycles", "promoted")}
        try:
            self._wandb.summary.update(flat)
        except Exception as error:
            self._lost(error, "summary.json")

    def note(self, text: str) -> None:
        """Print a line to the console."""
        self.console.print(text)

    def videos(self, files: dict[str, Path]) -> None:
        """Send videos to W&B, by their names; the files stay in the run folder."""
        if self._wandb and files:
            import wandb  # slow, and not needed with `track.mode: off`

            self._send(lambda: {f"videos/{name}": wandb.Video(str(file), format="mp4") for name, file in files.items()})
            self._remember()

    def picture(self, file: Path) -> None:
        """Send a picture to W&B; the file stays in the run folder."""
        if self._wandb:
            import wandb

            self._send(lambda: {"pictures/" + file.stem: wandb.Image(str(file))})
            self._remember()

    def _send(self, content: Callable[[], dict[str, Any]]) -> None:
        """Send what `content` returns to W&B; after an error the run goes on without W&B."""
        if not self._wandb:
            return
        try:
            # W&B drops rows whose step is not above the last one, so steps count through all starts.
            self._wandb.log(content(), step=self._sent["steps"])
            self._sent["steps"] += 1
        except Exception as error:
            self._lost(error, "metrics.jsonl")

    def _lost(self, error: Exception, file: str) -> None:
        """Go on without W&B, whose service process may have died; the disk may be full."""
        self._wandb = None
        self.note(f"W&B is not available any more ({type(error).__name__}); {file} has everything.")

    @contextlib.contextmanager
    def bar(self, title: str, total: int | None = None, done: int = 0) -> Iterator[Callable[..., None]]:
        """Show a progress bar with rate and time left.

        Args:
            title: of the bar.
            total: number of items; None: not known yet.
            done: items of earlier starts, which the bar includes and the rate does not.

        Yields:
            `step(more, total=..., note=...)`, which advances the bar by `more` items.
        """
        columns = (BarColumn(30), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(TextColumn("{task.description:<24}"), *columns, TextColumn("{task.fields[note]}"), console=self.console) as progress:
            task = progress.add_task(title, total=total, completed=done, note="", rate="")
            began, count = time.time(), 0  # for a rate over the whole bar: rich's own goes by the last few updates

            def step(more: int = 1, total: int | None = total, note: str = "") -> None:
                nonlocal count
                count += more
                rate = f"{count / max(time.time() - began, 1e-9):.1f}/s"
                progress.update(task, advance=more, total=total, note=note, rate=rate)

            yield step

    def close(self, failed: bool = False) -> None:
        """Finish the W&B run, as failed if `failed`."""
        if self._wandb:
            with contextlib.suppress(Exception):  # what could not be sent is in metrics.jsonl
                self._wandb.finish(exit_code=int(failed))


def _start_wandb(folder: Path, config: Config, console: Console) -> Any:
    """Return a W&B run; None if it is switched off, not installed, or cannot start."""
    defaults = TrackConfig()
    mode = _chosen("WANDB_MODE", config.track.mode, defaults.mode)
    if mode in ("off", "disabled"):  # "disabled" can come from WANDB_MODE
        return None
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        import wandb

        file = folder / "wandb" / "id"  # one W&B run for all starts of the run, also offline
        if not file.exists():
            write_text(file, secrets.token_hex(4))
        run = wandb.init(
            id=file.read_text(),
            resume="allow",
            project=_chosen("WANDB_PROJECT", config.track.project, defaults.project),
            name=folder.name,
            dir=str(folder),
            mode=mode,
            config=yaml.safe_load(write(config)),
            settings=wandb.Settings(init_timeout=30, console="off"),  # seconds; and the console output is not recorded
        )
        run.define_metric("cycle")
        run.define_metric("train/step")
        run.define_metric("*", step_metric="cycle")
        # Figures of gradient steps have an axis of their own. Their prefixes are those of `metrics.STEP`.
        for group in ("train", "dpo", "rewards", "logps"):
            run.define_metric(f"{group}/*", step_metric="train/step")
        return run
    except Exception as error:  # wandb raises many types: no network, no key, no space
        console.print(f"W&B is not available ({type(error).__name__}); metrics.jsonl has everything.")
        return None


def _chosen(variable: str, given: str, usual: str) -> Any:
    """Return the value of a config key, or, if that is only the default, of an environment variable that is set."""
    return os.environ.get(variable) or usual if given == usual else given


def _figures(row: dict[str, Any], step: int) -> dict[str, Any]:
    """Return a row for W&B; `step` counts the gradient steps of the whole run from 0."""
    figures = {key: value for key, value in row.items() if key not in ("stage", "step")}
    return figures | ({"train/step": step} if "step" in row else {})
