"""The plot of a comparison of runs: success and gain, each with its interval."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.report.curves import BLUE, GREY, ORANGE
from agent.run import files

Interval = tuple[float, float, float]  # value and both ends, in percent or points


def plot(titles: Sequence[str], rates: Sequence[Interval], gains: Sequence[Interval], file: Path) -> None:
    """Write a PNG: the success of every run on the left, the gain of each run over the first on the right.

    Args:
        titles: of the runs.
        rates: success of every run, %.
        gains: difference to the first run, points; of all runs but the first.
        file: to write.
    """
    from matplotlib import figure, rc_context  # slow to import, and needed here alone

    with rc_context({"axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titlelocation": "left"}):
        drawing = figure.Figure((9, 1.2 + 0.35 * len(titles)), layout="constrained")  # inches
        left, right = drawing.subplots(1, 2, sharey=True)
        _draw(left, range(len(titles)), rates, BLUE)
        _draw(right, range(1, len(titles)), gains, ORANGE)
        right.axvline(0, color=GREY, lw=0.8)
        left.set(title="success on common test seeds, %", yticks=range(len(titles)), yticklabels=titles, xlim=(-3, 103))
        right.set(title=f"gain over {titles[0]}, points")
        left.invert_yaxis()  # the first run on top; the right side shares the axis
        files.write(file, lambda partial: drawing.savefig(partial, format="png", dpi=140))


def _draw(axes: Any, rows: Sequence[int], intervals: Sequence[Interval], colour: str) -> None:
    for row, (value, low, high) in zip(rows, intervals, strict=True):
        axes.errorbar(value, row, xerr=[[value - low], [high - value]], fmt="D", color=colour, capsize=3)
    axes.grid(axis="x", lw=0.4, alpha=0.5)
