"""Which cycles the config's `minutes` let begin."""

from pathlib import Path
from typing import Any

from agent.run.files import load, save
from agent.run.layout import seconds_by_stage


def time_for(run: Path, number: int, minutes: float) -> bool:
    """Return whether a cycle begins, and write that down: what was decided once holds when a run that was killed goes on.

    So it takes the cycles that it had begun, however long their stages took when they were done again.

    Args:
        run: folder of the run.
        number: of the cycle.
        minutes: of work after which none begins, 0: no limit. That time was up holds for these minutes, not for others.
    """
    begins = may_begin(run, number, minutes)
    if minutes and (decided := _decided(run)).get(str(number)) != (now := {"begins": begins, "minutes": minutes}):
        save(run / "clock.json", {**decided, str(number): now})
    return begins


def may_begin(run: Path, number: int, minutes: float) -> bool:
    """Return whether there is time for a cycle, as was decided or else by the clock; nothing is written. Arguments as of `time_for`."""
    if not minutes:
        return True
    last = _decided(run).get(str(number))
    if last and (last["begins"] or last["minutes"] == minutes):
        return last["begins"]
    return sum(seconds_by_stage(run).values()) <= 60 * minutes


def _decided(run: Path) -> dict[str, dict[str, Any]]:
    file = run / "clock.json"
    return load(file) if file.exists() else {}
