"""Finished runs are compared on their common test seeds, in pairs."""

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from agent.config.config import Config
from agent.evaluate.runs import compare_runs, written
from agent.evaluate.statistics import account
from agent.records import Scorecard
from agent.report.record import RunRecord
from agent.run.files import save, write_text
from agent.run.folder import Run


def finished(folder: Path, outcomes: list[bool], first: int = 0, task: str = "t") -> Path:
    """A finished run with these outcomes of its last champion on consecutive seeds."""
    run = Run(folder, Config(cycles=1)).begin()
    save(run.cycle(1).folder / "cycle.json", {"figures": {}, "champion": "abc", "promoted": True, "alarms": []})
    card = Scorecard("abc", {f"{task}/{first + i}": passed for i, passed in enumerate(outcomes)})
    save(folder / "evaluate" / "test-abc.json", {"policy": "abc", "outcomes": card.outcomes, "effort": {}, "faults": [], "seconds": 1.0})
    summary: dict[str, Any] = {"task": task, "seed": 0, "cycles": 1, "promoted": 1, "policy": "abc", "seconds": {}, **account({"base": card}, card)}
    write_text(folder / "summary.json", json.dumps(summary))
    return folder


def test_runs_are_compared_in_pairs_on_the_seeds_that_all_have(tmp_path: Path) -> None:
    one = finished(tmp_path / "one", [False] * 10)
    two = finished(tmp_path / "two", [True] * 8 + [False] * 2, first=2)
    three = finished(tmp_path / "three", [False, True] * 6)
    rows = compare_runs([one, two, three])
    assert [list(row.card.outcomes) for row in rows] == [[f"t/{seed}" for seed in range(2, 10)]] * 3
    assert [row.card.success.rate for row in rows] == [0.0, 1.0, 0.5]
    assert rows[0].against is None and rows[1].against and rows[1].against.won == 8
    assert rows[1].against.p_value == binomtest(8, 8, 0.5).pvalue
    content = written(rows)
    assert [(pair["run"], pair["over"], pair["gain"]) for pair in content["pairs"]] == [
        (str(two), str(one), 1.0),
        (str(three), str(one), 0.5),
        (str(three), str(two), -0.5),
    ]


def test_a_run_that_went_on_and_was_killed_has_no_result_yet(tmp_path: Path) -> None:
    one, two = finished(tmp_path / "one", [True] * 4), finished(tmp_path / "two", [False] * 4)
    Run(two, Config(cycles=3)).begin()  # killed before the first of the further cycles has a folder
    with pytest.raises(
        ValueError, match=r"two has finished 1 of 3 cycles since it went on, so it has no test evaluation yet; the same etude improve"
    ):
        compare_runs([one, two])
    assert RunRecord.read(one).now() == "finished" and RunRecord.read(two).now() != "finished"
    for number in (2, 3):
        for stage, content in {"label": {"alarms": ["no judge: 56 %"]}, "cycle": {}}.items():
            save(two / f"cycle-00{number}" / f"{stage}.json", content)
    Run(two, Config(cycles=9)).begin()
    summary = json.loads((two / "summary.json").read_text())
    write_text(two / "summary.json", json.dumps(summary | {"cycles": 3}))
    assert len(compare_runs([one, two])) == 2, "two cycles with the same alarms end a run too"


def test_a_run_that_is_named_by_two_paths_is_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = finished(tmp_path / "one", [True] * 4)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="one is named twice; name each run once"):
        compare_runs([one, finished(tmp_path / "two", [True] * 4), Path("one")])


def test_runs_without_common_seeds_are_one_sentence(tmp_path: Path) -> None:
    one, other = finished(tmp_path / "one", [True] * 4), finished(tmp_path / "other", [True] * 4, task="u")
    with pytest.raises(ValueError, match=r"no common test seeds \(t; u\)"):
        compare_runs([one, other])
    with pytest.raises(ValueError, match="There is no run in"):
        compare_runs([one, tmp_path / "none"])
