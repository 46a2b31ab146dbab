"""The browser of preference pairs and look-ahead decisions: one card a pair, with both replies as bars and, where it is known, as arrows."""

from typing import Any

from markupsafe import Markup, escape

from agent.report.record import RunRecord
from agent.run.files import load
from agent.run.layout import EXAMPLES, cycle_folder

MOST = 240  # cards of a page; the page would grow with each cycle
ROWS = 8  # dimensions of an action in a card, those that differ most
WIDTH, ROW, LABEL, VALUE = 270, 32, 26, 46  # of the bars, pixels: the picture, a dimension, its name, its numbers
KINDS = {
    "decision": "two episodes of a seed",
    "trajectory": "whole episodes of a seed",
    "lookahead": "look-ahead",
    "hindsight": "hindsight",
}


def browser(record: RunRecord) -> dict[str, Any]:
    """Return the cards of the browser, and the values by which they can be chosen; no cards where the run has stored no examples."""
    files = {number: file for number in record.cycles if (file := cycle_folder(record.folder, number) / EXAMPLES).exists()}
    room = MOST // max(len(files), 1)  # the same in each cycle, so that a late one crowds out none
    cards = []
    for number, file in files.items():
        content = load(file)
        own = content["examples"]
        # Evenly spaced, with the first and the last; `max` serves a room of one card.
        chosen = sorted({round(i * (len(own) - 1) / max(room - 1, 1)) for i in range(room)}) if len(own) > room else range(len(own))
        cards += [_card(number, own[i], content["low"], content["high"]) for i in chosen]
    values = {name: list(dict.fromkeys(card[name] for card in cards)) for name in ("cycle", "task", "kind")}
    # A filter with a single value would choose nothing.
    return {"cards": cards, "filters": {name: each for name, each in values.items() if len(each) > 1}}


def _card(cycle: int, example: dict[str, Any], low: list[float], high: list[float]) -> dict[str, Any]:
    replies = [example[side]["actions"] for side in ("chosen", "rejected")]
    length = f"first of {len(replies[0])} actions" if len(replies[0]) > 1 else ""
    return {
        "cycle": f"cycle {cycle}",
        "task": example["task"],
        "kind": KINDS.get(example["kind"], example["kind"]),
        "instruction": example["instruction"],
        "where": f"cycle {cycle}, seed {example['seed']}, decision {example['decision'] + 1}",  # people count from 1
        "frames": example["frames"],
        "arrows": arrows(example["arrows"]) if "arrows" in example else "",  # absent where the places are not known
        "bars": bars(replies[0][0], replies[1][0], low, high),
        "length": length,
        "sides": _sides(example),
    }


def _sides(example: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what came of each reply: name, words, picture of the end, and whether it is a success."""
    chosen, rejected = example["chosen"], example["rejected"]
    if example["kind"] == "lookahead":
        gain = f"worth {example['gain']:.3g} more reward, one decision ahead" if example["gain"] is not None else "found better"
        sides = [("look-ahead's reply", gain, chosen), ("the policy's own reply", "tried in a copy of the simulator", rejected)]
    elif example["kind"] == "hindsight":
        sides = [("chosen", "did this, asked for another thing", chosen), ("rejected", "did what was first asked for", rejected)]
    else:
        sides = [("chosen", _outcome(chosen), chosen), ("rejected", _outcome(rejected), rejected)]
    return [{"name": name, "words": words, "end": side["end"] or "", "success": side["success"]} for name, words, side in sides]


def _outcome(side: dict[str, Any]) -> str:
    if side["success"] is None:
        return "outcome not known"
    return f"{'success' if side['success'] else 'failed'} after {side['decisions']} decisions"


def bars(chosen: list[float], rejected: list[float], low: list[float], high: list[float]) -> Markup:
    """Draw the numbers of two actions, dimension by dimension, as bars from 0, or from the lower bound where 0 is outside the bounds."""
    spans = [max(top - bottom, 1e-9) for bottom, top in zip(low, high, strict=True)]  # equal bounds hold a dimension still; nothing is divided by 0
    # The largest differences, as shares of a dimension's range.
    order = sorted(range(len(chosen)), key=lambda i: -abs(chosen[i] - rejected[i]) / spans[i])[:ROWS]
    # Shown in the order of the action all the same.
    parts = [_dimension(row * ROW, i, (chosen[i], rejected[i]), (low[i], high[i])) for row, i in enumerate(sorted(order))]
    label = escape(f"action chosen {_numbers(chosen)}, rejected {_numbers(rejected)}")
    return Markup(f'<svg class="bars" viewBox="0 0 {WIDTH} {ROW * len(order)}" role="img" aria-label="{label}">{"".join(parts)}</svg>')


def _dimension(top: int, number: int, values: tuple[float, float], bounds: tuple[float, float]) -> str:
    """Return the bars of one dimension, `top` pixels from the top."""
    (low, high), length = bounds, WIDTH - LABEL - VALUE
    zero = min(max(0.0, low), high)
    # Cut off at the bounds, so that no bar leaves its track.
    places = [LABEL + length * (min(max(each, low), high) - low) / max(high - low, 1e-9) for each in (*values, zero)]
    parts = [f'<text x="0" y="{top + 19}">a{number + 1}</text>']
    parts.append(f'<rect class="track" x="{LABEL}" y="{top + 2}" width="{length}" height="{ROW - 6}" rx="3"/>')
    # The third place is that of 0, where both bars begin.
    for value, at, y, style in zip(values, places, (top + 5, top + 16), ("c-champion", "c-rolled"), strict=False):
        left, width = min(at, places[2]), max(abs(at - places[2]), 1.5)  # a value of 0 is still to be seen
        parts.append(f'<rect class="fill {style}" x="{left:.1f}" y="{y}" width="{width:.1f}" height="9" rx="1.5"/>')
        parts.append(f'<text class="{style}" x="{WIDTH}" y="{y + 8.5}" text-anchor="end">{value:.2f}</text>')
    return "".join(parts) + f'<path class="zero" d="M{places[2]:.1f} {top + 1}v{ROW - 3}"/>'


def arrows(points: list[list[float]]) -> Markup:
    """Draw where each reply moves the tool, over the frame."""
    (x, y), *ends = points
    parts = []
    for (end_x, end_y), style in reversed(list(zip(ends, ("c-champion", "c-rolled"), strict=True))):  # the chosen one lies above
        line = f"M{100 * x:.1f} {100 * y:.1f}L{100 * end_x:.1f} {100 * end_y:.1f}"  # points are shares of the frame, whose viewBox is 100 by 100
        parts.append(f'<path class="under" d="{line}"/><path class="arrow {style}" d="{line}"/>')  # white below, to be seen on any frame
        parts.append(f'<circle class="tip {style}" cx="{100 * end_x:.1f}" cy="{100 * end_y:.1f}" r="2.4"/>')
    parts.append(f'<circle class="tool" cx="{100 * x:.1f}" cy="{100 * y:.1f}" r="1.8"/>')
    return Markup(f'<svg class="arrows" viewBox="0 0 100 100" aria-hidden="true">{"".join(parts)}</svg>')


def _numbers(action: list[float]) -> str:
    return " ".join(f"{value:.2f}" for value in action)
