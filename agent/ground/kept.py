"""What stage `ground` has played so far, in files until the stage ends: a run that goes on after a kill does not play these episodes again."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from agent.ground.clips import Clip
from agent.ground.scenes import Question, Scene
from agent.rollout.copies import Call, Job, Play
from agent.run.files import write

EVERY = 30.0  # seconds between two files: where scenes are drawn faster than that, nothing is written
MOST = 2**28  # bytes of frames in a file, about
RECORDS = {record.__name__: record for record in (Scene, Question, Clip)}


def forget(folder: Path) -> None:
    """Remove the files of all environments."""
    for file in folder.glob("scenes-*.npz"):
        file.unlink()


class Kept:
    """Keeps the results of jobs whose first argument is a seed, for one environment.

    Args:
        folder: of the files, which hold frames as they are, and all else as JSON.
        kind: number of the environment in the config.
    """

    def __init__(self, folder: Path, kind: int) -> None:
        self._folder, self._name = folder, f"scenes-{kind}-"
        self._file_of = {seed: file for file in folder.glob(f"{self._name}*.npz") for seed, _ in _index(file)}
        self._read: tuple[Path | None, dict[int, Any]] = None, {}
        self._new: dict[int, Any] = {}
        self._bytes, self._since = 0, time.monotonic()

    def around(self, play: Play) -> Play:
        """Return a `Play` that gives back what is kept, and lets `play` do the other jobs."""

        def run(function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, Call]]:
            jobs = iter(jobs)
            for job in jobs if self._file_of else ():
                if job[0] in self._file_of:
                    yield job, partial(self._again, job[0])
                else:  # it was faulty, or is the first new one
                    yield from self._played(play(function, [job]))
                if not self._file_of:
                    break
            yield from self._played(play(function, jobs))

        return run

    def _again(self, seed: int) -> Any:
        file = self._file_of.pop(seed)
        if self._read[0] != file:  # one file in memory at a time
            self._read = file, _results(file)
        return self._read[1].pop(seed)

    def _played(self, calls: Iterable[tuple[Job, Call]]) -> Iterator[tuple[Job, Call]]:
        for job, call in calls:
            yield job, partial(self._keep, job[0], call)

    def _keep(self, seed: int, call: Call) -> Any:
        result = self._new[seed] = call()
        self._bytes += sum(each.frames.nbytes for each in (result if isinstance(result, list) else [result]))
        if time.monotonic() - self._since > EVERY or self._bytes > MOST:
            self._write()
        return result

    def _write(self) -> None:
        arrays: list[np.ndarray] = []
        index = json.dumps([[seed, _packed(result, arrays)] for seed, result in self._new.items()])
        file = next(file for number in count() if not (file := self._folder / f"{self._name}{number}.npz").exists())
        named = {f"array{number}": array for number, array in enumerate(arrays)}

        def put(path: Path) -> None:
            with path.open("wb") as stream:  # a path without the suffix .npz would get one
                np.savez(stream, index=np.array(index), **named)  # pyright: ignore[reportArgumentType]

        write(file, put)
        self._new, self._bytes, self._since = {}, 0, time.monotonic()


def _index(file: Path) -> list[list[Any]]:
    with np.load(file, allow_pickle=False) as content:
        return json.loads(str(content["index"]))


def _results(file: Path) -> dict[int, Any]:
    with np.load(file, allow_pickle=False) as content:
        return {seed: _unpacked(packed, content) for seed, packed in json.loads(str(content["index"]))}


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return a value as JSON holds it; its arrays are appended to `arrays`."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if is_dataclass(value):
        return {"record": type(value).__name__, "values": [_packed(getattr(value, each.name), arrays) for each in fields(value)]}
    if isinstance(value, dict):
        return {"keys": list(value), "values": [_packed(each, arrays) for each in value.values()]}
    if isinstance(value, tuple):
        return {"tuple": [_packed(each, arrays) for each in value]}
    return [_packed(each, arrays) for each in value] if isinstance(value, list) else value


def _unpacked(value: Any, arrays: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(each, arrays) for each in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[f"array{value['array']}"]
    if "tuple" in value:
        return tuple(_unpacked(each, arrays) for each in value["tuple"])
    values = [_unpacked(each, arrays) for each in value["values"]]
    return RECORDS[value["record"]](*values) if "record" in value else dict(zip(value["keys"], values, strict=True))
