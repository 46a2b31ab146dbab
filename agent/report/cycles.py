"""The cycles of a run in tables: what was practised, what was learnt from, and what the gate decided."""

from collections.abc import Iterator

from agent.report.page import NONE, Table, grouped, percent
from agent.report.record import Content, RunRecord
from agent.run.files import load
from agent.run.layout import EXAMPLES, cycle_folder

HEAD = ("cycle", "result", "candidate at the gate", "gain", "episodes", "success", "mixed seeds", "demonstrations", "pairs", "policy samples")
KINDS = {  # of training data, with the coefficients of the losses that use them; without one the data were made and not used
    "demonstrations": ("bc_coef",),
    "pairs": ("dpo_coef",),
    "samples": ("pg_coef", "filtered_bc_coef"),
    "qa_examples": (),  # always used
}
SOURCES = {  # of demonstrations, by the figures of `curate.json`; runs of older versions have the fourth alone
    "best": "of best episodes",
    "replayed": "of experts and earlier successes",
    "lookahead": "by look-ahead",
    "hindsight": "in hindsight",
    "conditioned": "of the policy's own, marked good or bad",
}
NO_DATA = "nothing to learn from, all episodes of each seed ended alike"
WARNING = "exploration shrinks"  # begins the one alarm that holds nothing back
PAIRS = {"decision": "of two episodes", "lookahead": "by look-ahead", "hindsight": "in hindsight", "trajectory": "of whole episodes"}  # by kind
NAMES = {"demonstrations": "demonstrations", "pairs": "preference pairs", "samples": "policy samples", "qa_examples": "questions to the detector"}


def cycle_row(record: RunRecord, number: int) -> list[object]:
    """Return a cycle's row of the table with the columns `HEAD`; `etude watch` shows some of its cells."""
    stages = record.cycles[number]
    collected, curated, gate = (stages.get(stage, {}).get("figures", {}) for stage in ("collect", "curate", "evaluate"))
    recorded, config = stages.get("collect", {}).get("recorded", {}), record.config.at(number).collect
    count = recorded.get("episodes", config.num_seeds * config.episodes_per_seed)  # older versions recorded no counts: then as the config asks
    parts = {"": count, " earlier": int(curated.get("earlier", 0)), " look-ahead": recorded.get("lookahead/episodes", 0)}
    return [
        number,
        gate_result(stages.get("cycle"), record.config.evaluate.gate_alpha),
        record.gate(stages.get("tune", {}).get("policy", ""), number) or NONE,
        f"{100 * gate['gate_gain']:+.1f}, p = {gate['gate_p_value']:.2g}" if "won" in gate else NONE,  # without `won` no candidate came to the gate
        " + ".join(f"{part}{of}" for of, part in parts.items() if part) if collected else NONE,
        percent(collected["success"]) if collected else NONE,
        f"{curated['mixed_seeds']:.0f} of {curated['seeds']:.0f}" if curated else NONE,
        *(curated.get(kind, NONE) for kind in ("demonstrations", "pairs", "samples")),
    ]


def gates_by_task(record: RunRecord) -> Table:
    """Return the success of warm start and candidates at their gates, task by task; without a row where the run has one task."""
    titles, rows = [env.title for env in record.config.envs], []
    for number, stages in {0: record.start, **record.cycles}.items():
        card = record.gate_card(stages.get("tune", {}).get("policy", ""), number)
        if card and len(titles) > 1:
            # 'task/seed': a task's name may hold slashes itself.
            parts = [card.part(key for key in card.outcomes if key.rpartition("/")[0] == title) for title in titles]
            rows.append([f"cycle {number}" if number else "warm start", *(part.success if part.outcomes else NONE for part in parts)])
    return Table(("at the gate", *titles), rows)


def gate_result(result: Content | None, alpha: float) -> str:
    """Return what became of a candidate, and why.

    Args:
        result: content of the cycle's `cycle.json`; None while there is none.
        alpha: `evaluate.gate_alpha`.
    """
    if result is None:
        return "in progress"
    alarms = "; ".join(raised := result.get("alarms", []))
    if "won" not in result:
        held_back = any(not each.startswith(WARNING) for each in raised)
        return "no candidate: " + "; ".join(filter(None, ("" if held_back else NO_DATA, alarms)))
    unsure = result["gate_p_value"] > alpha and f"not surely better (p above {alpha:g})"  # False, which `filter` drops, or a phrase
    why = "; ".join(filter(None, ("not better" if result["gate_gain"] <= 0 else unsure, alarms)))
    seeds = f"{result['won']} seeds won, {result['lost']} lost"
    return f"● promoted: {seeds}{f'; {alarms}' if alarms else ''}" if result["promoted"] else f"○ rolled back: {seeds}; {why}"


def learnt(record: RunRecord) -> list[dict[str, object]]:
    """Return what each cycle learnt from: counts of the kinds that its losses use, with their shares, and the kinds that none uses."""
    found = []
    for number, stages in ((number, stages) for number, stages in record.cycles.items() if "curate" in stages):
        figures, tune = stages["curate"]["figures"], record.config.at(number).tune
        # A coefficient of 0 switches a loss off.
        used = {kind: figures.get(kind, 0) for kind, names in KINDS.items() if not names or any(getattr(tune, name) for name in names)}
        unused = [f"{grouped(figures[kind])} {NAMES[kind]}" for kind in KINDS if kind not in used and figures.get(kind)]
        total = sum(used.values())
        # `if count` also keeps a total of 0 from being divided by.
        parts = [(kind, NAMES[kind], grouped(count), count / total) for kind, count in used.items() if count]
        found.append({"cycle": number, "parts": parts, "more": "; ".join(_more(record, number, used)), "unused": ", ".join(unused)})
    return found


def _more(record: RunRecord, number: int, used: dict[str, int]) -> Iterator[str]:
    """Yield what the training data of a cycle are made of, as phrases."""
    figures, file = record.cycles[number]["curate"]["figures"], cycle_folder(record.folder, number) / EXAMPLES
    sources = [f"{figures[name]:.0f} {words}" for name, words in SOURCES.items() if figures.get(name)]
    if used.get("demonstrations") and sources:
        yield f"demonstrations: {', '.join(sources)}"
    if used.get("pairs") and file.exists():
        kinds = [f"{count} {PAIRS.get(kind, kind)}" for kind, count in load(file)["counts"].items()]  # a rule of the user's may name kinds of its own
        yield f"pairs: {', '.join(kinds)}"
    if figures.get("mixed_seeds"):
        yield f"{figures['mixed_seeds']:.0f} of {figures['seeds']:.0f} seeds are mixed"


def alarms(record: RunRecord) -> list[str]:
    """Return every alarm of a guard, with its cycle; that of the warm start's gate too."""
    of_start = record.start.get("evaluate", {}).get("alarms", [])
    each = [(number, alarm) for number, stages in record.cycles.items() for alarm in stages.get("cycle", {}).get("alarms", [])]
    return [*(f"warm start: {alarm}" for alarm in of_start), *(f"cycle {number}: {alarm}" for number, alarm in each)]


def guards(record: RunRecord) -> Table:
    """Return which guards watched the run, and how often each held something back; see docs/metrics.md."""
    rows: list[tuple[str, tuple[str, ...], str]]  # name, words of its alarms, consequence
    rows = [("the labels contradict the rewards", ("labels contradict rewards",), "the cycle trains nothing")]
    if record.config.label.by == "detector":
        # "cannot tell" and "could not be measured".
        rows.append(("the detector cannot tell a success", ("the detector c",), "the cycle trains nothing"))
    training = ("broke down", "collapsed onto", "too far from its champion", "unlearnt its")
    rows.append(("the training collapses: entropy, clipping, imitation, or a figure that is not finite", training, "the candidate is not evaluated"))
    if len(record.config.envs) > 1:
        rows.append(("a task is forgotten", ("is forgotten",), "the candidate is not promoted"))
    rows.append(("the exploration shrinks: far fewer seeds are solved at least once", (WARNING,), "a warning alone"))
    # Alarms are stored as sentences, and a few words tell whose they are.
    counts = [sum(any(key in alarm for key in keys) for alarm in alarms(record)) for _, keys, _ in rows]
    cells = [(name, {0: "never", 1: "once"}.get(count, f"{count} times"), then) for (name, _, then), count in zip(rows, counts, strict=True)]
    return Table(("guard", "raised", "consequence"), cells)
