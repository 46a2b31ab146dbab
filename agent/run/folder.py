"""A run as a folder: its config, the files of its stages, its episodes. A finished stage is read from disk, not run again.

```
config.yaml       the config                         base.json         fingerprint of the base model
environment.json  what its frames depend on          champion.json     the champion's weights, action space, pictures
metrics.jsonl     every figure                       clock.json        which cycles `max_minutes` let begin
summary.json      base, warm start and champion      report.html       one page
ground/           ground.json, model/ (the grounded base model); only if the stage ran
start/            base.json and .safetensors, demonstrate.json, episodes/ (demonstrations), tune.json, policy.safetensors (the warm start),
                  evaluate.json (its gate); base_detector.json and .safetensors, if `label.detector` is base
cycle-001/        collect.json, episodes/, lookahead/episodes/, detector.json, steps_to_go.json, label.json, curate.json, tune.json,
                  policy.safetensors (the candidate), evaluate.json, cycle.json (written last: the cycle is finished),
                  examples/pairs.json (some pairs and look-ahead decisions with pictures, for the report)
evaluate/         a scorecard for each policy and evaluation
videos/           mp4                                code/             the user's files with environment and policy class
```

`episodes/` is a LeRobotDataset v3.0. Every .json file of a stage has a checksum.
"""

import os
import reprlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.config import Config
from agent.config.differences import differences
from agent.config.read import read_own, write
from agent.records import Checkpoint, Episode
from agent.run import base, layout
from agent.run import episodes as dataset
from agent.run.clock import time_for
from agent.run.code import keep_code
from agent.run.files import load, save, write_text
from agent.run.metrics import metrics

# Config keys that may differ when a run goes on: how long, how fast and where it works, and what is shown of it.
FREE = {"cycles", "max_minutes", "threads", "processes", "track", "env.timeout", "collect.num_envs"}
FREE |= {"policy.device", "policy.batch_size", "tune.micro_batch_tokens"}


class Halt(Exception):
    """Raised when the stage to stop after is finished (`--until`); no error."""


@dataclass(frozen=True)
class Cycle:
    """One improvement cycle of a run."""

    number: int  # 1, 2, ...; 0 stands for the warm start
    folder: Path
    config: Config  # the run's, with the changes of the phases that have begun


class Run:
    """Folder and config of one run. Nothing is written before `begin`. Environments and model are in `agent.rollout.session.Session`.

    Args:
        folder: of the run.
        config: of a new run, or again of the one in the folder; None: the folder's own.
        stop_after: name of a stage; `Halt` is raised when the present cycle has finished it. Empty: never.

    Raises:
        ValueError: the folder holds no run, or a run with another config.
    """

    def __init__(self, folder: Path, config: Config | None = None, stop_after: str = "") -> None:
        self.folder, self._stop_after = folder, stop_after
        own = folder / "config.yaml"
        if config is None and not own.exists():
            raise ValueError(f"There is no run in {folder} (no config.yaml); start one with: etude improve CONFIG {folder}")
        saved = read_own(own) if own.exists() else None
        outer = next((each for each in folder.resolve().parents if (each / "config.yaml").exists() and (each / "base.json").exists()), None)
        if outer and saved is None:  # their files would be taken for one another's
            raise ValueError(f"{folder} lies in the run {outer}; name a folder outside it, or go on with that run: etude improve {outer}")
        self.config = config or saved or Config()
        changed = differences(saved, self.config) if saved is not None else {}
        fixed = [key for key in changed if not {key, key.split(".")[0]} & FREE]  # these would change what stored stages mean
        if fixed:
            sections = " and ".join(dict.fromkeys(key.split(".")[0] for key in fixed))
            raise ValueError(
                f"{folder} holds a run with another {sections} config ({_in_words(changed, fixed)}); "
                "name a new folder, or give the same config to go on."
            )
        self.changes = _in_words(changed, list(changed))
        """What the config has changed since the run's last start, as a phrase; '' if nothing."""
        self._changed = saved is None or bool(changed)  # then `begin` writes config.yaml
        self._place: os.stat_result | None = None  # device and inode of the folder; None before `begin`
        self._mark = time.time()  # end of the last stage in this process, seconds since 1970
        self._recent: dict[Path, list[Episode]] = {}  # episodes that this process has written, by the folder of their stage
        self._base, self._parts = "", dict[str, str]()  # fingerprint and parts of the base model; empty until it is loaded

    def begin(self) -> "Run":
        """Write the config into the folder, which is made if missing, and return the run; from now on its stages may write.

        Raises:
            ValueError: the folder cannot be written, or a file of the user's has changed.
        """
        text = write(self.config)  # before the folder is made: this raises if the config cannot be written as YAML
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.folder} cannot be made ({error.strerror}); name another folder.") from error
        keep_code(self.folder, self.config)
        if self._changed:
            write_text(self.folder / "config.yaml", text)
        self._place = self.folder.stat()
        self.began_from(self._base, self._parts)  # the model may have been loaded before, when nothing was to be written yet
        return self

    def began_from(self, weights: str, parts: dict[str, str]) -> None:
        """Check that the loaded base model is the one that the run began from; record it in a new run.

        Args:
            weights: fingerprint of the loaded base model; empty: none is loaded, and nothing happens.
            parts: hashes of its further parts, as `agent.run.base.compare` takes them.

        Raises:
            ValueError: the run began from another one.
        """
        self._base, self._parts = weights, parts
        if weights:
            base.compare(self.folder, self.config.policy.model, weights, parts)
        if weights and self._place:
            base.write_down(self.folder, self.config.policy.model, weights, parts)

    def still_there(self) -> None:
        """Check that the folder is still the one of `begin`: files that are written into another one would belong to no run.

        Raises:
            ValueError: it was renamed, deleted or replaced.
        """
        # Device and inode, because another folder may lie at the same path.
        if self._place and not (self.folder.exists() and os.path.samestat(self._place, self.folder.stat())):
            raise ValueError(f"{self.folder} was renamed, deleted or replaced while the run worked in it; put it back, and the same command goes on.")

    def checkpoint(self, folder: Path) -> Checkpoint:
        """Return the checkpoint that stage `tune` wrote into a folder."""
        return Checkpoint(folder / "policy.safetensors", load(folder / "tune.json")["policy"])

    def keep(self, file: Path, make: Callable[[], Any]) -> Any:
        """Return the JSON content of a stage file; if it does not exist, run the stage and write the file.

        Args:
            file: of the stage. While it does not exist, the stage is not finished, whatever else it has written.
            make: runs the stage and returns the content. A dict gets a key `seconds`: wall-clock time since the end of the stage before, in this
                process, so that decoding, videos and pauses between stages count too.

        Raises:
            ValueError: the file is damaged or cannot be written, or the run's folder was moved.
        """
        self.still_there()
        if file.exists():
            return load(file)
        content = make()  # may take hours; a kill within loses only what the stage has not stored by itself
        if isinstance(content, dict):
            content = {**content, "seconds": round(time.time() - self._mark, 2)}
            self._mark = time.time()
        self.still_there()
        save(file, content)
        return load(file)  # not `content`: a later start gets lists for tuples and texts for keys, so this one does too

    def finished(self, stage: str) -> None:
        """Note that a stage of a cycle is finished.

        Raises:
            Halt: it is the stage to stop after.
        """
        if stage == self._stop_after:
            raise Halt(stage)

    def cycle(self, number: int) -> Cycle:
        """Return cycle `number`, 1, 2, ..."""
        return Cycle(number, layout.cycle_folder(self.folder, number), self.config.at(number))

    def cycles(self) -> Iterator[Cycle]:
        """Yield the unfinished cycles in order, until `cycles` or `max_minutes` of the config are used up."""
        for number in range(1, self.config.cycles + 1):
            cycle = self.cycle(number)
            if (cycle.folder / "cycle.json").exists():  # finished by an earlier start
                continue
            if not time_for(self.folder, number, self.config.max_minutes):  # stores its answer
                return
            yield cycle

    def results(self) -> list[dict[str, Any]]:
        """Return the contents of `cycle.json` of the finished cycles, in order."""
        files = (folder / "cycle.json" for folder in layout.cycle_folders(self.folder).values())
        return [load(file) for file in files if file.exists()]

    def seconds(self) -> float:
        """Return the seconds of work in finished stages, over all starts of the run."""
        return sum(self.seconds_by_stage().values())

    def seconds_by_stage(self) -> dict[str, float]:
        """Return the seconds of work in finished stages, by stage."""
        return layout.seconds_by_stage(self.folder)

    def episodes(self, folder: Path | str) -> list[Episode]:
        """Return the episodes in the folder of a stage; from memory if this process wrote them in the present cycle, or as demonstrations.

        Args:
            folder: within the run: `run.cycle(1).folder`, or `cycle-001`.

        Raises:
            ValueError: the run has no such folder.
        """
        if not (folder := Path(folder)).is_relative_to(self.folder) and not (folder := self.folder / folder).is_dir():
            raise ValueError(f"There is no folder {folder}; give that of a stage, such as {self.folder / 'start'} or {self.folder / 'cycle-001'}.")
        recent = self._recent.get(folder, [])  # incomplete if an earlier process wrote the first shards
        return list(recent) if recent and len(recent) == dataset.count(folder / "episodes") else dataset.read(folder / "episodes")

    def store(self, folder: Path, shard: Sequence[Episode], rates: Mapping[str, float]) -> None:
        """Append episodes to the dataset in the folder of a stage.

        Args:
            folder: of the stage.
            shard: episodes, at least one.
            rates: decisions per second of simulated time, by task; the dataset's `fps` is that of the first task.

        Raises:
            ValueError: they cannot be written, or the run's folder was moved.
        """
        self.still_there()
        before = dataset.count(folder / "episodes")
        cameras = self.config.envs[0].frame_names
        dataset.append(folder / "episodes", shard, fps=next(iter(rates.values())), rates=dict(rates), cameras=cameras)
        # To save memory, only demonstrations and episodes of this cycle stay: entries in `start`, in `folder`, or above it within the run.
        stays = {self.folder / "start", *folder.parents, folder}
        self._recent = {path: held for path, held in self._recent.items() if stays & {path, *path.parents} - {self.folder, *self.folder.parents}}
        if len(self._recent.get(folder, [])) == before:  # complete so far; a later part alone would be useless
            self._recent[folder] = [*self._recent.get(folder, []), *shard]

    def metrics(self) -> list[dict[str, Any]]:
        """Return every logged row so far, in the order of the stages, as in `metrics.jsonl`."""
        return metrics(self.folder)


def _in_words(changed: Mapping[str, tuple[Any, Any]], keys: Sequence[str]) -> str:
    """Return 'KEY was OLD and is NEW' for some keys of `differences`."""
    return "; ".join(f"{key} was {reprlib.repr(changed[key][0])} and is {reprlib.repr(changed[key][1])}" for key in keys)
