"""A run is a folder. What a stage has finished lies there under a checksum, and is read instead of made again.

```
config.yaml  environment.json (what its frames depend on)  base.json (which base model)  metrics.jsonl  summary.json  report.html  wandb/
clock.json (which cycles `minutes` let begin)  champion.json (which weights are the champion's, and what its actions are)
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.config import Config
from agent.config.read import differences, read, write
from agent.records import Episode, Player
from agent.run import base, layout
from agent.run import episodes as dataset
from agent.run.clock import time_for
from agent.run.files import load, save, write_text

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
    """Folder and config of one run; nothing is written before `begin`. What it works with is a `rollout.session.Session`.

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
        saved = read(own, own=True) if own.exists() else None
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
        self._recent: dict[Path, list[Episode]] = {}  # what this process has just written, by folder
        self._base = ""  # fingerprint of the base model, once it was loaded

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
        self.began_from(self._base)
        return self

    def began_from(self, weights: str) -> None:
        """Object to another base model than the run began from; write down which it is, once the run has begun.

        Args:
            weights: fingerprint of the base model that was loaded; "": none was.

        Raises:
            ValueError: it is another one.
        """
        self._base = weights
        if weights:
            base.compare(self.folder, self.config.policy.model, weights)
        if weights and self._place:
            base.write_down(self.folder, self.config.policy.model, weights)

    def still_there(self) -> None:
        """Look whether the folder lies where it did when the run began.

        Raises:
            ValueError: it does not, and what is written now would be of no run.
        """
        if self._place and not (self.folder.exists() and os.path.samestat(self._place, self.folder.stat())):
            raise ValueError(f"{self.folder} was renamed, deleted or replaced while the run worked in it; put it back, and the same command goes on.")

    def player(self, folder: Path) -> Player:
        """Return the policy that stage `tune` left in a folder."""
        return Player(folder / "policy.safetensors", load(folder / "tune.json")["policy"])

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
        """Return the episodes stored in a stage's folder; those of the present cycle and the demonstrations are not decoded anew."""
        recent = self._recent.get(folder, [])
        return list(recent) if recent and len(recent) == dataset.count(folder / "episodes") else dataset.read(folder / "episodes")

    def store(self, folder: Path, shard: Sequence[Episode], rates: Mapping[str, float]) -> None:
        """Append episodes to the dataset of a stage's folder.

        Args:
            folder: of the stage.
            shard: not empty.
            rates: decisions a second, by task; `fps` is that of the first.

        Raises:
            ValueError: they cannot be written, or the run's folder is not where it was.
        """
        self.still_there()
        before = dataset.count(folder / "episodes")
        cameras = self.config.envs[0].frame_names
        dataset.append(folder / "episodes", shard, fps=next(iter(rates.values())), rates=dict(rates), cameras=cameras)
        stays = {self.folder / "start", *folder.parents, folder}  # a cycle before is not needed as often
        self._recent = {each: held for each, held in self._recent.items() if stays & {each, *each.parents} - {self.folder, *self.folder.parents}}
        if len(self._recent.get(folder, [])) == before:
            self._recent[folder] = [*self._recent.get(folder, []), *shard]

    def metrics(self) -> list[dict[str, Any]]:
        """Return every logged row so far, in the order of the stages: what `metrics.jsonl` holds."""
        return layout.metrics(self.folder)
