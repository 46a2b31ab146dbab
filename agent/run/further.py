"""Whether a run is finished, and how it goes on all the same."""

from pathlib import Path

from agent.config.config import Config
from agent.run.clock import may_begin
from agent.run.files import load
from agent.run.folder import Run
from agent.run.layout import cycle_folder, cycle_folders, summary


def finished(folder: Path, config: Config) -> bool:
    """Return whether a run has its result and no further cycle may begin."""
    done = finished_cycles(folder)
    if summary(folder).get("cycles") != done:  # there is none, or it is of an earlier end
        return False
    return done >= config.cycles or not may_begin(folder, done + 1, config.max_minutes) or bool(wrong_twice(folder, done + 1))


def finished_cycles(folder: Path) -> int:
    """Return the number of a run's finished cycles."""
    return sum((each / "cycle.json").exists() for each in cycle_folders(folder).values())


def wrong_twice(folder: Path, number: int) -> str:
    """Return the alarms about labels on which the two cycles before cycle `number` ended, if both have exactly the same, else ''.

    A cycle with alarms trains nothing, neither policy nor detector. The same figures again mean that a further cycle would fare no better.
    """
    files = [cycle_folder(folder, number - back) / "label.json" for back in (1, 2)]
    last, before = (load(file).get("alarms", []) if file.exists() else [] for file in files)
    return "; ".join(last) if last == before else ""


def with_further_cycles(run: Run, count: int) -> Config:
    """Return the config with which a finished run goes on for some more cycles, without a limit of time.

    The config of a run that is not finished stays as it is, so that after a stop the same command goes on, and adds no more cycles.
    """
    more = {"cycles": finished_cycles(run.folder) + count, "max_minutes": 0.0}
    return run.config.model_copy(update=more) if finished(run.folder, run.config) else run.config


def told(run: Run) -> str:
    """Return a sentence for a finished run: why no cycle begins, and the command with which it goes on; '' for other runs."""
    if not finished(run.folder, run.config):
        return ""
    done, config = finished_cycles(run.folder), run.config
    if alarms := wrong_twice(run.folder, done + 1):
        return f"{run.folder} is finished, with {done} cycles; the last two ended without training, and so would further ones: {alarms}."
    spent = f"; its max_minutes of {config.max_minutes:g} are spent" if done < config.cycles else ""
    more = max(config.cycles - done, 0) or 4  # 4 is a suggestion, where the config has no cycle left
    return f"{run.folder} is finished, with {done} cycles{spent}. For {more} more: etude improve {run.folder} --cycles +{more}"
