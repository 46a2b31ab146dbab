"""Which cycles the config's `minutes` let begin."""

from pathlib import Path

from agent.files import load, save
from agent.folder import seconds_by_stage


def time_for(run: Path, number: int, minutes: float) -> bool:
    """Return whether there is time for a cycle, and write that down: what was decided once holds when a run that was killed goes on.

    So it takes the cycles that it had begun, however long their stages took when they were done again.

    Args:
        run: folder of the run.
        number: of the cycle.
        minutes: of work after which none begins, 0: no limit. That time was up holds for these minutes, not for others.
    """
    if not minutes:
        return True
    file = run / "clock.json"
    decided = load(file) if file.exists() else {}
    last = decided.get(str(number))
    if last and (last["begins"] or last["minutes"] == minutes):
        return last["begins"]
    begins = sum(seconds_by_stage(run).values()) <= 60 * minutes
    save(file, {**decided, str(number): {"begins": begins, "minutes": minutes}})
    return begins
