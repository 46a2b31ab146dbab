"""How far the success detector can be trusted: its calibration, its confusion, and its most confident mistakes.

The truth is the environment's success. The figures are of episodes that the detector was not calibrated on, as in `detector.json`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from scipy.special import expit, logit

from agent.records import Rate
from agent.report.page import NONE, Table, percent, uri
from agent.report.plot import Chart, percent_ticks
from agent.report.record import RunRecord
from agent.run import listing
from agent.run.layout import cycle_folder

MISTAKES = 8  # shown, half of them of each kind
BINS = 10
EPSILON = 1e-6  # scores are clipped to [EPSILON, 1 - EPSILON], as for the calibration
HEAD = ("cycle", "episodes", "AUROC", "balanced accuracy", "on demonstrations, AUROC", "Brier score", "calibration error")


@dataclass(frozen=True)
class Scored:
    """The detector's score of one episode."""

    cycle: int
    order: int  # of the episode in its dataset
    seed: int
    task: str
    instruction: str
    probability: float  # calibrated, of success
    at: int  # frame with this probability: the one after so many decisions
    truth: bool  # the environment's


def detector(record: RunRecord) -> dict[str, Any]:
    """Return what the page shows of the detector; {} where none was asked."""
    contents = {number: stages["detector"] for number, stages in record.cycles.items() if "detector" in stages}
    if not contents:
        return {}
    scored = [each for number, content in contents.items() for each in _scored(record, number, content)]
    rows = [_row(number, content["figures"]) for number, content in contents.items()]
    figures = [content["figures"] for content in contents.values()]
    counts = {name: int(sum(each.get(name, 0) for each in figures)) for name in ("true_yes", "false_yes", "true_no", "false_no")}
    return {
        "calibration": calibration(scored),
        "confusion": counts,
        "table": Table(HEAD, rows).shown,
        "mistakes": [_mistake(record, each) for each in mistakes(scored)],
        "n": len(scored),
    }


def _scored(record: RunRecord, number: int, content: dict[str, Any]) -> list[Scored]:
    """Return the scores of a cycle's episodes that count as measurements; none where the episodes are not on disk any more."""
    # A faulty episode is scored, but the figures in `detector.json` leave it out, too.
    rows = [row for row in listing.facts(cycle_folder(record.folder, number) / "episodes") if not row["faults"]]
    alone, (slope, offset) = record.config.label.by == "detector", content["calibration"]
    found = []
    for row in rows:
        scores = np.array(content["scores"][row["order"]])
        # Without `detector` alone, even seeds calibrated it.
        if len(scores) and (alone or row["seed"] % 2 == 1):
            probability = expit(slope * logit(np.clip(scores, EPSILON, 1 - EPSILON)) + offset)
            # A detector that labels alone says yes as soon as one frame does, else the end counts.
            at = 1 + int(probability[1:].argmax()) if alone else len(scores) - 1
            facts = (row["order"], row["seed"], row["task"], row["instruction"])
            found.append(Scored(number, *facts, float(probability[at]), at, row["success"]))
    return found


def calibration(scored: list[Scored]) -> Markup:
    """Draw the share of successes against the detector's probability, in ten bins; the line is perfect calibration."""
    chart = Chart((330, 300), (0, 1), (0, 1))
    ticks = percent_ticks()
    chart.axes(ticks, ticks, "detector's probability; up: share of successes")
    chart.line([(0, 0), (1, 1)], "c-soft", dashed=True)
    for number in range(BINS):
        inside = [each for each in scored if min(int(each.probability * BINS), BINS - 1) == number]  # a probability of 1 is in the last bin
        if inside:
            # At the mean of the bin, and not its middle: scores crowd near 0 and 1. The mark's area grows with the bin's share.
            rate, x = Rate.of(sum(each.truth for each in inside), len(inside)), float(np.mean([each.probability for each in inside]))
            chart.whisker(x, rate.low, rate.high, "c-champion")
            chart.mark(x, rate.rate, "c-champion", f"{rate} at {percent(x)}", radius=2.5 + 6 * (len(inside) / len(scored)) ** 0.5)
    return chart.svg("calibration of the detector")


def mistakes(scored: list[Scored]) -> list[Scored]:
    """Return the most confident mistakes: failures that it rates highest and successes that it rates lowest."""
    yes = sorted((each for each in scored if not each.truth and each.probability >= 0.5), key=lambda each: -each.probability)
    no = sorted((each for each in scored if each.truth and each.probability < 0.5), key=lambda each: each.probability)
    return yes[: MISTAKES // 2] + no[: MISTAKES // 2]


def _mistake(record: RunRecord, scored: Scored) -> dict[str, str]:
    root: Path = cycle_folder(record.folder, scored.cycle) / "episodes"
    # With its own labels an episode is cut at the detector's success, so the frame is that with the highest score.
    said, was = ("succeeded", "it failed") if not scored.truth else ("failed", "it succeeded")
    return {
        "frame": uri("image/png", listing.frame(root, scored.order, scored.at)),
        "instruction": scored.instruction,
        "said": f"{percent(scored.probability)}: {said}; {was}",
        "where": f"cycle {scored.cycle}, seed {scored.seed}, after decision {scored.at}",
    }


def _row(number: int, figures: dict[str, float]) -> list[object]:
    names = ("auroc", "balanced_accuracy", "demonstration_auroc", "brier", "calibration_error")
    return [number, int(figures["episodes"]), *(f"{figures[name]:.3f}" if figures.get(name) is not None else NONE for name in names)]
