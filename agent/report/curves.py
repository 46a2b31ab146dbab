"""Pictures of a run for its report: success over the cycles, figures over the steps of training."""

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.report.report import Story

BLUE, ORANGE, GREEN, GREY = "#2f7fd1", "#d9730d", "#2a9d6f", "#8a949e"
PANELS = (("loss",), ("loss",), ("kl",), ("entropy",), ("chosen_logprob", "rejected_logprob"), ("margin",))  # the first: warm start


def picture(draw: Callable[[Any, Any], None], story: "Story", height: float, words: str) -> str:
    """Return an image tag of what `draw` draws, `height` inches high, with `words` for those who cannot see it."""
    from matplotlib import figure, rc_context

    with rc_context({"axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titlelocation": "left"}):
        picture, stream = figure.Figure((11.4, height), layout="constrained"), io.BytesIO()
        draw(picture, story)
        picture.savefig(stream, format="png", dpi=140, transparent=True)
    return f'<img alt="{words}" src="{uri("image/png", stream.getvalue())}">'


def curve(figure: Any, story: "Story") -> None:
    """Draw the champion's gate rate, the challengers that were rolled back, the final exams; below, the success in practice."""
    top, low = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    numbers, rates, last = list(story.champions()), list(story.champions().values()), max(story.cycles, default=0)
    top.fill_between(numbers, [100 * r.low for r in rates], [100 * r.high for r in rates], color=BLUE, alpha=0.18, lw=0)
    top.plot(numbers, [100 * r.rate for r in rates], "o-", color=BLUE, lw=2, label="champion, gate exam")
    results = {number: stages.get("cycle", {}) for number, stages in story.cycles.items()}
    refused = {number: 100 * each["gate_rate"] for number, each in results.items() if "won" in each and not each["promoted"]}
    top.plot([*refused], [*refused.values()], "o", mfc="none", mec=ORANGE, mew=1.6, ms=7, label="rolled back" if refused else "")
    for name, rate in story.ends().items():
        x, colour = (last + 0.35, "black") if name == "after" else (-0.35, GREY if name == "base" else "black")
        spread = [[100 * (rate.rate - rate.low)], [100 * (rate.high - rate.rate)]]
        top.errorbar(x, 100 * rate.rate, spread, fmt="D", color=colour, capsize=3, label="" if name == "after" else f"test, {name}")
    top.set(ylabel="success, %", ylim=(-3, 103), xticks=range(0, last + 1, max(1, round(last / 20))))
    top.legend(frameon=False, loc="lower right" if rates and rates[-1].rate > 0.5 else "upper right")
    practice = {number: 100 * stages["collect"]["figures"]["success"] for number, stages in story.cycles.items() if "collect" in stages}
    low.plot([*practice], [*practice.values()], "o-", color=GREEN, lw=1.5, ms=4)
    low.set(ylabel="practice, %", xlabel="cycle", ylim=(-5, 105))


def training(figure: Any, story: "Story") -> None:
    """Draw a panel for the warm start, and five over the steps of all cycles."""
    rows = {number: stages.get("tune", {}).get("rows", []) for number, stages in {0: story.start, **story.cycles}.items()}
    steps = [(number, row) for number, each in rows.items() for row in each]
    for i, (axes, keys) in enumerate(zip(figure.subplots(2, 3).flat, PANELS, strict=True)):
        for key, colour in zip(keys, (BLUE, ORANGE), strict=False):
            points = {x: row[key] for x, (number, row) in enumerate(steps) if key in row and (number > 0) == (i > 0)}
            axes.plot([*points], [*points.values()], color=colour, lw=1, label=key.split("_")[0])
        axes.set(title=f"{'cycles' if i else 'warm start'}: {', '.join(keys)}", xlabel="step")
        for number in [each for each in rows if each and rows[each]] if i else ():
            begin = sum(len(each) for other, each in rows.items() if other < number)
            if not story.cycles[number].get("cycle", {}).get("promoted", True):
                axes.axvspan(begin, begin + len(rows[number]), facecolor=GREY, alpha=0.2, lw=0)
            axes.axvline(begin, color=GREY, lw=0.5, alpha=0.6)
        if len(keys) > 1:
            axes.legend(frameon=False)


def uri(kind: str, content: bytes) -> str:
    """Return content as a data URI, so that the page needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
