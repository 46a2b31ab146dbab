"""`etude watch`: a run in the terminal, as it goes."""

import contextlib
import time
from pathlib import Path
from typing import Any

from agent.report.cycles import HEAD, cycle_row
from agent.report.record import RunRecord

SHOWN = ("cycle", "success", "candidate at the gate", "result")  # columns of the report's table of cycles


def watch(folder: Path, once: bool = False) -> None:
    """Show in the terminal how a run goes, anew each second until it is finished or Ctrl-C; with `once`, only its present state."""
    from rich.live import Live

    with contextlib.suppress(KeyboardInterrupt), Live(_board(folder), auto_refresh=False) as live:
        while not once and RunRecord.read(folder).now() != "finished":
            time.sleep(1)
            live.update(_board(folder), refresh=True)


def _board(folder: Path) -> Any:
    """Return the terminal's table of a run."""
    from rich import markup
    from rich.table import Table

    record = RunRecord.read(folder)
    seconds = {name: sum(row.values()) for name, row in record.seconds().items()}
    since = time.time() - max((file.stat().st_mtime for file in folder.glob("*/*.json")), default=time.time())
    table = Table("cycle", "practice", "gate evaluation", "result", "seconds", title=markup.escape(f"{record.config.task}, {folder}"))
    for number in record.cycles:
        row = [str(cell) for cell in cycle_row(record, number)]
        table.add_row(*(markup.escape(row[i]) for i in map(HEAD.index, SHOWN)), f"{seconds[f'cycle {number}']:.0f}")
    ends = [f"{name} {rate}" for name, rate in record.ends().items()] or [f"for {since:.0f} s"]
    table.caption = markup.escape("; ".join([record.now(), *ends, f"{seconds['all']:.0f} s of work"]))
    return table
