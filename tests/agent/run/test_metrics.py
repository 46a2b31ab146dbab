"""Metrics: what a stage took is all that it took."""

from pathlib import Path

import pytest

from agent.config.config import Config
from agent.run.files import save
from agent.run.folder import Run
from agent.run.layout import evaluation_name, seconds_before_practice


def test_the_seconds_of_an_evaluation_are_those_of_its_episodes_too(tmp_path: Path) -> None:
    """Those of its further rounds as well; and neither those of other cycles, whose numbers begin alike, nor those of the test evaluation."""
    run = Run(tmp_path, Config()).begin()
    for number, seconds in ((0, 0.1), (1, 0.2), (11, 0.4)):
        folder = run.cycle(number).folder if number else tmp_path / "start"
        save(folder / "evaluate.json", {"figures": {"promoted": True}, "seconds": seconds})
    for name, seconds in (
        (evaluation_name("gate", "a", cycle=0), 5.0),
        (evaluation_name("gate", "b", cycle=0, part=1), 7.0),
        (evaluation_name("gate", "b", cycle=1), 20.0),
        (evaluation_name("gate", "c", cycle=1, part=2), 30.0),
        (evaluation_name("gate", "c", cycle=11), 400.0),
        (evaluation_name("test", "c"), 9000.0),
    ):
        save(tmp_path / "evaluate" / f"{name}.json", {"seconds": seconds, "outcomes": {}})
    rows = {row["cycle"]: row["eval/seconds"] for row in run.metrics() if row["stage"] == "evaluate"}
    assert rows == {0: 12.1, 1: 50.2, 11: 400.4}
    assert seconds_before_practice(tmp_path) == pytest.approx(12.1)


def test_rows_of_stages_count_the_environment_steps_so_far(tmp_path: Path) -> None:
    run = Run(tmp_path, Config()).begin()
    save(tmp_path / "start" / "demonstrate.json", {"figures": {"env_steps": 30}})
    for number, steps in ((1, 100), (2, 80)):
        save(run.cycle(number).folder / "collect.json", {"figures": {"env_steps": steps}})
        save(run.cycle(number).folder / "tune.json", {"figures": {}, "rows": [{"step": 0, "loss": 1.0}]})
        save(run.cycle(number).folder / "evaluate.json", {"figures": {"champion_rate": 0.1 * number}})
    rows = run.metrics()
    assert [row["env_steps"] for row in rows if "step" not in row] == [30, 130, 130, 130, 210, 210, 210]
    assert not any("env_steps" in row for row in rows if "step" in row)
    assert {row["env_steps"]: row["eval/champion_success_rate"] for row in rows if row["stage"] == "evaluate"} == {130: 0.1, 210: 0.2}
