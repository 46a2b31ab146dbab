"""Whether a run is finished, and how it goes on all the same."""

from agent.config.config import Config
from agent.run.clock import may_begin
from agent.run.folder import Run
from agent.run.layout import summary


def finished(run: Run) -> bool:
    """Return whether a run has its result and no further cycle may begin."""
    done = len(run.results())
    more = done < run.config.cycles and may_begin(run.folder, done + 1, run.config.max_minutes)  # `time_for` would store its answer
    return not more and summary(run.folder).get("cycles") == done  # a run that went on has the summary of its earlier end


def with_further_cycles(run: Run, count: int) -> Config:
    """Return the config with which a finished run goes on for some more cycles, without a limit of time.

    The config of a run that is not finished stays as it is, so that after a stop the same command goes on, and adds no more cycles.
    """
    return run.config.model_copy(update={"cycles": len(run.results()) + count, "max_minutes": 0.0}) if finished(run) else run.config


def told(run: Run) -> str:
    """Return a sentence for a finished run: why no cycle begins, and the command with which it goes on; '' for other runs."""
    if not finished(run):
        return ""
    done, config = len(run.results()), run.config
    spent = f"; its max_minutes of {config.max_minutes:g} are spent" if done < config.cycles else ""
    more = max(config.cycles - done, 0) or 4  # 4 is a suggestion, where the config has no cycle left
    return f"{run.folder} is finished, with {done} cycles{spent}. For {more} more: etude improve {run.folder} --cycles +{more}"
