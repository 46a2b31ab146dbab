"""A run -> one self-contained HTML page: curves, tables, videos. Its text and layout are in report.html.j2."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.records import Rate
from agent.report import curves
from agent.report.record import TIMED, Content, RunRecord
from agent.run import layout
from agent.run.files import write_text

NONE = "-"
NAMES = {"base": "base model", "warm_start": "warm start"}


def report(folder: Path) -> Path:
    """Write a run's `report.html`, finished or not, and return its path; the page needs no other file and no network.

    Raises:
        ValueError: there is no run, or a damaged one, or the page cannot be written.
    """
    import jinja2

    record = RunRecord.read(folder)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(content(record)).strip() + "\n"
    write_text(folder / "report.html", page.encode("ascii", "xmlcharrefreplace").decode())  # the same bytes whatever the locale
    return folder / "report.html"


def content(record: RunRecord) -> dict[str, Any]:
    """Return what the template shows; a part that a run does not have is empty."""
    folder, summary = record.folder, record.summary
    videos = sorted((folder / "videos").glob("*.mp4"))
    of_cycles = sorted((number, file) for file in videos if (number := layout.cycle_number(file.stem.rpartition("-")[0])))
    numbers = sorted({number for number, _ in of_cycles})
    chosen = {numbers[0], numbers[len(numbers) // 2], numbers[-1]} if numbers else {}  # the page would grow with each cycle
    trained = any(each.get("tune", {}).get("rows") for each in (record.start, *record.cycles.values()))
    return {
        "task": record.config.task,
        **(_headline(record) if summary else {"tiles": (), "meaning": _so_far(record)}),
        "curve": curves.picture(curves.curve, record, 5.2) if summary or record.champions() else "",
        "tasks": [_task_row(name, part, ("base", "warm_start")) for name, part in summary.get("tasks", {}).items()],
        "variations": [_task_row(name, part, ("before",)) for name, part in summary.get("variations", {}).items()],
        "cycles": [cycle_row(record, number) for number in record.cycles],
        "seconds_head": ("", *TIMED, "all"),
        "seconds": [_seconds_row(name, [*(row.get(stage, 0) for stage in TIMED), sum(row.values())]) for name, row in record.seconds().items()],
        "before_after": [_video(file, "left: before, right: after") for file in videos if file.stem.startswith("before-after-")],
        "practice": [_video(file, f"cycle {number}, {file.stem.split('-')[2]} episode") for number, file in of_cycles if number in chosen],
        "training": curves.picture(curves.training, record, 5.4) if trained else "",
        "beginnings": _beginnings(record),
        "faults": list(_faults(record)),
        "config": (folder / "config.yaml").read_text(),
    }


def _so_far(record: RunRecord) -> str:
    rates, minutes = list(record.champions().values()), sum(record.seconds()["all"].values()) / 60
    gates = f"Gate evaluation so far: first {rates[0]}; champion now {rates[-1]}." if rates else "No evaluation has been finished yet."
    return f"This run is at {record.now()}, after {minutes:.1f} minutes of work. {gates}"


def _headline(record: RunRecord) -> dict[str, Any]:
    """Return the rates before and after, what they mean in a sentence, and a tile for each figure: name, value, and a smaller line."""
    summary, ends = record.summary, record.ends()
    gain, p_value, better = summary["gain"], summary["p_value"], summary["before_is"]
    rates = {name: f"{100 * rate.rate:.1f} %" for name, rate in ends.items()}
    first, last = rates[better.replace("_", " ")], rates["after"]
    meaning = "Chance alone could explain the difference" if p_value > 0.05 else f"It got {'better' if gain > 0 else 'worse'}, beyond chance"
    tiles = [(name, rates[name], f"[{100 * rate.low:.1f}, {100 * rate.high:.1f}], n = {rate.n}{_took(summary, name)}") for name, rate in ends.items()]
    interval = f"[{100 * summary['gain_low']:+.1f}, {100 * summary['gain_high']:+.1f}], p = {p_value:.2g}"
    tiles += [(f"gain over the {better.replace('_', ' ')}, points", f"{100 * gain:+.1f}", interval)]
    tiles += [("cycles", summary["cycles"], f"{summary['promoted']} promoted; {summary['seconds']['total'] / 60:.1f} minutes of work")]
    plain = f"Before practice, the {NAMES[better]} passed {first} of the {ends['after'].n} test seeds; the last champion passes {last}. {meaning}."
    return {"first": first, "last": last, "meaning": plain, "tiles": tiles}


def _took(summary: Content, name: str) -> str:
    """Return how long a success took on average, where that is known."""
    part = summary[name.replace(" ", "_")]
    decisions = part["decisions_to_success"]
    return "" if decisions is None else f"; a success takes {decisions:.1f} decisions, {part['steps_to_success']:.1f} steps"


def _task_row(task: str, part: Content, starts: Sequence[str]) -> list[object]:
    gain = f"{100 * part['gain']:+.1f} [{100 * part['gain_low']:+.1f}, {100 * part['gain_high']:+.1f}], p = {part['p_value']:.2g}"
    return [task, *(Rate.read(part[name]) if name in part else NONE for name in starts), Rate.read(part["after"]), gain]


def cycle_row(record: RunRecord, number: int) -> list[object]:
    """Return a cycle's row of the table, whose head is in the template; `etude watch` shows some of its cells."""
    stages = record.cycles[number]
    collected, curated, gate = (stages.get(stage, {}).get("figures", {}) for stage in ("collect", "curate", "evaluate"))
    recorded, config = stages.get("collect", {}).get("recorded", {}), record.config.at(number).collect
    count = recorded.get("episodes", config.num_seeds * config.episodes_per_seed)
    parts = {"": count, " earlier": int(curated.get("earlier", 0)), " look-ahead": recorded.get("lookahead/episodes", 0)}
    return [
        number,
        " + ".join(f"{part}{of}" for of, part in parts.items() if part) if collected else NONE,
        f"{100 * collected['success']:.1f} %" if collected else NONE,
        f"{curated['mixed_seeds']:.0f} of {curated['seeds']:.0f}" if curated else NONE,
        *(curated.get(kind, NONE) for kind in ("demonstrations", "pairs", "samples")),
        record.gate(stages.get("tune", {}).get("policy", ""), number) or NONE,
        f"{100 * gate['gate_gain']:+.1f}, p = {gate['gate_p_value']:.2g}" if "won" in gate else NONE,
        gate_result(stages.get("cycle"), record.config.evaluate.gate_alpha),
    ]


def gate_result(result: Content | None, alpha: float) -> str:
    """Return what became of a candidate, and why.

    Args:
        result: content of the cycle's `cycle.json`; None while there is none.
        alpha: `evaluate.gate_alpha`.
    """
    alarms = "; ".join((result or {}).get("alarms", []))
    if result is None or "won" not in result:
        return f"no candidate: {alarms or 'nothing to learn from, all episodes of each seed ended alike'}" if result else "in progress"
    unsure = result["gate_p_value"] > alpha and f"not surely better (p above {alpha:g})"
    why = "; ".join(filter(None, ("not better" if result["gate_gain"] <= 0 else unsure, alarms)))
    seeds = f"{result['won']} seeds won, {result['lost']} lost"
    return f"● promoted: {seeds}{f'; {alarms}' if alarms else ''}" if result["promoted"] else f"○ rolled back: {seeds}; {why}"


def _seconds_row(name: str, seconds: Sequence[float]) -> list[str]:
    return [name, *(f"{each:.1f}" if each else NONE for each in seconds)]


def _beginnings(record: RunRecord) -> str:
    """Return a sentence if many practice seeds of the first cycle begin alike; else ''."""
    different, seeds = record.cycles.get(1, {}).get("collect", {}).get("beginnings", (0, 0))
    if seeds < 16 or different >= 0.9 * seeds:
        return ""
    return f"The {seeds} practice seeds of cycle 1 have only {different} different beginnings, so evaluation seeds repeat situations of practice."


def _faults(record: RunRecord) -> Iterator[str]:
    yield from (f"evaluation {name}, {each}" for name, content in record.evaluations.items() for each in content.get("faults", []))
    for number, content in ((number, stages["collect"]) for number, stages in record.cycles.items() if "collect" in stages):
        yield from (f"cycle {number}, {each}" for each in content["faults"])
        if (more := content["figures"]["faults"] - len(content["faults"])) > 0:  # the stage file names the first twenty
            yield f"cycle {number}, and {more} more"


def _video(file: Path, caption: str) -> tuple[str, str]:
    return curves.uri("video/mp4", file.read_bytes()), caption
