"""Figures for the report of a run, drawn by matplotlib: success over the cycles, losses over the gradient steps."""

import base64
import io
from collections.abc import Callable
from typing import Any

from agent.report.record import RunRecord

BLUE, ORANGE, GREEN, GREY = "#2f7fd1", "#d9730d", "#2a9d6f", "#8a949e"
PANELS = (("loss",), ("loss",), ("approx_kl",), ("entropy",), ("chosen_logps", "rejected_logps"), ("margins",))  # the first: warm start


def picture(draw: Callable[[Any, Any], None], record: RunRecord, height: float) -> str:
    """Return what `draw` draws, `height` inches high, as a data URI of a PNG."""
    from matplotlib import figure, rc_context  # slow to import, and needed here alone

    with rc_context({"axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titlelocation": "left"}):
        # `Figure`, not `pyplot`: no display is needed, and nothing is kept in a global list.
        drawing, stream = figure.Figure((11.4, height), layout="constrained"), io.BytesIO()  # inches
        draw(drawing, record)
        drawing.savefig(stream, format="png", dpi=140, transparent=True)
    return uri("image/png", stream.getvalue())


def curve(figure: Any, record: RunRecord) -> None:
    """Draw success over the cycles: of champion and rolled-back candidates at the gate, of the test evaluations; below, in practice."""
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    numbers, rates, last = list(record.champions()), list(record.champions().values()), max(record.cycles, default=0)
    # The band is the 95 % interval. Cycles have different gate seeds, so a small step of the line may be chance.
    top.fill_between(numbers, [100 * r.low for r in rates], [100 * r.high for r in rates], color=BLUE, alpha=0.18, lw=0)
    top.plot(numbers, [100 * r.rate for r in rates], "o-", color=BLUE, lw=2, label="champion, gate evaluation")
    results = {number: stages.get("cycle", {}) for number, stages in record.cycles.items()}
    # Without "won" there was no candidate, or the cycle is not finished.
    rolled_back = {number: 100 * result["gate_rate"] for number, result in results.items() if "won" in result and not result["promoted"]}
    top.plot([*rolled_back], [*rolled_back.values()], "o", mfc="none", mec=ORANGE, mew=1.6, ms=7, label="rolled back" if rolled_back else "")
    for name, rate in record.ends().items():
        # Beside the cycles, not on them: test seeds are other seeds than the gate's.
        x, colour = (last + 0.35, "black") if name == "after" else (-0.35, GREY if name == "base" else "black")
        interval = [[100 * (rate.rate - rate.low)], [100 * (rate.high - rate.rate)]]
        top.errorbar(x, 100 * rate.rate, interval, fmt="D", color=colour, capsize=3, label="" if name == "after" else f"test, {name}")
    top.set(ylabel="success, %", ylim=(-3, 103), xticks=range(0, last + 1, max(1, round(last / 20))))
    top.legend(frameon=False, loc="lower right" if rates and rates[-1].rate > 0.5 else "upper right")
    practice = {number: 100 * stages["collect"]["figures"]["success"] for number, stages in record.cycles.items() if "collect" in stages}
    bottom.plot([*practice], [*practice.values()], "o-", color=GREEN, lw=1.5, ms=4)
    bottom.set(ylabel="practice, %", xlabel="cycle", ylim=(-5, 105))


def training(figure: Any, record: RunRecord) -> None:
    """Draw the panels of `PANELS`: one over the gradient steps of the warm start, five over those of all cycles, one after the other."""
    rows = {number: stages.get("tune", {}).get("rows", []) for number, stages in {0: record.start, **record.cycles}.items()}
    steps = [(number, row) for number, of_cycle in rows.items() for row in of_cycle]  # 0: the warm start
    for i, (axes, keys) in enumerate(zip(figure.subplots(2, 3).flat, PANELS, strict=True)):
        for key, colour in zip(keys, (BLUE, ORANGE), strict=False):
            points = {x: row[key] for x, (number, row) in enumerate(steps) if key in row and (number > 0) == (i > 0)}
            axes.plot([*points], [*points.values()], color=colour, lw=1, label=key.split("_")[0])
        axes.set(title=f"{'cycles' if i else 'warm start'}: {', '.join(keys)}", xlabel="step")
        for number in [cycle for cycle in rows if cycle and rows[cycle]] if i else ():
            begin = sum(len(earlier) for other, earlier in rows.items() if other < number)
            if not record.cycles[number].get("cycle", {}).get("promoted", True):
                # Grey: these steps were rolled back, and the next cycle trains from the champion before them.
                axes.axvspan(begin, begin + len(rows[number]), facecolor=GREY, alpha=0.2, lw=0)
            axes.axvline(begin, color=GREY, lw=0.5, alpha=0.6)
        if len(keys) > 1:
            axes.legend(frameon=False)


def uri(kind: str, content: bytes) -> str:
    """Return content as a data URI of this media type, so that the page needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
