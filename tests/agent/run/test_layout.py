"""The folder of a run: cycles are found and ordered by their number, and strangers are nobody's."""

import json
from pathlib import Path

import pytest

from agent.config.config import Config
from agent.ready import nothing_lost
from agent.report.report import RunRecord
from agent.run.files import save
from agent.run.folder import Run
from agent.run.layout import STAGES, cycle_folder, cycle_folders, cycle_number, summary

STRANGERS = ("cycle-001.bak", "cycle-", "cycle-1", "cycle-0001", "cycle-000", "cycle-01²", "cycle--01", "cycle-one", "copy of cycle-001")
STRANGERS += ("cycle-\u0660\u0660\u0661",)  # digits, but not of ours


def test_numbers_are_read_back_and_strangers_have_none() -> None:
    for number in (1, 2, 99, 100, 999, 1000, 12345):
        assert cycle_number(cycle_folder(Path(), number).name) == number
    assert not any(map(cycle_number, STRANGERS))


def test_cycle_1000_comes_after_999_everywhere(tmp_path: Path) -> None:
    run = Run(tmp_path, Config(cycles=1001)).begin()
    for number in range(998, 1002):
        for stage in (*STAGES, "cycle"):
            save(run.cycle(number).folder / f"{stage}.json", {"number": number, "figures": {}, "seconds": 1.0, "champion": "a", "promoted": False})
    save(run.folder / "start" / "tune.json", {"policy": "a", "seconds": 1.0})
    for name in STRANGERS:  # copies, which would count twice
        save(run.folder / name / "cycle.json", {"number": 7, "seconds": 100.0})
        save(run.folder / name / "collect.json", {"seconds": 100.0})
    (run.folder / "cycle-1002").write_text("a file")
    numbers = [998, 999, 1000, 1001]
    assert list(cycle_folders(run.folder)) == [result["number"] for result in run.results()] == numbers
    assert [row["cycle"] for row in run.metrics() if row["stage"] == "cycle"] == numbers
    assert run.seconds() == 4 * len(STAGES) + 1
    assert list(RunRecord.read(run.folder).cycles) == numbers
    with pytest.raises(ValueError, match=r"cycle-001/collect.json is gone, .* delete the folder .*cycle-001 and those of all later cycles"):
        nothing_lost(run)


RATE = {"rate": 0.5, "low": 0.2, "high": 0.8, "n": 4}
WHOLE = {
    "task": "t",
    "seed": 0,
    "cycles": 1,
    "promoted": 0,
    "base": RATE,
    "before": RATE,
    "after": RATE,
    "gain": 0.0,
    "gain_low": -0.1,
    "gain_high": 0.1,
}
WHOLE |= {"p_value": 1.0, "policy": "a", "seconds": {"total": 1.0}}


@pytest.mark.parametrize(
    "damaged",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"cycles": 1}', b"[" * 100_000]
    + [json.dumps({**WHOLE, key: value}).encode() for key, value in (("before", []), ("cycles", "many"), ("seconds", 1), ("tasks", [1]))],
)
def test_a_summary_of_another_shape_is_named(damaged: bytes, tmp_path: Path) -> None:
    assert summary(tmp_path) == {}
    file = tmp_path / "summary.json"
    file.write_text(json.dumps(WHOLE))
    assert summary(tmp_path) == WHOLE
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"summary\.json is damaged.*; delete it and run the same command again"):
        summary(tmp_path)
