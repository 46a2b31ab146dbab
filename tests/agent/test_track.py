"""Tracking: metrics.jsonl is whole after every stage, and W&B can be away."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config
from agent.settings import TrackConfig
from agent.track import Track

ROWS = [{"cycle": 1, "stage": "tune", "step": 0, "loss": 1.0}, {"cycle": 1, "stage": "tune", "loss": 0.5, "seconds": 2.0}]


def test_rows_are_written_whole_each_time(tmp_path: Path) -> None:
    track = Track(tmp_path, Config(track=TrackConfig(mode="off")))
    track.log(ROWS[:1])
    track.log(ROWS)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == ROWS


def test_wandb_away_never_stops_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    track = Track(tmp_path, Config())
    track.log(ROWS)
    track.close()
    assert "W&B is not available" in capsys.readouterr().out


def test_each_row_reaches_wandb_once_and_on_its_cycle(tmp_path: Path) -> None:
    sent: list[dict[str, Any]] = []

    class Listener:
        def log(self, row: dict[str, Any]) -> None:
            sent.append(row)

        def finish(self, exit_code: int) -> None:
            sent.append({"exit code": exit_code})

    track = Track(tmp_path, Config(track=TrackConfig(mode="off")))
    track._wandb = Listener()
    track.log(ROWS[:1])
    track.log(ROWS)
    track.close()
    assert sent == [{"tune/loss": 1.0, "cycle": 1, "step": 0}, {"tune/loss": 0.5, "tune/seconds": 2.0, "cycle": 1}, {"exit code": 0}]


def test_wandb_that_breaks_costs_the_run_nothing(tmp_path: Path, capsys: Any) -> None:
    class Broken:
        def log(self, row: dict[str, Any]) -> None:
            raise BrokenPipeError("its service is gone")

    track = Track(tmp_path, Config(track=TrackConfig(mode="off")))
    track._wandb = Broken()
    track.log(ROWS)
    track.log(ROWS)
    track.close(failed=True)
    assert capsys.readouterr().out.count("W&B is not available any more (BrokenPipeError)") == 1
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == ROWS


def test_a_bar_counts_from_where_it_was(tmp_path: Path, capsys: Any) -> None:
    with Track(tmp_path, Config(track=TrackConfig(mode="off"))).bar("x", 10, done=4) as step:
        step(3)
        step(1, total=12, note="loss 1")
    assert "8/12" in capsys.readouterr().out
