"""Progress of a stage: a bar in a terminal; elsewhere, such as in a log file, a line at its end and every few minutes."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINES = 300.0  # seconds from one line to the next where there is no terminal


@contextlib.contextmanager
def bar(console: Console, title: str, total: int | None = None, done: int = 0) -> Iterator[Callable[..., None]]:
    """Show the progress of a stage with rate and time left.

    Args:
        console: where it is shown.
        title: of the bar.
        total: number of items; None: not known yet.
        done: items of earlier starts, which the bar includes and the rate does not.

    Yields:
        `step(more, total=..., note=...)`, which advances the bar by `more` items. Where earlier starts have done an unknown number of them,
        `step(upto=...)` says how many are done by now, one more each time.
    """
    began = time.time()  # the rate is over the whole bar: rich's own goes by the last few updates
    at: dict[str, Any] = {"done": done, "count": 0, "total": total, "note": "", "line": began}
    columns = (BarColumn(30), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TimeRemainingColumn())
    lines = Progress(TextColumn("{task.description:<20}"), *columns, TextColumn("{task.fields[note]}"), console=console)
    lines.disable = not console.is_terminal

    def show() -> None:
        of = "" if at["total"] is None else f"/{at['total']}"
        line = f"{title:<24} {at['done'] + at['count']}{of} in {time.time() - began:.1f} s, {_rate(at['count'], began):.1f}/s {at['note']}"
        console.print(line.rstrip(), soft_wrap=True)

    with lines:
        task = lines.add_task(title, total=total, completed=done, note="", rate="")

        def step(more: int = 1, total: int | None = total, note: str = "", upto: int | None = None) -> None:
            at.update(count=at["count"] + more, total=total, note=note)
            if upto is not None:
                at["done"] = upto - at["count"]
            lines.update(task, completed=at["done"] + at["count"], total=total, note=note, rate=f"{_rate(at['count'], began):.1f}/s")
            if lines.disable and time.time() - at["line"] > LINES:
                at["line"] = time.time()
                show()

        yield step
    if lines.disable:
        show()


def _rate(count: int, began: float) -> float:
    return count / max(time.time() - began, 1e-9)
