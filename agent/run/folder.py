"""A run is a folder. What a stage has finished lies there under a checksum, and is read instead of made again.

```
config.yaml  environment.json (what its frames depend on)  base.json (which base model)  metrics.jsonl  summary.json  report.html  wandb/
clock.json (which cycles `minutes` let begin)
ground/      model/ (the base model after its bearings), ground.json, where the stage ran
start/       base.json and .safetensors (the base model), demonstrations (LeRobotDataset), tune.json, policy.safetensors (the warm start),
             evaluate.json (its gate); referee.json and .safetensors, where `label.judge` is one
cycle-001/   episodes (LeRobotDataset), label.json, curate.json, tune.json, policy.safetensors, evaluate.json, cycle.json
exams/       one scorecard a policy and exam
films/       mp4
```
"""

import os
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.config.config import Config
from agent.config.read import differences, read, write
from agent.records import Episode, Player
from agent.run import base, layout
from agent.run.clock import time_for
from agent.run.files import load, save, write_text
from envs import EnvConfig

if TYPE_CHECKING:
    from agent.rollout.environments import Workers
    from agent.rollout.pool import Crew
    from policies.vlm import Vlm

SEEDS = {"practice": 0, "demonstrations": 10_000_000, "gate": 20_000_000, "final": 30_000_000, "ground": 40_000_000}  # ranges of 10 million
FREE = {"cycles", "minutes", "threads", "processes", "track"}  # config sections that may change when a run goes on


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
    """Folder, config, model and environments of one run; nothing is written before `begin`.

    Args:
        folder: of the run.
        config: of a new run; None reads the folder's own.
        stop_after: name of a stage: `Halt` is raised when it has been finished once.

    Raises:
        ValueError: the folder holds no run, or a run with another config.
    """

    def __init__(self, folder: Path, config: Config | None = None, stop_after: str = "") -> None:
        self.folder, self._stop_after = folder, stop_after
        own = folder / "config.yaml"
        if config is None and not own.exists():
            raise ValueError(f"There is no run in {folder} (no config.yaml); start one with: etude improve CONFIG {folder}")
        saved = read(own) if own.exists() else None
        self.config = config or saved or Config()
        if saved is not None:
            changed = [key for key in differences(saved, self.config) if key not in FREE]
            if changed:
                raise ValueError(
                    f"{folder} holds a run with another {' and '.join(changed)} config; name a new folder, or give the same config to go on."
                )
        self._changed = saved is None or bool(differences(saved, self.config))
        self._place: os.stat_result | None = None  # of the folder, once something is written there
        self._mark = time.time()  # when the last stage ended
        self._policy: Any = None
        self._student: Any = None
        self._base = ""
        self._loaded: Player | None = None
        self._workers: Any = None
        self._rehearsal: Any = None
        self._crew: Any = None
        self._opened: weakref.WeakSet[Workers] = weakref.WeakSet()

    def begin(self) -> "Run":
        """Write down what this run is, and return it; from now on its stages write too.

        Raises:
            ValueError: the folder cannot be written.
        """
        text = write(self.config)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.folder} cannot be made ({error.strerror}); name another folder.") from error
        if self._changed:
            write_text(self.folder / "config.yaml", text)
        self._place = self.folder.stat()
        if self._base:
            base.write_down(self.folder, self.config.policy.model, self._base)
        return self

    def still_there(self) -> None:
        """Look whether the folder lies where it did when the run began.

        Raises:
            ValueError: it does not, and what is written now would be of no run.
        """
        if self._place and not (self.folder.exists() and os.path.samestat(self._place, self.folder.stat())):
            raise ValueError(f"{self.folder} was renamed, deleted or replaced while the run worked in it; put it back, and the same command goes on.")

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
            from agent.rollout.pool import Crew

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
        from agent.rollout.environments import Workers

        opened = Workers(envs, self.config.collect.num_envs)
        self._opened.add(opened)
        return opened

    @property
    def policy(self) -> "Vlm":
        """Return the one model in memory; `play` says whose weights it holds."""
        if self._policy is None:
            self._student = None
            self._policy = self._load({"model": str(model)} if (model := base.grounded(self.folder)) else {})
        return self._policy

    def student(self, train: str) -> "Vlm":
        """Return the base model, to learn to see an environment with all of it or with its text model; there is one, until `policy` is loaded."""
        if self._student is None:
            self._student = self._load({"train": train})
        return self._student

    def _load(self, changes: dict[str, Any]) -> "Vlm":
        import torch

        import policies

        torch.set_num_threads(self.config.threads)
        actions = self.workers.actions
        policy = policies.load(self.config.policy.model_copy(update=changes), actions.low, actions.high, actions.counts)
        if "model" not in changes:
            self._base = policy.base_name
            base.compare(self.folder, self.config.policy.model, self._base)
            if self._place:
                base.write_down(self.folder, self.config.policy.model, self._base)
        return policy

    def player(self, folder: Path) -> Player:
        """Return the policy that stage `tune` left in a folder."""
        return Player(folder / "policy.safetensors", load(folder / "tune.json")["policy"])

    def play(self, player: Player) -> "Vlm":
        """Return the model with a player's weights in it.

        Raises:
            ValueError: they cannot be read, or are not those that were recorded under the player's name.
        """
        policy = self.policy
        if self._loaded != player:
            self._loaded = None
            try:
                policy.load(player.weights)
            except ValueError as error:
                raise ValueError(f"{player.weights}: {error}; {layout.remedy(player.weights.parent)}") from error
            if player.name not in ("", policy.name):
                raise ValueError(
                    f"{player.weights} holds the weights {policy.name}, and {player.name} were recorded; {layout.remedy(player.weights.parent)}"
                )
            self._loaded = player
        return policy

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
            ValueError: the file is damaged, or cannot be written, or the run's folder is not where it was.
        """
        self.still_there()
        if file.exists():
            return load(file)
        content = make()
        if isinstance(content, dict):
            content = {**content, "seconds": round(time.time() - self._mark, 2)}
            self._mark = time.time()
        self.still_there()
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
        return Cycle(number, layout.cycle_folder(self.folder, number), self.config.at(number))

    def cycles(self) -> Iterator[Cycle]:
        """Yield the cycles that are not finished, until the config's number or minutes are used up."""
        for number in range(1, self.config.cycles + 1):
            cycle = self.cycle(number)
            if (cycle.folder / "cycle.json").exists():
                continue
            if not time_for(self.folder, number, self.config.minutes):
                return
            yield cycle

    def results(self) -> list[dict[str, Any]]:
        """Return what the finished cycles came to, in order."""
        files = (folder / "cycle.json" for folder in layout.cycle_folders(self.folder).values())
        return [load(file) for file in files if file.exists()]

    def seconds(self) -> float:
        """Return the seconds of work that the finished stages took, over all sessions."""
        return sum(self.seconds_by_stage().values())

    def seconds_by_stage(self) -> dict[str, float]:
        """Return the seconds of work by stage."""
        return layout.seconds_by_stage(self.folder)

    def episodes(self, folder: Path) -> list[Episode]:
        """Return the episodes stored in a stage's folder."""
        from agent.run import episodes as dataset

        return dataset.read(folder / "episodes")

    def metrics(self) -> list[dict[str, Any]]:
        """Return every logged row so far, in the order of the stages: what `metrics.jsonl` holds."""
        return layout.metrics(self.folder)
