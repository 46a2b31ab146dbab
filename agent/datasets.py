"""`etude dataset`: what stored episodes are, several datasets as one, and the episodes of a run as a dataset of its own."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.config.config import Config
from agent.config.read import read_own
from agent.records import Episode
from agent.rollout.environments import Environments
from agent.rollout.steps import every_step, step_by_step
from agent.run import episodes as dataset
from agent.run.code import with_own_code
from agent.run.files import read_object
from envs.faults import in_words

SHARD = 128  # episodes written at a time


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
    found = sorted(file.parent.parent for file in folder.rglob("episodes/meta/info.json"))
    if not found:
        raise ValueError(f"There is no dataset of etude in {folder}; give a run, or one of its folders `episodes`.")
    # False sorts first, and the rest keeps its order.
    return sorted(found, key=lambda each: not each.is_relative_to(folder / "start"))  # demonstrations come first


def info(root: Path) -> Info:
    """Return what the dataset in a folder holds."""
    stored = dataset.read(root)
    return Info(
        root, len(stored), sum(each.success for each in stored), sum(bool(each.faults) for each in stored), sum(map(len, stored)),
        # Without a decision there is no instruction: the reset failed.
        len({each.instruction for each in stored if len(each)}), _fps(root), _cameras(root),
        sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) / 2**20,
    )  # fmt: skip


def merge(folders: Sequence[Path], out: Path) -> tuple[int, int]:
    """Write the episodes of several datasets, or of all datasets of runs, into a new one; each episode once.

    Returns:
        How many were written, and how many were left out because they were there already.

    Raises:
        ValueError: a dataset is missing or damaged, they have other cameras, rates or actions, or `out` has files.
    """
    roots = [root for folder in folders for root in datasets_of(folder)]
    kinds = {(_fps(root), _cameras(root)): root for root in roots}  # one root of each kind, for the message
    if len(kinds) > 1:
        one, other = list(kinds.items())[:2]
        raise ValueError(f"{one[1]} has {_told(*one[0])}, and {other[1]} has {_told(*other[0])}; merge datasets that are alike.")
    (fps, cameras), seen, left = next(iter(kinds)), set(), 0

    def once() -> Iterator[Episode]:
        nonlocal left
        for episode in (episode for root in roots for episode in dataset.read(root)):
            key = episode.id, episode.policy, episode.actions.tobytes()  # the seed is not known of every episode
            left += key in seen
            if key not in seen:
                yield episode
            seen.add(key)

    return _write(out, once(), fps, cameras), left  # in this order: `left` is counted while `_write` reads


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
        return _write(out, wanted, _fps(roots[0]), _cameras(roots[0]))
    config = _config(run)
    environments = Environments(tuple(map(step_by_step, config.envs)), 1)
    try:
        # The rate of steps here, where a stored dataset has that of decisions.
        return _write(out, _replayed(environments, wanted, note), environments.first.rate, environments.first.config.frame_names)
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


def _write(out: Path, episodes: Iterable[Episode], fps: float, cameras: tuple[str, ...]) -> int:
    """Write episodes into a new dataset, a shard at a time; return how many."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; name a new folder.")
    shard: list[Episode] = []
    for episode in episodes:
        # Without what look-ahead episodes alone have: all episodes of a dataset have the same columns.
        shard.append(replace(episode, policy_tokens=None, lookahead_gains=None))
        if len(shard) == SHARD:
            dataset.append(out, shard, fps=fps, cameras=cameras)
            shard = []
    dataset.append(out, shard, fps=fps, cameras=cameras)
    if not (count := dataset.count(out)):
        raise ValueError(f"No episode was left to be written into {out}.")
    return count


def _config(folder: Path) -> Config:
    """Return the config of the run that a folder lies in."""
    # A relative path has no parents above itself.
    run = next((each for each in (folder, *folder.resolve().parents) if (each / "config.yaml").is_file()), None)
    if run is None:
        raise ValueError(f"{folder} lies in no run, so its environment is not known; --every-step needs a run, or a folder in it.")
    return with_own_code(run, read_own(run / "config.yaml"))


def _fps(root: Path) -> float:
    return read_object(root / "meta" / "info.json")["fps"]


def _cameras(root: Path) -> tuple[str, ...]:
    kinds = read_object(root / "meta" / "info.json").get("etude", {}).get("kinds", [])  # datasets of other producers lack the key
    return tuple(json.loads(kinds[0])["cameras"]) if kinds else ()


def line(row: Info) -> str:
    """Return what a dataset holds, as a line."""
    faulty = f", {row.faulty} faulty" if row.faulty else ""
    counts = f"{row.episodes} episodes, {row.successes} succeed{faulty}, {row.decisions} entries, {row.instructions} instructions"
    return f"{row.folder}: {counts}; {_told(row.fps, row.cameras)}; {row.mib:.1f} MiB"


def _told(fps: float, cameras: tuple[str, ...]) -> str:
    return f"cameras {', '.join(cameras)}, {fps:g} entries a second"
