"""What a run has cost: time by stage, environment steps, decisions tried in copies of the simulator, gradient steps."""

from collections.abc import Mapping

from agent.report.page import NONE, Table, grouped
from agent.report.record import TIMED, RunRecord
from agent.run import listing
from agent.run.layout import LOOKAHEAD, cycle_folder, gate_of


def practised(record: RunRecord) -> dict[int, int]:
    """Return the environment steps of practice by cycle, look-ahead episodes among them; 0: demonstrations. Read from the stored episodes."""
    # The warm start has no practice: its episodes are demonstrations. Those of a dataset were recorded elsewhere, and cost the run no step.
    folders = {0: [] if record.config.demonstrate.dataset else [record.folder / "start"]}
    folders |= {number: [folder := cycle_folder(record.folder, number), folder / LOOKAHEAD] for number in record.cycles}
    return {number: sum(listing.environment_steps(folder / "episodes") for folder in own) for number, own in folders.items()}


def evaluated(record: RunRecord) -> dict[int | None, int]:
    """Return the environment steps of evaluations, up to each success or end, by cycle of the gate; None: the test evaluation."""
    steps: dict[int | None, int] = {}
    for name, content in record.evaluations.items():
        cycle = gate_of(name)[1]
        # Effort of a seed: its decisions and its environment steps.
        steps[cycle] = steps.get(cycle, 0) + sum(made for _, made in content["effort"].values())
    return steps


def seconds(record: RunRecord) -> Table:
    """Return the seconds by stage."""
    table = {name: [*(row.get(stage, 0) for stage in TIMED), sum(row.values())] for name, row in record.seconds().items()}
    # A cycle in which nothing has finished has no row.
    rows = [(name, *(f"{each:.1f}" if each else NONE for each in row)) for name, row in table.items() if any(row)]
    return Table(("", *(stage.replace("_", " ") for stage in TIMED), "all"), rows).shown


def steps(record: RunRecord, practice: Mapping[int, int]) -> Table:
    """Return environment steps, tried decisions and gradient steps by cycle; `practice` is as of `practised`."""
    gates = evaluated(record)
    rows: list[list[object]] = []
    for number, stages in {0: record.start, **record.cycles}.items():
        tried, tuned = (stages.get(stage, {}).get("figures", {}) for stage in ("collect", "tune"))
        row = [practice[number], tried.get("candidates_tried", 0), gates.get(number, 0), tuned.get("steps", 0)]
        rows.append([f"cycle {number}" if number else "warm start", *(grouped(each) if each else NONE for each in row)])
    if gates.get(None):
        rows.append(["test evaluation", NONE, NONE, grouped(gates[None]), NONE])
    return Table(("", "environment steps of practice", "decisions tried in copies", "steps of evaluations", "gradient steps"), rows).shown
