"""A run is a folder. What a stage has finished lies there under a checksum, and is read instead of made again.

```
config.yaml  environment.json (what its frames depend on)  base.json (which base model)  metrics.jsonl  summary.json  report.html  wandb/
ground/      model/ (the base model after its bearings), ground.json, where the stage ran
start/       demonstrations (LeRobotDataset), tune.json, policy.safetensors; referee.json and .safetensors, where `label.judge` is one
cycle-001/   episodes (LeRobotDataset), label.json, curate.json, tune.json, policy.safetensors, evaluate.json, cycle.json
exams/       one scorecard a policy and exam
films/       mp4
```
"""

import json
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from agent.config import Config
from agent.configure import read
from agent.files import load, save, write_text
from agent.records import Episode
from envs import EnvConfig
from envs.faults import in_words

if TYPE_CHECKING:
    from agent.crew import Crew
    from agent.workers import Workers
    from policies.vlm import Vlm

SEEDS = {"practice": 0, "demonstrations": 10_000_000, "gate": 20_000_000, "final": 30_000_000, "ground": 40_000_000}  # ranges of 10 million
FREE = {"cycles", "minutes", "threads", "processes", "track"}  # config sections that may change when a run goes on
STAGES = ("collect", "label", "curate", "tune", "evaluate")


class Halt(Exception):
    """The stage that was asked for is finished."""


@dataclass(frozen=True)
class Cycle:
    """One turn of the loop."""

    number: int
    """1, 2, ..."""
    folder: Path
    config: Config
    """Of the run, as it is in this cycle (`phases`)."""


class Run:
    """Folder, config, model and environments of one run.

    Args:
        folder: of the run; made if it does not exist.
        config: of a new run; None reads the folder's own.
        stop_after: name of a stage: `Halt` is raised when it has been finished once.

    Raises:
        ValueError: the folder cannot be written, holds no run, or a run with another config.
    """

    def __init__(self, folder: Path, config: Config | None = None, stop_after: str = "") -> None:
        self.folder, self._stop_after = folder, stop_after
        own = folder / "config.yaml"
        if config is None and not own.exists():
            raise ValueError(f"There is no run in {folder} (no config.yaml); start one with: etude improve CONFIG {folder}")
        saved = read(own) if own.exists() else None
        self.config = config or saved or Config()
        if saved is not None:
            changed = [key for key in Config.model_fields if key not in FREE and getattr(saved, key) != getattr(self.config, key)]
            if changed:
                raise ValueError(
                    f"{folder} holds a run with another {' and '.join(changed)} config; name a new folder, or give the same config to go on."
                )
        if saved != self.config:
            write_text(own, yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False))
        self._mark = time.time()  # when the last stage ended
        self._policy: Any = None
        self._loaded: Path | None = None
        self._workers: Any = None
        self._rehearsal: Any = None
        self._crew: Any = None
        self._opened: weakref.WeakSet[Workers] = weakref.WeakSet()

    # --- model and environments, made when first needed ----------------------------------------------------------------

    @property
    def workers(self) -> "Workers":
        """Return the environments of this run."""
        if self._workers is None:
            self._workers = self._open(self.config.envs)
        return self._workers

    @property
    def crew(self) -> "Crew":
        """Return the processes that practise and sit exams, where there are several."""
        if self._crew is None:
            from agent.crew import Crew

            _ = self.policy  # what the first load of the model writes down is written here, once
            self._crew = Crew(self.folder, self.config.processes)
        return self._crew

    @property
    def rehearsal(self) -> "Workers":
        """Return the environments for practice: where the critic labels, they go on after a success if they can, so as not to tell of it."""
        if self.config.label.by != "critic":
            return self.workers
        if self._rehearsal is None:
            self._rehearsal = self._open(tuple(env.model_copy(update={"until_success": False}) for env in self.config.envs))
        return self._rehearsal

    def varied(self, name: str) -> "Workers":
        """Return environments of a variation that `evaluate.variations` names."""
        changes = self.config.evaluate.variations[name]
        return self._open(tuple(env.model_copy(update={"kwargs": {**env.kwargs, **changes}}) for env in self.config.envs))

    def _open(self, envs: tuple[EnvConfig, ...]) -> "Workers":
        from agent.workers import Workers

        opened = Workers(envs, self.config.collect.num_envs)
        self._opened.add(opened)
        return opened

    @property
    def policy(self) -> "Vlm":
        """Return the one model in memory; `play` says whose weights it holds."""
        if self._policy is None:
            file = self.folder / "ground" / "ground.json"
            grounded = file.exists() and load(file)["figures"]["steps"]
            self._policy = self._load({"model": str(file.parent / "model")} if grounded else {})
        return self._policy

    def recognise(self) -> str:
        """Write down what the environment's frames depend on; a run that goes on gets a sentence for what is not as it was, else ''."""
        from envs.fingerprint import differences, fingerprint

        file = self.folder / "environment.json"
        try:
            now = {adapter.config.title: adapter.apply(fingerprint) for adapter in self.workers.firsts}
        except Exception as error:  # an environment may raise anything; here it costs only the fingerprint
            now = {self.config.task: {"id": self.config.task, "fault": f"{in_words(error)}"}}
        if not file.exists():
            write_text(file, json.dumps(now, indent=1) + "\n")
        then = json.loads(file.read_text())
        then = {self.config.task: then} if "frames" in then else then  # as it was before runs had several environments
        changed = "; ".join(filter(None, (differences(then.get(title, {}), each) for title, each in now.items())))
        return changed and f"This run began where frames look different, so its exams cannot be compared: {changed}."

    def student(self, train: str) -> "Vlm":
        """Return the base model, to learn to see an environment with all of it or with its text model."""
        return self._load({"train": train})

    def settle_base(self, student: "Vlm") -> None:
        """Make what the student has become the base model of this run."""
        folder = self.folder / "ground" / "model"
        student.base.save_pretrained(folder)
        student.processor.save_pretrained(folder)

    def _load(self, changes: dict[str, Any]) -> "Vlm":
        import torch

        import policies

        torch.set_num_threads(self.config.threads)
        first, *others = self.workers.firsts
        actions = first.actions
        for other in others:
            if any(not np.array_equal(getattr(other.actions, name), getattr(actions, name)) for name in ("low", "high", "counts")):
                raise ValueError(f"{other.config.title} takes other actions than {first.config.title}; environments of one run must share them.")
            if other.state_size != first.state_size:
                sizes = f"{first.state_size} numbers in {first.config.title} and {other.state_size} in {other.config.title}"
                raise ValueError(f"The recorded state has {sizes}; name keys of one size in env.state of each.")
        policy = policies.load(self.config.policy.model_copy(update=changes), actions.low, actions.high, actions.counts)
        if "model" not in changes:
            self._begin_from(policy.base_name)
        return policy

    def _begin_from(self, base: str) -> None:
        """Write down which base model this run begins from, or object to another one: its champions hold only what was trained."""
        file, model = self.folder / "base.json", self.config.policy.model
        if not file.exists():  # a run that trained before this was written down began from nobody knows which
            began = (self.folder / "start" / "tune.json").exists()
            write_text(file, json.dumps({"model": model, "weights": None if began else base}) + "\n")
        elif (then := self.base) not in (None, base):
            raise ValueError(f"{self.folder} began from {model!r} with weights {then}, and {model!r} now has {base}; name a new folder.")

    @property
    def base(self) -> str | None:
        """Return the fingerprint of the base model that this run began from; None where it was not written down."""
        file = self.folder / "base.json"
        return json.loads(file.read_text())["weights"] if file.exists() else None

    def play(self, weights: Path) -> "Vlm":
        """Return the model with these weights in it."""
        if self._loaded != weights:
            self.policy.load(weights)
            self._loaded = weights
        return self.policy

    def close(self) -> None:
        """End the processes that this run has begun, and free its environments."""
        if self._crew is not None:
            self._crew.close()
        for workers in self._opened:
            workers.close()

    def dirty(self) -> None:
        """Say that the model's weights are being trained, so `play` must load anew."""
        self._loaded = None

    # --- stages on disk --------------------------------------------------------------------------------------------

    def keep(self, file: Path, make: Callable[[], Any]) -> Any:
        """Return the JSON content of a stage file; if it is not there, make and write it.

        Its `seconds` count from the end of the stage before, so that reading, filming and waiting are in them too.

        Raises:
            ValueError: the file is damaged, or cannot be written.
        """
        if file.exists():
            return load(file)
        content = make()
        if isinstance(content, dict):
            content = {**content, "seconds": round(time.time() - self._mark, 2)}
            self._mark = time.time()
        save(file, content)
        return load(file)

    def finished(self, stage: str) -> None:
        """Say that a stage of a cycle is finished.

        Raises:
            Halt: this is the stage after which to stop.
        """
        if stage == self._stop_after:
            raise Halt(stage)

    def cycle(self, number: int) -> Cycle:
        """Return cycle `number`, 1, 2, ..."""
        return Cycle(number, self.folder / f"cycle-{number:03d}", self.config.at(number))

    def cycles(self) -> Iterator[Cycle]:
        """Yield the cycles that are not finished, until the config's number or minutes are used up."""
        for number in range(1, self.config.cycles + 1):
            cycle = self.cycle(number)
            if (cycle.folder / "cycle.json").exists():
                continue
            if self.config.minutes and self.seconds() > 60 * self.config.minutes:
                return
            yield cycle

    def results(self) -> list[dict[str, Any]]:
        """Return what the finished cycles came to, in order."""
        return [load(file) for file in sorted(self.folder.glob("cycle-*/cycle.json"))]

    def seconds(self) -> float:
        """Return the seconds of work that the finished stages took, over all sessions."""
        return sum(self.seconds_by_stage().values())

    def seconds_by_stage(self) -> dict[str, float]:
        """Return the seconds of work by stage."""
        total: dict[str, float] = {}
        for file in (file for part in ("ground", "start", "cycle-*", "exams") for file in self.folder.glob(f"{part}/*.json")):
            stage = "evaluate" if file.parent.name == "exams" else file.stem
            if stage != "cycle":
                total[stage] = total.get(stage, 0.0) + float(load(file).get("seconds", 0.0))
        return {stage: round(seconds, 1) for stage, seconds in sorted(total.items())}

    def episodes(self, folder: Path) -> list[Episode]:
        """Return the episodes stored in a stage's folder."""
        from agent import dataset

        return dataset.read(folder / "episodes")

    def metrics(self) -> list[dict[str, Any]]:
        """Return every logged row so far, in the order of the stages: what `metrics.jsonl` holds."""
        rows = []
        for folder in [self.folder / "ground", self.folder / "start", *sorted(self.folder.glob("cycle-*"))]:
            for stage in ("ground", "demonstrate", "referee", "collect", "critic", "countdown", *STAGES[1:], "cycle"):
                if (folder / f"{stage}.json").exists():
                    content = load(folder / f"{stage}.json")
                    number = int(folder.name[-3:]) if folder.name.startswith("cycle") else 0
                    rows += [{"cycle": number, "stage": stage, **row} for row in content.get("rows", [])]
                    rows.append({"cycle": number, "stage": stage, **content.get("figures", {}), "seconds": content.get("seconds", 0.0)})
        return rows
