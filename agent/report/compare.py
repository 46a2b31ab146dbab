"""Several runs -> one self-contained HTML page: paired on the test seeds that they share, and over cycles and environment steps."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from markupsafe import Markup

from agent.records import Rate, Scorecard
from agent.report.costs import practised
from agent.report.page import NONE, Table, grouped, minutes, percent, write_page
from agent.report.plot import Chart, Size, at_all_sizes, percent_ticks, round_ticks, whole_ticks
from agent.report.record import RunRecord
from agent.report.report import NAMES, command, fingerprint

if TYPE_CHECKING:
    from agent.evaluate.statistics import Comparison

COLOURS = 8  # in html/style.css; further runs begin anew
HEAD = (
    "run",
    "after",
    "against the first run",
    "p, raw",
    "p, Holm",
    "won, lost",
    "seeds",
    "before",
    "gain of the run",
    "environment steps",
    "work",
    "cycles",
)
FREE = ("threads", "processes", "track")  # sections that decide how a run works, not what it learns

Paired = Callable[[Scorecard, Scorecard], "Comparison"]  # of a candidate and a champion, as `agent.evaluate.statistics.compare`


@dataclass(frozen=True)
class Entry:
    """One of the runs."""

    name: str
    record: RunRecord
    steps: dict[int, int]  # environment steps of practice by cycle; 0: demonstrations

    @property
    def after(self) -> Scorecard | None:
        """Return the last champion's scorecard on the test seeds; None while the run is not finished."""
        return self.record.tested()[1]


def compare(folders: Sequence[Path], file: Path, paired: Paired) -> Path:
    """Write a page that compares runs with the first of them, and return its path; the page needs no other file and no network.

    Args:
        folders: of the runs, finished or not, at least two.
        file: of the page.
        paired: compares two scorecards of the same seeds.

    Raises:
        ValueError: one of them is no run, or a damaged one, or the page cannot be written.
    """
    if len(folders) < 2:
        raise ValueError(f"A comparison needs at least two runs, and {len(folders)} was given; name another folder of a run.")
    records = [RunRecord.read(folder) for folder in folders]
    entries = [Entry(name, record, practised(record)) for name, record in zip(named(folders), records, strict=True)]
    return write_page("compare.html.j2", content(entries, paired), file)


def named(folders: Sequence[Path]) -> list[str]:
    """Return a name for each folder: the shortest end of its path that no other one has."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):  # runs/a/slide and runs/b/slide need two parts of their paths
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError("A run is named twice; name each folder once.")


def content(entries: Sequence[Entry], paired: Paired) -> dict[str, Any]:
    """Return what the template shows."""
    differences = [_against(entries[0], entry, paired) for entry in entries[1:]]
    adjusted = holm([None if each is None else each[0].p_value for each in differences])  # each further run is another chance of a false finding
    tasks = list(dict.fromkeys(entry.record.config.task for entry in entries))
    return {
        "title": " and ".join(tasks),
        "names": [(entry.name, _style(i)) for i, entry in enumerate(entries)],
        "meaning": _meaning(entries, differences, adjusted),
        "ends": [_end(entry, i) for i, entry in enumerate(entries) if "after" in entry.record.ends()],
        "table": Table(HEAD, [_row(entries[0], None, None), *map(_row, entries[1:], differences, adjusted)]).shown,
        "by_cycle": over(entries, "cycle", lambda entry: {number: number for number in entry.record.champions()}),
        # Without a run's stored episodes its steps are not known: then there is no chart.
        "by_steps": over(entries, "environment steps of practice", _steps_so_far) if all(sum(entry.steps.values()) for entry in entries) else "",
        "tasks": _tasks(entries),
        "settings": settings(entries),
        "warnings": list(_warnings(entries)),
        "commands": [command(entry.record) for entry in entries],
    }


def _against(first: Entry, other: Entry, paired: Paired) -> tuple["Comparison", int] | None:
    """Return the paired comparison on the test seeds that both have, and their number; None where there are none."""
    if not first.after or not other.after:
        return None
    # Runs may have other numbers of test episodes, whose first seeds are the same.
    common = [key for key in other.after.outcomes if key in first.after.outcomes]
    return (paired(other.after.part(common), first.after.part(common)), len(common)) if common else None


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for their number (Holm, Scand. J. Stat. 6, 1979); None stays None."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    # Step-down: no p-value may be below that of the comparison before it, which is what `max` keeps.
    adjusted = accumulate((min(1.0, (len(known) - rank) * p) for rank, (p, _) in enumerate(known)), max)
    by_place = {i: value for (_, i), value in zip(known, adjusted, strict=True)}  # back in the order of the runs
    return [by_place.get(i) for i in range(len(p_values))]


def _meaning(entries: Sequence[Entry], differences: Sequence[Any], adjusted: Sequence[float | None]) -> str:
    """Return what the comparison says, in a sentence or two."""
    first = entries[0].name
    # `or` serves the type alone: p is None only where `each` is.
    known = [(entry.name, each[0], p or 0.0) for entry, each, p in zip(entries[1:], differences, adjusted, strict=True) if each is not None]
    if not known:
        return f"None of the other runs can be compared with {first} yet: they share no test seeds, or are not finished."
    surely = {
        word: [f"{name} ({100 * each.gain:+.1f} points, adjusted p = {p:.2g})" for name, each, p in known if p <= 0.05 and each.gain * sign > 0]
        for word, sign in (("better", 1), ("worse", -1))
    }
    said = [f"Surely {word} than {first}: {', '.join(names)}." for word, names in surely.items() if names]
    if unsure := [f"{name} ({100 * each.gain:+.1f} points)" for name, each, p in known if p > 0.05 or not each.gain]:
        said.append(f"Chance alone could explain the difference to {first}: {', '.join(unsure)}.")
    return " ".join(said)


def _row(entry: Entry, difference: Any, adjusted: float | None) -> list[object]:
    """Return a row of the table with the columns `HEAD`."""
    summary, ends, results = entry.record.summary, entry.record.ends(), [s["cycle"] for s in entry.record.cycles.values() if "cycle" in s]
    before = ends.get(summary.get("before_is", "").replace("_", " "))  # the keys of `ends` are for readers: no underscores
    spent = sum(entry.record.seconds()["all"].values())
    against, seeds = difference or (None, NONE)
    return [
        entry.name,
        str(ends["after"]) if "after" in ends else entry.record.now(),
        f"{100 * against.gain:+.1f} [{100 * against.low:+.1f}, {100 * against.high:+.1f}]" if against else NONE,
        f"{against.p_value:.2g}" if against else NONE,
        f"{adjusted:.2g}" if adjusted is not None else NONE,
        f"{against.won}, {against.lost}" if against else NONE,
        seeds,
        f"{percent(before.rate)} ({NAMES[summary['before_is']]})" if before else NONE,
        f"{100 * summary['gain']:+.1f}" if summary else NONE,
        grouped(sum(entry.steps.values())) if sum(entry.steps.values()) else NONE,
        minutes(spent),
        f"{sum(result['promoted'] for result in results)} of {len(results)} promoted" if results else NONE,
    ]


def _end(entry: Entry, place: int) -> dict[str, Any]:
    # The template shares its bars with the report, and asks for `took`.
    return {"name": entry.name, "rate": entry.record.ends()["after"], "took": "", "style": _style(place)}


def _style(place: int) -> str:
    return f"c-{place % COLOURS}"


def over(entries: Sequence[Entry], title: str, places: Callable[[Entry], Mapping[int, float]]) -> Markup:
    """Draw each run's champions at the gate over a horizontal axis.

    Args:
        entries: the runs.
        title: of the axis.
        places: where on the axis a run's cycles are, 0 for its start.
    """
    lines = [(entry, places(entry), entry.record.champions()) for entry in entries]
    # `or 1`: a chart needs a width, also where no run has got beyond its start.
    last = max((x for _, where, _ in lines for x in where.values()), default=0) or 1

    def draw(size: Size) -> Chart:
        chart = Chart(size, (-0.02 * last, 1.02 * last), (0, 1.03))  # some room, so that marks at the ends are not cut off
        # A label takes about 60 pixels.
        chart.axes(whole_ticks(int(last), size[0] // 60) if title == "cycle" else round_ticks(0, last), percent_ticks(), title)
        for i, (entry, where, champions) in enumerate(lines):
            points = [(where[number], rate) for number, rate in champions.items()]
            chart.band([(x, rate.low, rate.high) for x, rate in points], _style(i))
            chart.line([(x, rate.rate) for x, rate in points], _style(i))
            for x, rate in points:
                chart.mark(x, rate.rate, _style(i), f"{entry.name}: {rate}", radius=3.5)
        return chart

    return at_all_sizes(draw, f"success over {title}")


def _steps_so_far(entry: Entry) -> dict[int, int]:
    """Return the environment steps of practice up to the end of each cycle."""
    return dict(zip(entry.steps, accumulate(entry.steps.values()), strict=True))  # in the order of `practised`: 0, then the cycles


def _tasks(entries: Sequence[Entry]) -> Table:
    """Return success on the test seeds task by task, where a run has several."""
    # Each once, in the order of the runs; a set has no order.
    names = list(dict.fromkeys(name for entry in entries for name in entry.record.summary.get("tasks", {})))
    rows = [[entry.name, *(_rate(entry.record.summary.get("tasks", {}).get(name)) for name in names)] for entry in entries]
    return Table(("run", *names), rows if names else ())


def _rate(part: dict[str, Any] | None) -> str:
    return str(Rate.read(part["after"])) if part else NONE


def settings(entries: Sequence[Entry]) -> Table:
    """Return the config keys in which the runs differ."""
    flat = [_flat(yaml.safe_load((entry.record.folder / "config.yaml").read_text())) for entry in entries]
    known = [key for key in dict.fromkeys(key for each in flat for key in each) if key.partition(".")[0] not in FREE]
    # Compared as texts, since a set takes 1, 1.0 and True for one value.
    keys = [key for key in known if len({str(each.get(key, NONE)) for each in flat}) > 1]
    return Table(("key", *(entry.name for entry in entries)), [[key, *(str(each.get(key, NONE)) for each in flat)] for key in keys])


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return the keys of nested mappings and lists, joined by dots; empty ones have none."""
    if not isinstance(content, dict | list):
        return {prefix.rstrip("."): content}
    items: Iterable[tuple[Any, Any]] = content.items() if isinstance(content, dict) else enumerate(content)
    return {key: value for name, part in items for key, value in _flat(part, f"{prefix}{name}.").items()}


def _warnings(entries: Sequence[Entry]) -> Iterable[str]:
    """Yield why the comparison may mislead: other frames, or another base model."""
    first, *others = [_fingerprint(entry.record) for entry in entries]
    for entry, own in zip(entries[1:], others, strict=True):
        for key in ("environment", "renderer", "a frame's hash", "base model"):
            if key in first and key in own and own[key] != first[key]:  # runs of older versions lack some
                yield f"{entry.name} has another {key.removeprefix('a ')} than {entries[0].name}: {own[key]}, not {first[key]}."


def _fingerprint(record: RunRecord) -> dict[str, str]:
    """Return the values of a run's fingerprint by their name: of several environments each different one, in alphabetical order."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, value in fingerprint(record):
        found[name].add(value)
    return {name: "; ".join(sorted(values)) for name, values in found.items()}
