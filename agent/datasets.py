"""`etude dataset`: what stored episodes are, several datasets as one, and the episodes of a run as a dataset of its own."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent.config.config import Config
from agent.config.read import read_own
from agent.records import Episode
from agent.rollout.environments import Environments
from agent.rollout.steps import every_step, step_by_step
from agent.run import episodes as dataset
from agent.run import listing
from agent.run.code import with_own_code
from agent.run.files import read_object, writable
from agent.run.layout import cycle_number
from envs.faults import in_words

SHARD = 128  # episodes written at a time


@dataclass(frozen=True)
class Kind:
    """What all episodes of a dataset have in common."""

    fps: float  # entries per second of simulated time, of the first task
    cameras: tuple[str, ...]
    rates: dict[str, float]  # the same by task, for timestamps


@dataclass(frozen=True)
class Info:
    """What a dataset holds."""

    folder: Path
    episodes: int
    successes: int
    faulty: int  # ended by a fault of the environment
    decisions: int
    instructions: int  # different ones
    fps: float  # entries per second of simulated time
    cameras: tuple[str, ...]
    mib: float


def datasets_of(folder: Path) -> list[Path]:
    """Return the datasets in a folder: itself, or those of a run in the order of its stages.

    Raises:
        ValueError: there is none.
    """
    if (folder / "meta" / "info.json").is_file():
        return [folder]
    found = [file.parent.parent for file in folder.rglob("episodes/meta/info.json")]
    if not found:
        raise ValueError(f"There is no dataset of etude in {folder}; give a run, or one of its folders `episodes`.")
    # Demonstrations first, as False sorts before True; then by the number of the cycle, since "cycle-1000" sorts before "cycle-999".
    return sorted(found, key=lambda root: [(part != "start", cycle_number(part), part) for part in root.relative_to(folder).parts])


def info(root: Path) -> Info:
    """Return what the dataset in a folder holds."""
    stored, kind = dataset.read(root), _kind(root)
    return Info(
        root, len(stored), sum(each.success for each in stored), sum(bool(each.faults) for each in stored), sum(map(len, stored)),
        # Without a decision there is no instruction: the reset failed.
        len({each.instruction for each in stored if len(each)}), kind["fps"], tuple(kind.get("cameras", ())),
        sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) / 2**20,
    )  # fmt: skip


def merge(folders: Sequence[Path], out: Path) -> tuple[int, int]:
    """Write the episodes of several datasets, or of all datasets of runs, into a new one; each episode once.

    Returns:
        How many were written, and how many were left out because they were there already.

    Raises:
        ValueError: a dataset is missing or damaged, they have other cameras or shapes, or a task two rates, or `out` has files. Nothing is written.
    """
    roots = [root for folder in folders for root in datasets_of(folder)]
    kind, seen, left = _kind_of(roots), set(), 0

    def once() -> Iterator[Episode]:
        nonlocal left
        for episode in (episode for root in roots for episode in dataset.read(root)):
            key = episode.id, episode.policy, episode.actions.tobytes()  # the seed is not known of every episode
            left += key in seen
            if key not in seen:
                yield episode
            seen.add(key)

    return _write(out, once(), kind), left  # in this order: `left` is counted while `_write` reads


def _kind_of(roots: Sequence[Path]) -> Kind:
    """Return the kind of datasets.

    Raises:
        ValueError: one is damaged, or they have other cameras or shapes, or one task at two rates.
    """
    kinds = {root: _kind(root) for root in roots}
    # `fps` is the rate of a dataset's first task, and datasets may begin with different ones. So rates are compared task by task.
    fps = next((kind["fps"] for kind in kinds.values() if len(kind) > 1), kinds[roots[0]]["fps"])
    rates = _agreed({root: listing.rates(root) for root in roots}, lambda task, rate: f"{_told('fps', rate)} of {task}")
    alike = _agreed({root: {name: each for name, each in kind.items() if name != "fps"} for root, kind in kinds.items()}, _told)
    return Kind(fps, tuple(alike.get("cameras", ())), rates)


def _agreed(found: dict[Path, dict[str, Any]], told: Callable[[str, Any], str]) -> dict[str, Any]:
    """Return the values of all datasets by their name; raise ValueError where two datasets have other ones. `told` puts a value into words."""
    agreed: dict[str, tuple[Path, Any]] = {}
    for root, values in found.items():
        for name, value in values.items():
            where, known = agreed.setdefault(name, (root, value))
            # Rates are read off timestamps, which are rounded.
            if value != known and not (isinstance(value, float) and math.isclose(value, known, rel_tol=1e-5)):
                raise ValueError(f"{where} has {told(name, known)}, and {root} has {told(name, value)}; merge datasets that are alike.")
    return {name: value for name, (_, value) in agreed.items()}


def export(run: Path, out: Path, successes: bool = False, steps: bool = False, note: Callable[[str], None] = lambda line: None) -> int:
    """Write the episodes of a run into a dataset of its own; faulty ones are left out.

    Args:
        run: a run, a stage's folder in it, or a dataset.
        out: new, or empty.
        successes: leave failures out.
        steps: one row for each environment step instead of each decision: the episodes are executed again. Those that do not give the same rewards
            are left out.
        note: called with a line for each episode that cannot be executed again.

    Returns:
        How many were written.

    Raises:
        ValueError: there are no episodes, or `out` has files.
    """
    roots = datasets_of(run)
    wanted = (each for root in roots for each in dataset.read(root) if len(each) and not each.faults and (each.success or not successes))
    if not steps:
        return _write(out, wanted, _kind_of(roots))
    config = _config(run)
    environments = Environments(tuple(map(step_by_step, config.envs)), 1)
    try:
        # The rates of steps here, where a stored dataset has those of decisions.
        rates = {each.config.title: each.rate for each in environments.firsts}
        return _write(out, _replayed(environments, wanted, note), Kind(environments.first.rate, environments.first.config.frame_names, rates))
    finally:
        environments.close()


def _replayed(environments: Environments, episodes: Iterable[Episode], note: Callable[[str], None]) -> Iterator[Episode]:
    for episode in episodes:
        kind = environments.of(episode.task)
        try:
            yield environments.firsts[kind].apply(every_step, episode)
        except (Exception, SystemExit) as error:  # a third-party environment may raise anything
            note(f"left out: {episode.id}: {in_words(error)}")
            environments.renew(kind)


def _write(out: Path, episodes: Iterable[Episode], kind: Kind) -> int:
    """Write episodes into a new dataset, a shard at a time, and return how many; an error on the way leaves nothing of it."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; name a new folder.")
    with writable(out), TemporaryDirectory(dir=out) as folder:
        partial = Path(folder)
        # Without what look-ahead episodes alone have: all episodes of a dataset have the same columns.
        plain = (replace(episode, policy_tokens=None, lookahead_gains=None) for episode in episodes)
        while shard := list(islice(plain, SHARD)):
            dataset.append(partial, shard, fps=kind.fps, cameras=kind.cameras, rates=kind.rates)
        if not (count := dataset.count(partial)):
            raise ValueError(f"No episode was left to be written into {out}.")
        for part in sorted(partial.iterdir()):  # `meta`, without which there is no dataset, is the last one
            part.replace(out / part.name)
    return count


def _config(folder: Path) -> Config:
    """Return the config of the run that a folder lies in."""
    # A relative path has no parents above itself.
    run = next((each for each in (folder, *folder.resolve().parents) if (each / "config.yaml").is_file()), None)
    if run is None:
        raise ValueError(f"{folder} lies in no run, so its environment is not known; --every-step needs a run, or a folder in it.")
    return with_own_code(run, read_own(run / "config.yaml"))


def _kind(root: Path) -> dict[str, Any]:
    """Return `fps`, `cameras` and the shape of each array of a dataset's episodes; `fps` alone where no episode has a decision."""
    info = read_object(root / "meta" / "info.json")
    kinds = info.get("etude", {}).get("kinds", [])  # datasets of other producers lack the key
    shapes = json.loads(kinds[0]) if kinds else {}
    return {name: each for name, each in shapes.items() if name not in dataset.OPTIONAL} | {"fps": info["fps"]}  # `_write` drops optional ones


def _told(name: str, value: Any) -> str:
    """Return an entry of `_kind` in words."""
    if name == "fps":
        return f"{value:g} entries a second"
    return f"cameras {', '.join(value)}" if name == "cameras" else f"{name} of the shape {value}"


def line(row: Info) -> str:
    """Return what a dataset holds, as a line."""
    faulty = f", {row.faulty} faulty" if row.faulty else ""
    counts = f"{row.episodes} episodes, {row.successes} succeed{faulty}, {row.decisions} entries, {row.instructions} instructions"
    return f"{row.folder}: {counts}; {_told('cameras', row.cameras)}, {_told('fps', row.fps)}; {row.mib:.1f} MiB"
