"""Where figures, films and remarks go: W&B (online, offline, off) and `metrics.jsonl`, behind the same few methods."""

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
    """The run's voice.

    Args:
        folder: of the run.
        config: of the run.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self.console = folder, Console(highlight=False)
        self._wandb: Any = _start_wandb(folder, config, self.console)
        file = folder / "wandb" / "sent.json"
        self._sent: dict[str, int] = {"rows": 0, "steps": 0} | (read_object(file) if file.exists() else {})  # by all starts of this run

    def log(self, rows: list[dict[str, Any]]) -> None:
        """Write all of the run's rows so far to `metrics.jsonl`, and send to W&B what no start of this run has sent.

        Rows of single gradient steps have an axis of their own, `train/step`, which runs over all cycles; other rows go by `cycle`.
        """
        write_text(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        self._sent["rows"] = min(self._sent["rows"], len(rows))  # what was sent of stages that are done anew is sent anew
        steps = itertools.accumulate("step" in row for row in rows)
        for number, (row, step) in enumerate(zip(rows, steps, strict=True), 1):
            if number > self._sent["rows"] and self._wandb:
                self._send(functools.partial(_figures, row, step - 1))
                self._sent["rows"] = number if self._wandb else number - 1  # what broke off is sent by the next start
        self._remember()

    def _remember(self) -> None:
        if self._wandb:
            write_text(self.folder / "wandb" / "sent.json", json.dumps(self._sent))

    def summarise(self, summary: dict[str, Any]) -> None:
        """Send what the run came to, to W&B: `base/rate`, `warm_start/rate`, `after/rate`, each with low, high and n, and the gain."""
        if not self._wandb:
            return
        flat = {f"{name}/{key}": value for name, part in summary.items() if isinstance(part, dict) and "rate" in part for key, value in part.items()}
        flat |= {key: summary[key] for key in ("before_is", "gain", "gain_low", "gain_high", "p_value", "cycles", "promoted")}
        with contextlib.suppress(Exception):  # summary.json has it
            self._wandb.summary.update(flat)

    def note(self, text: str) -> None:
        """Say something on the console."""
        self.console.print(text)

    def films(self, files: dict[str, Path]) -> None:
        """Send films to W&B; they lie in the run folder already."""
        if self._wandb and files:
            import wandb

            self._send(lambda: {f"films/{name}": wandb.Video(str(file), format="mp4") for name, file in files.items()})
            self._remember()

    def picture(self, file: Path) -> None:
        """Send a picture to W&B."""
        if self._wandb:
            import wandb

            self._send(lambda: {"pictures/" + file.stem: wandb.Image(str(file))})
            self._remember()

    def _send(self, content: Callable[[], dict[str, Any]]) -> None:
        """Send to W&B; where that breaks the run goes on without it."""
        if not self._wandb:
            return
        try:
            self._wandb.log(content(), step=self._sent["steps"])
            self._sent["steps"] += 1
        except Exception as error:  # its service may have died, a disk may be full
            self._wandb = None
            self.note(f"W&B is not available any more ({type(error).__name__}); metrics.jsonl has everything.")

    @contextlib.contextmanager
    def bar(self, title: str, total: int | None = None, done: int = 0) -> Iterator[Callable[..., None]]:
        """Show a progress bar with rate and time left; yields `step(count, total=..., note=...)`."""
        columns = (BarColumn(30), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(TextColumn("{task.description:<24}"), *columns, TextColumn("{task.fields[note]}"), console=self.console) as progress:
            task = progress.add_task(title, total=total, completed=done, note="", rate="")
            began, count = time.time(), 0

            def step(more: int = 1, total: int | None = total, note: str = "") -> None:
                nonlocal count
                count += more
                rate = f"{count / max(time.time() - began, 1e-9):.1f}/s"
                progress.update(task, advance=more, total=total, note=note, rate=rate)

            yield step

    def close(self, failed: bool = False) -> None:
        """Finish the W&B run; one that `failed` is shown as such."""
        if self._wandb:
            with contextlib.suppress(Exception):  # what could not be sent lies in metrics.jsonl
                self._wandb.finish(exit_code=int(failed))


def _start_wandb(folder: Path, config: Config, console: Console) -> Any:
    """Return a W&B run, or None; W&B away or without a key never stops a run."""
    usual = TrackConfig()
    mode = _chosen("WANDB_MODE", config.track.mode, usual.mode)
    if mode in ("off", "disabled"):
        return None
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        import wandb

        file = folder / "wandb" / "id"
        if not file.exists():
            write_text(file, secrets.token_hex(4))
        run = wandb.init(
            id=file.read_text(),
            resume="allow",
            project=_chosen("WANDB_PROJECT", config.track.project, usual.project),
            name=folder.name,
            dir=str(folder),
            mode=mode,
            config=yaml.safe_load(write(config)),
            settings=wandb.Settings(init_timeout=30, console="off"),
        )
        run.define_metric("cycle")
        run.define_metric("train/step")
        run.define_metric("*", step_metric="cycle")
        run.define_metric("train/*", step_metric="train/step")
        return run
    except Exception as error:  # wandb raises many types: no network, no key, no space
        console.print(f"W&B is not available ({type(error).__name__}); metrics.jsonl has everything.")
        return None


def _chosen(variable: str, given: str, usual: str) -> Any:
    """Return what a key of the config says, or, where that is only the default, the user's variable of the process."""
    return os.environ.get(variable) or usual if given == usual else given


def _figures(row: dict[str, Any], step: int) -> dict[str, Any]:
    """Return a row as W&B gets it; `step` counts the gradient steps of the whole run."""
    stage, x = row["stage"], {"cycle": row["cycle"]}
    if "step" in row:
        stage, x = "train" if stage == "tune" else f"train/{stage}", x | {"train/step": step}
    return {f"{stage}/{key}": value for key, value in row.items() if key not in ("cycle", "stage", "step")} | x
