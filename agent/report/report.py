"""A run -> one self-contained HTML page. Its text and layout are in html/run.html.j2."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.records import Rate
from agent.report import costs, curves, cycles, embedded, failures
from agent.report.detector import detector
from agent.report.page import NONE, Table, grouped, minutes, percent, write_page
from agent.report.pairs import browser
from agent.report.record import Content, RunRecord
from agent.run.files import load

NAMES = {"base": "base model", "warm_start": "warm start", "after": "last champion"}


def report(folder: Path) -> Path:
    """Write a run's `report.html`, finished or not, and return its path; the page needs no other file and no network.

    Raises:
        ValueError: there is no run, or a damaged one, or the page cannot be written.
    """
    return write_page("run.html.j2", content(RunRecord.read(folder)), folder / "report.html")


def content(record: RunRecord) -> dict[str, Any]:
    """Return what the template shows; a part that a run does not have is empty."""
    summary, by_instruction = record.summary, failures.by_instruction(record)
    (practice, elsewhere), practised = embedded.practice(record), costs.practised(record)
    return {
        "title": record.config.task,
        "name": record.folder.resolve().name,
        # The template needs each key: it refuses names that are missing.
        **(_headline(record) if summary else {"first": "", "last": "", "meaning": _so_far(record)}),
        "facts": _facts(record, sum(practised.values())),
        "alarms": [*cycles.alarms(record), *_beginnings(record)],
        "ends": _ends(record),
        "curve": curves.success(record) if summary or record.champions() else "",
        "tasks": _tasks("task", summary.get("tasks", {}), ("base", "warm_start")),
        "gates": cycles.gates_by_task(record),
        "variations": _tasks("variation", summary.get("variations", {}), ("before",)),  # the better start alone is evaluated in them
        "before_after": embedded.before_after(record),
        "failures": by_instruction,
        # Only where no evaluation has stored its instructions.
        "in_practice": Table((), ()) if record.instructions() else failures.in_practice(record),
        "failure_videos": embedded.failures(record),
        "learnt": cycles.learnt(record),
        "browser": browser(record),
        "practice": practice,
        "elsewhere": elsewhere,
        "cycles": Table(cycles.HEAD, [cycles.cycle_row(record, number) for number in record.cycles]).shown,
        "guards": cycles.guards(record),
        "detector": detector(record),
        "training": curves.training(record),
        "seconds": costs.seconds(record),
        "steps": costs.steps(record, practised),
        "faults": list(_faults(record)),
        "fingerprint": fingerprint(record),
        "command": command(record),
        "config": (record.folder / "config.yaml").read_text(),
    }


def _so_far(record: RunRecord) -> str:
    rates, spent = list(record.champions().values()), sum(record.seconds()["all"].values()) / 60
    gates = f"Gate evaluation so far: first {rates[0]}; champion now {rates[-1]}." if rates else "No evaluation has been finished yet."
    return f"This run is at {record.now()}, after {spent:.1f} minutes of work. {gates}"


def _headline(record: RunRecord) -> dict[str, str]:
    """Return the rates before and after, and what they mean in a sentence."""
    summary, ends = record.summary, record.ends()
    better, p_value = summary["before_is"], summary["p_value"]
    first, last = percent(ends[better.replace("_", " ")].rate), percent(ends["after"].rate)
    surely = f"It got {'better' if summary['gain'] > 0 else 'worse'}, beyond chance"
    # The usual level of papers; that of the gate is `evaluate.gate_alpha`.
    meaning = "Chance alone could explain the difference" if p_value > 0.05 else surely
    plain = f"Before practice, the {NAMES[better]} passed {first} of the {ends['after'].n} test seeds; the last champion passes {last}. {meaning}."
    return {"first": first, "last": last, "meaning": plain}


def _facts(record: RunRecord, steps: int) -> list[tuple[str, str, str]]:
    """Return the figures under the headline: name, value, and a smaller line; `steps` are those of practice."""
    summary, facts = record.summary, []
    if summary:
        interval = f"[{100 * summary['gain_low']:+.1f}, {100 * summary['gain_high']:+.1f}], p = {summary['p_value']:.2g}"
        facts.append((f"gain over the {summary['before_is'].replace('_', ' ')}, points", f"{100 * summary['gain']:+.1f}", interval))
    results = [stages["cycle"] for stages in record.cycles.values() if "cycle" in stages]
    if results:
        promoted = sum(result["promoted"] for result in results)
        facts.append(("cycles", str(len(results)), f"{promoted} promoted, {len(results) - promoted} not"))
    if steps:
        facts.append(("environment steps", grouped(steps), "of demonstrations and practice"))
    # The run's own figure at its end; before that, what has finished.
    total = summary["seconds"]["total"] if summary else sum(record.seconds()["all"].values())
    return [*facts, ("work", minutes(total), "all stages and evaluations")]


def _ends(record: RunRecord) -> list[dict[str, Any]]:
    """Return the test evaluations for the bars at the top of the page."""
    named = {name.replace("_", " "): label for name, label in NAMES.items()}
    return [{"name": named[name], "rate": rate, "took": _took(record.summary, name)} for name, rate in record.ends().items()]


def _took(summary: Content, name: str) -> str:
    """Return how long a success took on average, where that is known."""
    part = summary[name.replace(" ", "_")]
    decisions = part["decisions_to_success"]
    # None: no seed was passed, or its effort was not stored.
    return "" if decisions is None else f"a success takes {decisions:.1f} decisions, {part['steps_to_success']:.1f} steps"


def _tasks(kind: str, parts: Content, starts: Sequence[str]) -> Table:
    """Return a table of test evaluations: of tasks or of variations."""
    rows = []
    for name, part in parts.items():
        gain = f"{100 * part['gain']:+.1f} [{100 * part['gain_low']:+.1f}, {100 * part['gain_high']:+.1f}], p = {part['p_value']:.2g}"
        rows.append([name, *(Rate.read(part[start]) if start in part else NONE for start in starts), Rate.read(part["after"]), gain])
    return Table((kind, *(start.replace("_", " ") for start in starts), "after", "gain, points"), rows).shown


def _beginnings(record: RunRecord) -> list[str]:
    """Return a sentence if many practice seeds of the first cycle begin alike; else []."""
    different, seeds = record.cycles.get(1, {}).get("collect", {}).get("beginnings", (0, 0))
    if seeds < 16 or different >= 0.9 * seeds:  # of few seeds some may begin alike by chance
        return []
    return [f"The {seeds} practice seeds of cycle 1 have only {different} different beginnings, so evaluation seeds repeat situations of practice."]


def _faults(record: RunRecord) -> Iterator[str]:
    yield from (f"evaluation {name}, {each}" for name, content in record.evaluations.items() for each in content.get("faults", []))
    for number, content in ((number, stages["collect"]) for number, stages in record.cycles.items() if "collect" in stages):
        yield from (f"cycle {number}, {each}" for each in content["faults"])
        if (more := content["figures"]["faults"] - len(content["faults"])) > 0:  # the stage file names the first twenty
            yield f"cycle {number}, and {more} more"


def command(record: RunRecord) -> str:
    """Return the command that repeats the run, into a folder beside it."""
    # This config holds the overrides of the command line too.
    return f"etude improve {shlex.quote(str(record.folder / 'config.yaml'))} {shlex.quote(f'{record.folder}-again')}"


def fingerprint(record: RunRecord) -> list[tuple[str, str]]:
    """Return what a repetition must have in common with the run: environment, renderer, packages, model, weights, seed."""
    rows = [("seed of the run", str(record.config.seed))]
    file = record.folder / "environment.json"
    for title, own in (load(file) if file.exists() else {}).items():
        rows.append(("environment", ", ".join([title, *(f"{name} {version}" for name, version in own.get("packages", {}).items())])))
        rows += [(name, str(own[key])) for name, key in (("renderer", "renderer"), ("a frame's hash", "frames"), ("Python", "python")) if key in own]
    file = record.folder / "base.json"
    if file.exists():
        base = load(file)
        rows.append(("base model", f"{base['model']}, weights {base['weights']}"))
    policy = record.summary.get("policy", "")
    return [*rows, *([("last champion", f"weights {policy}")] if policy else [])]
