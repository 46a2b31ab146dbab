"""Charts of a run: success over the cycles, figures over the gradient steps."""

import math
from typing import Any

from markupsafe import Markup

from agent.report.plot import Chart, Size, at_all_sizes, percent_ticks, round_ticks, thinned, whole_ticks
from agent.report.record import RunRecord

PANELS = (("loss",), ("loss",), ("approx_kl",), ("entropy",), ("chosen_logps", "rejected_logps"), ("margins",))  # the first: warm start
PANEL = (350, 170)  # width and height, CSS pixels


def success(record: RunRecord) -> Markup:
    """Draw success over the cycles: of champions and rolled-back candidates at the gate, of the test evaluations, and in practice."""

    def draw(size: Size) -> Chart:
        champions, last = record.champions(), max(record.cycles, default=0)
        # Test evaluations stand beside the cycles, not on them: their seeds are others than the gate's.
        beside = {"base": -(space := max(0.7, 0.09 * last)), "warm start": -space, "after": last + space}
        chart = Chart(size, (-1.6 * space, last + 1.6 * space), (0, 1.03))
        ends = {beside[name]: "after" if name == "after" else "before" for name in record.ends()}
        chart.axes(whole_ticks(last, size[0] // 60) | ends, percent_ticks(), "cycle")
        practice = {number: stages["collect"]["figures"]["success"] for number, stages in record.cycles.items() if "collect" in stages}
        chart.line(practice.items(), "c-practice", dashed=True)
        # The band is the 95 % interval. Cycles have different gate seeds, so a small step of the line may be chance.
        chart.band([(number, rate.low, rate.high) for number, rate in champions.items()], "c-champion")
        chart.line([(number, rate.rate) for number, rate in champions.items()], "c-champion")
        for number, rate in champions.items():
            chart.mark(number, rate.rate, "c-champion", f"champion after cycle {number}, gate: {rate}")
        for number, stages in record.cycles.items():
            result = stages.get("cycle", {})
            if "won" in result and not result["promoted"]:  # without "won" there was no candidate
                chart.mark(number, result["gate_rate"], "c-rolled", f"cycle {number}, rolled back: {100 * result['gate_rate']:.1f} %", "ring")
        for name, rate in record.ends().items():
            chart.whisker(beside[name], rate.low, rate.high, "c-test")
            chart.mark(beside[name], rate.rate, "c-test", f"test seeds, {'last champion' if name == 'after' else name}: {rate}", "diamond")
        return chart

    return at_all_sizes(draw, "success by cycle")


def training(record: RunRecord) -> list[tuple[str, Markup]]:
    """Return title and chart of each panel that the run has figures for.

    The first of `PANELS` is over the gradient steps of the warm start, the others are over those of all cycles.
    """
    rows = {number: stages.get("tune", {}).get("rows", []) for number, stages in {0: record.start, **record.cycles}.items()}
    steps = [(number, row) for number, of_cycle in rows.items() for row in of_cycle]  # 0: the warm start
    panels = []
    for i, keys in enumerate(PANELS):
        lines = {key: [(float(x), row[key]) for x, (number, row) in enumerate(steps) if key in row and (number > 0) == (i > 0)] for key in keys}
        lines = {key: [point for point in points if math.isfinite(point[1])] for key, points in lines.items()}
        if any(lines.values()):
            title = f"{'cycles' if i else 'warm start'}: {', '.join(key.replace('_', ' ') for key, points in lines.items() if points)}"
            panels.append((title, _panel(record, lines, rows if i else {}, title)))
    return panels


def _panel(record: RunRecord, lines: dict[str, list[tuple[float, float]]], rows: dict[int, list[Any]], title: str) -> Markup:
    """Return a chart of lines over the gradient steps; `rows` are those of each cycle, for the grounds of rolled-back ones."""
    points = [point for each in lines.values() for point in each]
    low, high = min(y for _, y in points), max(y for _, y in points)
    space = 0.05 * (high - low) or 0.5
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    chart = Chart(PANEL, (first, max(last, first + 1)), (low - space, high + space))
    for number in (cycle for cycle in rows if cycle and rows[cycle]):
        begin = sum(len(earlier) for other, earlier in rows.items() if other < number)
        if begin < last and not record.cycles[number].get("cycle", {}).get("promoted", True):
            # Grey: these steps were rolled back, and the next cycle trains from the champion before them.
            chart.shade(max(begin, first), min(begin + len(rows[number]), last))
        if first < begin < last:
            chart.rule(begin)
    chart.axes({first: f"{first:g}", last: f"{last:g}"}, round_ticks(*chart.y), "gradient step")
    for style, each in zip(("c-champion", "c-rolled"), lines.values(), strict=False):
        chart.line(thinned(each), style)
    return chart.svg(title)
