"""What stage `ground` has played so far, in files until the stage ends: a run that goes on after a kill does not play these episodes again."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
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
    for file in folder.glob("scenes-*"):  # also one that a kill has left half written
        file.unlink()


class Kept:
    """Keeps the results of jobs whose first argument is a seed, for one environment.

    Args:
        folder: of the files, which hold frames as they are, and all else as JSON.
        kind: number of the environment in the config.
        code: digest of the code that the results depend on. Files of other code, and damaged ones, are removed.
    """

    def __init__(self, folder: Path, kind: int, code: str = "") -> None:
        self._folder, self._name, self._code = folder, f"scenes-{kind}-", code
        self._file_of: dict[int, Path] = {}
        for file in sorted(folder.glob(f"{self._name}*.npz")):
            self._file_of |= dict.fromkeys(_read(file, code), file)
        self._open: tuple[Path | None, dict[int, Any]] = None, {}
        self._new: dict[int, Any] = {}
        self._bytes, self._since = 0, time.monotonic()

    def around(self, play: Play) -> Play:
        """Return a `Play` that gives back what is kept, and lets `play` do the other jobs."""

        def run(function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, Call]]:
            jobs = iter(jobs)
            for job in jobs if self._file_of else ():
                result = self._again(job[0])
                if result is not None:
                    yield job, lambda result=result: result
                else:  # it was faulty, or is the first new one
                    yield from self._played(play(function, [job]))
                if not self._file_of:
                    break
            yield from self._played(play(function, jobs))

        return run

    def _again(self, seed: int) -> Any:
        """Return a result that is kept; None: it is not."""
        file = self._file_of.pop(seed, None)
        if file is not None and self._open[0] != file:  # one file in memory at a time
            self._open = file, _read(file, self._code, whole=True)
        return self._open[1].pop(seed, None) if file is not None else None

    def _played(self, calls: Iterable[tuple[Job, Call]]) -> Iterator[tuple[Job, Call]]:
        for job, call in calls:

            def keep(seed: int = job[0], call: Call = call) -> Any:
                result = self._new[seed] = call()
                self._bytes += sum(each.frames.nbytes for each in (result if isinstance(result, list) else [result]))
                return result

            yield job, keep
            # Not within `keep`, whose caller takes any error for one of the environment.
            if self._new and (time.monotonic() - self._since > EVERY or self._bytes > MOST):
                self._write()

    def _write(self) -> None:
        arrays: list[np.ndarray] = []
        index = json.dumps([[seed, _packed(result, arrays)] for seed, result in self._new.items()])
        file = next(file for number in count() if not (file := self._folder / f"{self._name}{number}.npz").exists())
        named = {f"array{number}": array for number, array in enumerate(arrays)}

        def put(path: Path) -> None:
            with path.open("wb") as stream:  # a path without the suffix .npz would get one
                np.savez(stream, code=np.array(self._code), index=np.array(index), **named)  # pyright: ignore[reportArgumentType]

        write(file, put)
        self._new, self._bytes, self._since = {}, 0, time.monotonic()


def _read(file: Path, code: str, whole: bool = False) -> dict[int, Any]:
    """Return the seeds in a file with their results, or with None; a file of other code, or a damaged one, is removed, and is as if it were empty."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            if str(content["code"]) == code:
                return {seed: _unpacked(packed, content) if whole else None for seed, packed in json.loads(str(content["index"]))}
    except Exception:  # numpy and zipfile raise many types
        pass
    file.unlink(missing_ok=True)  # it may be asked for again
    return {}


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
