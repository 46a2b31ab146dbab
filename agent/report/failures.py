"""What the last champion still fails, grouped by the instruction; and what the videos of test seeds show."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.records import Scorecard
from agent.report.page import NONE, Table, percent
from agent.report.record import RunRecord
from agent.run import listing
from agent.run.layout import cycle_folder

SEEDS = 6  # named in a row, at most
FEW = 40  # rows, at most; those with most failures come first


@dataclass
class Group:
    """Test seeds of one instruction."""

    before: int = 0  # passed by the better start
    after: int = 0  # passed by the last champion
    failed: list[str] = field(default_factory=list)  # by the last champion, 'task/seed'
    n: int = 0


def by_instruction(record: RunRecord) -> Table:
    """Return the test seeds by instruction, or by task where a run of an older version has not stored the instructions."""
    before, after = record.tested()
    if not after:
        return Table((), ())
    told = record.instructions()
    groups: dict[str, Group] = defaultdict(Group)
    for key, passed in after.outcomes.items():
        group = groups[told.get(key, key.rpartition("/")[0])]
        group.n, group.after = group.n + 1, group.after + passed
        group.before += before.outcomes.get(key, False) if before else 0
        group.failed += [] if passed else [key.rpartition("/")[2]]
    ordered = sorted(groups.items(), key=lambda each: (-len(each[1].failed), each[0]))[:FEW]
    head = ("instruction" if told else "task", "test seeds", "before", "after", "still fail", "seeds that fail")
    return Table(head, [_row(name, group, before) for name, group in ordered]).shown


def _row(name: str, group: Group, before: Scorecard | None) -> list[object]:
    seeds = ", ".join(group.failed[:SEEDS]) + (f" and {len(group.failed) - SEEDS} more" if len(group.failed) > SEEDS else "")
    start = percent(group.before / group.n) if before else NONE
    return [name, group.n, start, percent(group.after / group.n), len(group.failed) or NONE, seeds or NONE]


def in_practice(record: RunRecord) -> Table:
    """Return the success of the last cycle's practice by instruction, for runs whose evaluations have not stored theirs."""
    number = max((number for number, stages in record.cycles.items() if "collect" in stages), default=0)
    groups: dict[str, list[bool]] = defaultdict(list)
    for row in listing.facts(cycle_folder(record.folder, number) / "episodes") if number else ():
        if not row["faults"]:  # a fault says nothing about the policy
            groups[row["instruction"]].append(row["success"])
    ordered = sorted(groups.items(), key=lambda each: (sum(each[1]) / len(each[1]), each[0]))[:FEW]
    rows = [(name, len(each), percent(sum(each) / len(each))) for name, each in ordered]
    return Table(("instruction", "episodes", f"success in practice, cycle {number}"), rows)


def chosen(outcomes: Mapping[str, bool], instructions: Mapping[str, str], count: int = 3) -> list[str]:
    """Return up to `count` failed seeds, 'task/seed', of as many instructions as possible; those with most failures come first.

    Args:
        outcomes: success by 'task/seed'.
        instructions: by 'task/seed'; runs of older versions have none.
        count: largest number of seeds.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for key, passed in outcomes.items():
        if not passed:
            groups[instructions.get(key, "")].append(key)
    ordered = sorted(groups.values(), key=len, reverse=True)
    rounds = [group[i] for i in range(count) for group in ordered if i < len(group)]  # the first of each group, then the second of each
    return rounds[:count]
