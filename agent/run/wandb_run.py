"""The Weights & Biases run of a run folder: one for all its starts, in which each entry arrives once, also after kills."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent.config.config import Config
from agent.config.keys import TrackConfig
from agent.config.read import write as as_yaml
from agent.config.yaml_text import load
from agent.run.artifacts import Artifact
from agent.run.entries import COLUMNS, Content, Entry
from agent.run.files import write_text
from agent.run.received import steps
from agent.run.variables import hidden, is_id, run_id

AXES = {"train/*": "train/step", "dpo/*": "train/step", "rewards/*": "train/step", "logps/*": "train/step"}  # prefixes as in `metrics.STEP`
AXES |= {"eval/champion_success_rate": "env_steps"}  # sample efficiency
KEY = re.compile("[0-9a-f]{16}|unknown")  # a line of the journal: the key of an entry, or a row that is none of ours


class WandbRun:
    """A W&B run that is open.

    Args:
        folder: of the run.
        config: of the run.
        mode: `online` or `offline`.

    Raises:
        Exception: of any type: W&B is not installed, nobody is logged in, there is no network or no space.
    """

    def __init__(self, folder: Path, config: Config, mode: Any) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb  # slow, and not needed with `track.mode: off`

        track = config.track
        self.id, self._folder = _id(folder / "wandb" / "id"), folder
        with hidden():
            self._run: Any = wandb.init(
                id=self.id,
                resume="allow",
                reinit="create_new",  # beside a run that the user's own script has open
                project=chosen("WANDB_PROJECT", track.project, TrackConfig().project),
                name=os.environ.get("WANDB_NAME") or folder.resolve().name,
                # None: W&B reads its own variable (WANDB_ENTITY, WANDB_RUN_GROUP, WANDB_JOB_TYPE, WANDB_TAGS, WANDB_NOTES).
                entity=track.entity or None,
                group=track.group or None,
                job_type=track.job_type or None,
                tags=track.tags or None,
                notes=track.notes or None,
                dir=str(folder),
                mode=mode,
                config=flat(load(as_yaml(config), "config")),
                settings=wandb.Settings(init_timeout=30, console="off"),  # seconds; and the console output is not recorded
            )
        self._define_axes()
        # Of what was sent before a kill, W&B may not have received the end: so its server is asked online, and its own files offline.
        received = steps(folder, self.id) if self._run.offline else self._run.step
        self._journal = folder / "wandb" / "sent.txt"  # keys of the entries, one a line; the number of a line is the W&B step
        keys = _lines(self._journal)[:received]
        self._damaged = [at for at, key in enumerate(keys) if not KEY.fullmatch(key)]  # lines whose entries were sent, and are not named
        self._keys = [*keys, *["unknown"] * (received - len(keys))]  # perhaps rows that another script logged
        self._sent = set(self._keys)
        self._write_journal()

    def _define_axes(self) -> None:
        for axis in ("cycle", *dict.fromkeys(AXES.values())):
            self._run.define_metric(axis)
        self._run.define_metric("*", step_metric="cycle")
        for metric, axis in AXES.items():
            self._run.define_metric(metric, step_metric=axis)

    def send(self, entries: Iterable[Entry]) -> None:
        """Send those entries that W&B has not received. Entries come in one order, so damaged lines are those of the first that no line names."""
        for entry in entries:
            if entry.key in self._sent:
                continue
            if self._damaged:
                self._keys[self._damaged.pop(0)] = entry.key
                self._write_journal()
            else:
                with self._journal.open("a") as journal:  # before it is sent: a key too many is found out at the next start
                    journal.write(entry.key + "\n")
                self._send(entry.content(), len(self._keys))
                self._keys.append(entry.key)
            self._sent.add(entry.key)

    def _write_journal(self) -> None:
        write_text(self._journal, "".join(f"{key}\n" for key in self._keys))

    def _send(self, content: Content, step: int) -> None:
        # First what has no step: where W&B's files hold the row, they hold these too.
        for artifact in content.artifacts:
            self._log_artifact(artifact)
        for text in content.alerts:
            self._run.alert(f"{self._folder.resolve().name}: guard", text, level="WARN", wait_duration=0)
        self._run.log({name: as_wandb(value) for name, value in content.row.items()}, step=step)

    def _log_artifact(self, content: Artifact) -> None:
        import wandb

        metadata = {**dict(content.figures), "made_from": [self._named(each) for each in content.made_from]}
        artifact = wandb.Artifact(self._named(content.name), content.kind, metadata=metadata)
        for name, file in content.files.items():
            if not content.uploaded:
                artifact.add_reference(file.resolve().as_uri(), name=name)
            else:  # weights are never written again, so that no copy of them is needed until they are uploaded
                artifact.add_file(str(file), name, skip_cache=True, policy="immutable" if file.suffix == ".safetensors" else "mutable")
        self._run.log_artifact(artifact, aliases=["latest", content.alias])

    def _named(self, name: str) -> str:
        """Return the name of an artifact in the project, which other runs share; the base model is none."""
        return name if name == "base model" else f"{self.id}-{name}"

    def summarise(self, summary: dict[str, Any]) -> None:
        """Send the result of the run: `base/rate`, `warm_start/rate`, `before/rate`, `after/rate`, each with low, high and n, and the gain."""
        flat = {f"{name}/{key}": value for name, part in summary.items() if isinstance(part, dict) and "rate" in part for key, value in part.items()}
        self._run.summary.update(
            flat | {key: summary[key] for key in ("before_is", "gain", "gain_low", "gain_high", "p_value", "cycles", "promoted")}
        )

    def close(self, failed: bool) -> None:
        """Finish the W&B run, as failed if `failed`."""
        with contextlib.suppress(Exception):  # what could not be sent is in the run's folder
            self._run.finish(exit_code=int(failed))


def _lines(file: Path) -> list[str]:
    """Return the lines of a file, a last one without its end too; [] where there is no file."""
    *whole, last = file.read_text("utf-8", errors="replace").split("\n") if file.exists() else [""]
    return [*whole, *([last] if last else [])]


def _id(file: Path) -> str:
    """Return the id in a file; where it is missing or damaged, a new one, which is written into it."""
    known = file.read_text("utf-8", errors="replace") if file.exists() else ""
    name = known.strip().strip("\ufeff")
    if not is_id(name) or "\ufffd" in name:
        name = run_id() or secrets.token_hex(4)  # the agent of a sweep gives an id
    if name != known:
        write_text(file, name)
    return name


def chosen(variable: str, given: str, usual: str) -> Any:
    """Return the value of a config key, or, if that is only the default, of an environment variable that is set."""
    return os.environ.get(variable) or usual if given == usual else given


def flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries, and lists of them, as one with the names of overrides: `tune.learning_rate`."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    named = {f"{prefix}{key}": value for key, value in pairs}
    nested = {
        key: value for key, value in named.items() if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict))
    }
    return {key: value for key, value in named.items() if key not in nested} | {
        name: each for key, value in nested.items() for name, each in flat(value, f"{key}.").items()
    }


def as_wandb(value: Any) -> Any:
    """Return a number as it is, a file as picture or video, and a list of dicts as a table."""
    import wandb

    if isinstance(value, Path) and not value.is_file():  # deleted since; the rest is sent all the same
        return None
    if isinstance(value, Path):
        return wandb.Video(str(value), format="mp4") if value.suffix == ".mp4" else wandb.Image(str(value))
    if isinstance(value, list):
        shown: list[Any] = [name for name in COLUMNS if any(row[name] is not None for row in value)]  # without columns that say nothing
        return wandb.Table(columns=shown, data=[[as_wandb(row[name]) for name in shown] for row in value])
    return value
