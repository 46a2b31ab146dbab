"""A run -> one self-contained HTML page: curves, tables, films. Beside it, what the terminal shows: `watch` and `tasks`."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from agent.config.config import Config
from agent.config.read import read
from agent.records import Rate, Scorecard
from agent.report import curves
from agent.run import layout
from agent.run.clock import may_begin
from agent.run.files import load, write_text
from agent.run.layout import STAGES, gate_of

Content = dict[str, Any]  # of a stage file, or of all stage files of a folder by stage
NONE = "-"
STARTS = ("base", "warm start")
WORDS = {"base": "base model", "before": "policy"}
EVERY = ("ground", "base", "demonstrate", "referee", "collect", "critic", "countdown", *STAGES[1:])
PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>$title</title><style>
:root { color-scheme: light dark; --ink: #24292f; --soft: #5c6670; --line: #d9dee3; --ground: #fff; --card: #f4f6f8; }
@media (prefers-color-scheme: dark) { img { filter: invert(0.9) hue-rotate(180deg); }
  :root { --ink: #d5dae0; --soft: #98a3ad; --line: #343b42; --ground: #15181c; --card: #1e2328; } }
body { margin: auto; max-width: 1200px; padding: 40px 24px 80px; background: var(--ground); color: var(--ink); }
body { font: 16px/1.55 system-ui, sans-serif; } h1 { margin: 0 0 12px; } h2 { font-size: 20px; margin: 44px 0 10px; } p { max-width: 80ch; }
.soft, figcaption, th, dt, small { color: var(--soft); font-size: 14px; font-weight: 400; } small { display: block; } img { width: 100%; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 12px; } dd { margin: 0; font-size: 24px; }
dl div, pre { background: var(--card); border-radius: 8px; padding: 12px 14px; } pre { overflow-x: auto; font-size: 13px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; } video { border-radius: 6px; }
th, td { text-align: left; vertical-align: top; padding: 6px 16px 6px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
td:nth-child(10) { white-space: normal; min-width: 14em; } figure { display: inline-block; margin: 0 8px 8px 0; }</style></head>
<body>$body</body></html>""")


@dataclass(frozen=True)
class Story:
    """What lies in a run's folder so far."""

    config: Config
    start: Content  # stage -> content
    cycles: dict[int, Content]  # number -> stage -> content
    exams: Content  # 'gate-POLICY' or 'final-POLICY' -> content
    summary: Content  # of `summary.json`; empty while the run is not finished
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> "Story":
        """Return the story of a run; raises ValueError where there is none, or a damaged one."""
        settings, summary = read(folder / "config.yaml", own=True), layout.summary(folder)
        cycles = {number: _stages(each) for number, each in layout.cycle_folders(folder).items()}
        if summary.get("cycles", 0) < sum(number <= settings.cycles for number in cycles):  # taken up again, with more cycles
            summary = {}
        return cls(settings, _stages(folder / "ground") | _stages(folder / "start"), cycles, _stages(folder / "exams"), summary, folder)

    def now(self) -> str:
        """Return the stage that the run is at."""
        if self.summary:
            return "finished"
        if missing := [stage for stage in ("demonstrate", "tune") if stage not in self.start]:
            return f"warm start, {missing[0]}"
        number = next((n for n in range(1, self.config.cycles + 1) if "cycle" not in self.cycles.get(n, {})), 0)
        late = number and number not in self.cycles and not may_begin(self.folder, number, self.config.minutes)
        done = self.cycles.get(number, {})
        return f"cycle {number}, {next((s for s in STAGES if s not in done), STAGES[-1])}" if number and not late else "final exam"

    def gate(self, policy: str, cycle: int | None = None) -> Rate | None:
        """Return a policy's success rate on the gate seeds of one cycle, where it has sat those, or on all that it has sat, if any."""
        sat = [(gate_of(name), Scorecard(policy, content["outcomes"])) for name, content in self.exams.items()]
        found = [card for who, card in sat if who == (policy, cycle)] or [card for who, card in sat if who[0] == policy]
        return functools.reduce(Scorecard.and_also, found).success if found else None

    def champions(self) -> dict[int, Rate]:
        """Return the champion's gate rate before the first cycle (0) and after each finished one."""
        kept = self.start.get("evaluate", {}).get("figures", {}).get("promoted", True)
        names = {0: self.start.get("tune" if kept else "base", {}).get("policy", "")}
        names |= {number: stages["cycle"]["champion"] for number, stages in self.cycles.items() if "cycle" in stages}
        return {number: rate for number, name in names.items() if (rate := self.gate(name))}

    def ends(self) -> dict[str, Rate]:
        """Return what was passed of the test seeds: by the base model, the warm start and the last champion; older runs have no row of the base."""
        named = {name.replace("_", " "): self.summary.get(name) for name in ("base", "warm_start", "after")}
        found = {name: Rate.read(part) for name, part in named.items() if isinstance(part, dict)}
        return found if "base" in found else {"before": Rate.read(self.summary["before"]), **found} if self.summary else {}

    def seconds(self) -> dict[str, dict[str, float]]:
        """Return the seconds by stage of the warm start, of each cycle, of the final exam, and of all; exams count as `evaluate`."""
        left = {(*gate_of(name), name): content["seconds"] for name, content in self.exams.items()}
        table: dict[str, dict[str, float]] = {}
        for number, stages in {0: self.start, **self.cycles}.items():
            row = {stage: content["seconds"] for stage, content in stages.items() if stage != "cycle"}
            own = {stages.get(stage, {}).get("policy") for stage in ("base", "tune")} - {None}  # older runs had the same gate seeds in all cycles
            mine = [key for key in left if key[0] and (key[1] == number if key[1] != 1 else key[0] in own)]
            exam = sum(left.pop(key) for key in mine)
            table[f"cycle {number}" if number else "warm start"] = {**row, "evaluate": row.get("evaluate", 0.0) + exam}
        table["final exam"] = {"evaluate": sum(left.values())}
        return table | {"all": {stage: sum(row.get(stage, 0.0) for row in table.values()) for stage in EVERY}}


def report(folder: Path) -> Path:
    """Write a run's `report.html`, finished or not, and return its path; the page needs no other file and no network.

    Raises ValueError where there is no run, or a damaged one, or the page cannot be written.
    """
    story = Story.read(folder)
    parts = [f"<h2>{title}</h2><div class=wide>{body}</div><p class=soft>{note}</p>" for title, body, note in _parts(story, folder) if body]
    page = PAGE.substitute(title=escape(f"{story.config.task} - etude"), body="".join([_headline(story), *parts]))
    write_text(folder / "report.html", page.encode("ascii", "xmlcharrefreplace").decode())  # the same bytes whatever the locale
    return folder / "report.html"


def watch(folder: Path, once: bool = False) -> None:
    """Show in the terminal how a run goes, anew each second until it is finished or Ctrl-C; with `once`, only its present state."""
    from rich.live import Live

    with contextlib.suppress(KeyboardInterrupt), Live(_board(folder), auto_refresh=False) as live:
        while not once and Story.read(folder).now() != "finished":
            time.sleep(1)
            live.update(_board(folder), refresh=True)


def _headline(story: Story) -> str:
    task, summary = escape(story.config.task), story.summary
    if not summary:
        rates, minutes = list(story.champions().values()), sum(story.seconds()["all"].values()) / 60
        so_far = f"Gate exam so far: first {rates[0]}; champion now {rates[-1]}." if rates else "No exam has been finished yet."
        return f"<h1>{task}: unfinished</h1><p>This run is at {story.now()}, after {minutes:.1f} minutes of work. {so_far}</p>"
    ends, gain, p = story.ends(), summary["gain"], summary["p_value"]
    meaning = "Chance alone could explain the difference" if p > 0.05 else f"It got {'better' if gain > 0 else 'worse'}, beyond chance"
    which = summary.get("before_is", "before").replace("_", " ")
    rates = {name: f"{100 * rate.rate:.1f} %" for name, rate in ends.items()}
    first, last = rates[which], rates["after"]
    plain = (
        f"Before practice, the {WORDS.get(which, which)} passed {first} of the {ends['after'].n} seeds of the test; the last champion passes {last}. "
        f"{meaning}. The gain is over the base model or its warm start, whichever passes more. These seeds were never practised, and nothing was "
        "decided by them. Brackets: 95 % intervals; p: exact McNemar test."
    )
    tiles = (
        *((name, rates[name], f"[{100 * rate.low:.1f}, {100 * rate.high:.1f}], n = {rate.n}{_took(summary, name)}") for name, rate in ends.items()),
        (
            f"gain over the {which}, points",
            f"{100 * gain:+.1f}",
            f"[{100 * summary['gain_low']:+.1f}, {100 * summary['gain_high']:+.1f}], p = {p:.2g}",
        ),
        ("cycles", summary["cycles"], f"{summary['promoted']} promoted; {summary['seconds']['total'] / 60:.1f} minutes of work"),
    )
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>" for name, value, more in tiles)
    return f"<h1>{task}: {first} → {last}</h1><p>{plain}</p><dl>{facts}</dl>"


def _took(summary: Content, name: str) -> str:
    """Return how long a success took on average, where that is known."""
    part = summary.get(name.replace(" ", "_"), {})
    took = part.get("decisions_to_success")
    return "" if took is None else f"; a success takes {took:.1f} decisions, {part['steps_to_success']:.1f} steps"


def _parts(story: Story, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield title, HTML and a note of each part of the page; the HTML is empty where there is nothing to show."""
    examined = story.summary or story.champions()
    note = "The gate decides promotions, each cycle on new seeds; a champion's point is of all its gate seeds. Diamonds: test seeds, 95 % intervals."
    yield "Success over the cycles", curves.picture(curves.curve, story, 5.2, "success by cycle") if examined else "", note
    parts = story.summary.get("tasks", {}).items()
    note = "The final exam, environment by environment."
    yield "Tasks", _table(("task", *STARTS, "after", "gain, points"), [_task_row(name, part) for name, part in parts]) if parts else "", note
    parts = story.summary.get("variations", {}).items()
    note = "The final seeds in scenes that differ from those of practice; nothing was decided by them."
    rows = [_task_row(name, part, ("before",)) for name, part in parts]
    yield "Variations", _table(("variation", "before", "after", "gain, points"), rows) if rows else "", note
    head = ("cycle", "practised", "success", "mixed seeds", "demonstrations", "pairs", "trials", "challenger at the gate", "gain", "and so")
    note = "Practised: new takes + earlier ones of the same champion + guided ones. Mixed: some takes succeed. Won, lost: only one passed."
    yield "Cycles", _table(head, [_row(story, number) for number in story.cycles]) if story.cycles else "", note
    rows = [(name, *(row.get(stage, 0) for stage in EVERY), sum(row.values())) for name, row in story.seconds().items()]
    yield "Seconds", _table(("", *EVERY, "all"), [(name, *(f"{x:.1f}" if x else NONE for x in cells)) for name, *cells in rows]), ""
    films = sorted((folder / "films").glob("*.mp4"))
    yield "Before and after", "".join(_film(f, "left: before, right: after", 360) for f in films if f.stem.startswith("contrast-")), ""
    takes = sorted((number, file) for file in films if (number := layout.cycle_number(file.stem.rpartition("-")[0])))
    filmed = sorted({number for number, _ in takes})
    chosen = {filmed[0], filmed[len(filmed) // 2], filmed[-1]} if filmed else {}
    shown = [_film(file, f"cycle {number}, {file.stem.split('-')[2]} take", 180) for number, file in takes if number in chosen]
    yield "Best and worst takes of practice", "".join(shown), ""
    note = "All gradient steps of the run, one after the other. A line: a cycle begins; a grey ground: its challenger was rolled back."
    tuned = any(each.get("tune", {}).get("rows") for each in (story.start, *story.cycles.values()))
    yield "Training", curves.picture(curves.training, story, 5.4, "figures by step") if tuned else "", note
    faults = "".join(f"<li>{escape(line)}</li>" for line in _faults(story))
    yield "Faults of the environment", faults, "These episodes were spoilt; nothing was learnt from them, and those of exams count as failed."
    yield "Config", f"<details><summary>config.yaml</summary><pre>{escape((folder / 'config.yaml').read_text())}</pre></details>", ""


def _task_row(task: str, part: Content, starts: tuple[str, ...] = ("base", "warm_start")) -> list[object]:
    low, high = (part[key if (key := f"gain_{end}") in part else end] for end in ("low", "high"))  # older runs have `low` and `high`
    gain = f"{100 * part['gain']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}], p = {part['p_value']:.2g}"
    rates = {"warm_start": part["before"], **part} if "base" not in part else part
    return [task, *(Rate.read(rates[name]) if name in rates else NONE for name in starts), Rate.read(part["after"]), gain]


def _row(story: Story, number: int) -> list[object]:
    """Return a cycle's row of the table."""
    stages = story.cycles[number]
    practised, lessons, result = (stages.get(stage, {}).get("figures", {}) for stage in ("collect", "curate", "evaluate"))
    recorded = stages.get("collect", {}).get("recorded", {})
    count = recorded.get("episodes", story.config.at(number).collect.seeds * story.config.at(number).collect.takes)
    parts = {"": count, " earlier": int(lessons.get("earlier", 0)), " guided": recorded.get("guided/episodes", 0)}
    return [
        number,
        " + ".join(f"{part}{of}" for of, part in parts.items() if part) if practised else NONE,
        f"{100 * practised['success']:.1f} %" if practised else NONE,
        f"{lessons['mixed_seeds']:.0f} of {lessons['seeds']:.0f}" if lessons else NONE,
        *(lessons.get(kind, NONE) for kind in ("demonstrations", "pairs", "trials")),
        story.gate(stages.get("tune", {}).get("policy", ""), number) or NONE,
        f"{100 * result['gate_gain']:+.1f}, p = {result['gate_p_value']:.2g}" if "won" in result else NONE,
        _verdict(stages.get("cycle"), story.config.evaluate.alpha),
    ]


def _verdict(result: Content | None, alpha: float) -> str:
    """Return what became of a challenger, and why."""
    alarms = "; ".join((result or {}).get("alarms", []))
    if result is None or "won" not in result:
        return f"no challenger: {alarms or 'nothing to learn from, all takes of each seed ended alike'}" if result else "in progress"
    unsure = result["gate_p_value"] > alpha and f"not surely better (p above {alpha:g})"
    why = "; ".join(filter(None, ("not better" if result["gate_gain"] <= 0 else unsure, alarms)))
    seeds = f"{result['won']} seeds won, {result['lost']} lost"
    return f"● promoted: {seeds}{f'; {alarms}' if alarms else ''}" if result["promoted"] else f"○ rolled back: {seeds}; {why}"


def _faults(story: Story) -> Iterator[str]:
    yield from (f"exam {name}, {each}" for name, content in story.exams.items() for each in content.get("faults", []))
    for number, content in ((number, stages["collect"]) for number, stages in story.cycles.items() if "collect" in stages):
        yield from (f"cycle {number}, {each}" for each in content["faults"])
        if (more := content["figures"]["faults"] - len(content["faults"])) > 0:
            yield f"cycle {number}, and {more} more"


def _film(file: Path, caption: str, width: int) -> str:
    video = f'<video src="{curves.uri("video/mp4", file.read_bytes())}" width="{width}" autoplay loop muted controls playsinline></video>'
    return f"<figure>{video}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["".join(f"<th>{escape(each)}</th>" for each in head), *("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _board(folder: Path) -> Any:
    """Return the terminal's table of a run."""
    from rich import markup
    from rich.table import Table

    story = Story.read(folder)
    seconds = {name: sum(row.values()) for name, row in story.seconds().items()}
    since = time.time() - max((file.stat().st_mtime for file in folder.glob("*/*.json")), default=time.time())
    table = Table("cycle", "practice", "gate exam", "and so", "seconds", title=markup.escape(f"{story.config.task}, {folder}"))
    for number in story.cycles:
        row = [str(cell) for cell in _row(story, number)]
        table.add_row(*(markup.escape(row[i]) for i in (0, 2, 7, 9)), f"{seconds[f'cycle {number}']:.0f}")
    ends = [f"{name} {rate}" for name, rate in story.ends().items()] or [f"for {since:.0f} s"]
    table.caption = markup.escape("; ".join([story.now(), *ends, f"{seconds['all']:.0f} s of work"]))
    return table


def _stages(folder: Path) -> Content:
    return {file.stem: _load(file, file.stat().st_mtime_ns) for file in sorted(folder.glob("*.json"))}


_load = functools.lru_cache(4096)(lambda file, changed: load(file))  # read again only when `changed`: watching costs little
