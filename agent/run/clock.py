"""Decisions whether there is time for a cycle (`max_minutes`), stored in `clock.json`."""

from pathlib import Path
from typing import Any

from agent.run.files import load, save
from agent.run.layout import seconds_by_stage


def time_for(run: Path, number: int, minutes: float) -> bool:
    """Return whether a cycle begins, and store the decision.

    A stored decision holds when a killed run goes on. So a cycle that had begun is finished, even if its stages took longer the second time.

    Args:
        run: folder of the run.
        number: of the cycle.
        minutes: of work after which no cycle begins; 0: no limit.
    """
    begins = may_begin(run, number, minutes)
    # JSON keys are texts, hence str(number). Nothing is stored without a limit.
    if minutes and (decisions := _decided(run)).get(str(number)) != (decision := {"begins": begins, "max_minutes": minutes}):
        save(run / "clock.json", {**decisions, str(number): decision})
    return begins


def may_begin(run: Path, number: int, minutes: float) -> bool:
    """Return whether there is time for a cycle, by the stored decision or else by the clock; write nothing. Arguments as of `time_for`."""
    if not minutes:
        return True
    stored = _decided(run).get(str(number))
    # A yes holds for ever. A no holds for the same limit only: with a higher one the clock decides anew.
    if stored and (stored["begins"] or stored["max_minutes"] == minutes):
        return stored["begins"]
    return sum(seconds_by_stage(run).values()) <= 60 * minutes  # seconds of work in finished stages, over all starts of the run


def _decided(run: Path) -> dict[str, dict[str, Any]]:
    """Return the stored decisions by cycle number."""
    file = run / "clock.json"
    return load(file) if file.exists() else {}
