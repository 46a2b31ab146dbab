"""Tracking: metrics.jsonl is whole after every stage, W&B can be away, and notes and bars can be read in a terminal and in a log file."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from agent.config.config import Config
from agent.config.keys import TrackConfig
from agent.run.tracking import Track

OFF = Config(track=TrackConfig(mode="off"))
ROWS = [{"cycle": 1, "stage": "tune", "step": 0, "train/loss": 1.0}, {"cycle": 1, "stage": "label", "label/episodes": 3}]


def test_rows_are_written_whole_each_time(tmp_path: Path) -> None:
    track = Track(tmp_path, OFF)
    track.log(ROWS[:1])
    track.log(ROWS)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == ROWS


def test_wandb_away_never_stops_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    track = Track(tmp_path, Config())
    track.log(ROWS)
    track.close()
    assert "W&B is not available" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "given"), [("WANDB_MODE", "garbage"), ("WANDB_RUN_ID", "a/b c"), ("WANDB_TAGS", "a,,b")])
def test_a_variable_that_wandb_refuses_is_named_unless_wandb_is_off(name: str, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv(name, given)
    with pytest.raises(ValueError, match=f"^{name} is {given!r}"):
        Track(tmp_path, Config())
    assert not list(tmp_path.iterdir()) and not Track(tmp_path, OFF).online


def test_wandb_that_breaks_costs_the_run_nothing(tmp_path: Path, capsys: Any) -> None:
    class Broken:
        def send(self, entries: Any) -> None:
            raise BrokenPipeError("its service is gone")

    track = Track(tmp_path, OFF)
    track._wandb = Broken()  # type: ignore[assignment]
    track.log(ROWS)
    track.log(ROWS)
    track.close(failed=True)
    assert capsys.readouterr().out.count("W&B is not available any more (BrokenPipeError)") == 1
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == ROWS


def shown(track: Track, terminal: bool) -> list[str]:
    """The lines of a note and of a bar, as they stand at the end."""
    track.console = Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None, highlight=False, legacy_windows=False)
    track.note("warm start: 100.0 % [61.0, 100.0], n = 6, base model: 100.0 % [61.0, 100.0], n = 6, +0.0 points [-24.5, +24.5]")
    with track.bar("cycle 12: more seeds", 1000, done=400) as step:
        step(300)
        step(100, total=1200, note="loss 1.234")
    return track.console.file.getvalue().split("\n")  # type: ignore[attr-defined]


def test_in_a_log_file_a_stage_and_a_note_have_one_line_each(tmp_path: Path) -> None:
    note, bar, end = shown(Track(tmp_path, OFF), terminal=False)
    assert note.endswith("+24.5]") and end == "" and not any(ord(each) < 32 for each in bar), "no codes of a terminal"
    assert bar.startswith("cycle 12: more seeds     800/1200 in 0.") and bar.endswith("/s loss 1.234")


def test_a_stage_of_hours_writes_a_line_every_few_minutes_into_a_log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("agent.run.progress.time", SimpleNamespace(time=lambda: clock[0]))
    track = Track(tmp_path, OFF)
    track.console = Console(file=io.StringIO(), width=80, force_terminal=False, highlight=False)
    with track.bar("ground: see", 1000) as step:
        for done in range(1, 1001):
            clock[0] += 1
            step(1, note=f"loss {done}")
    with track.bar("ground: see") as step:  # the same after a kill, as a training says it
        for done in range(251, 1001):
            clock[0] += 1
            step(upto=done, total=1000)
    *lines, end = track.console.file.getvalue().split("\n")  # type: ignore[attr-defined]
    assert [line.split()[2] for line in lines] == ["301/1000", "602/1000", "903/1000", "1000/1000", "551/1000", "852/1000", "1000/1000"]
    assert lines[0].endswith("in 301.0 s, 1.0/s loss 301"), "the figures of that moment"
    assert lines[-1].endswith("in 750.0 s, 1.0/s") and not end, "the rate is that of this start"


def test_in_a_terminal_of_80_columns_nothing_is_cut_off(tmp_path: Path) -> None:
    *lines, _ = shown(Track(tmp_path, OFF), terminal=True)
    said = lines[-1].split("\r")[-1]
    assert "800/1200" in said and "loss 1.234" in said and "cycle 12: more seeds" in said and "…" not in said
    assert "+24.5]" in " ".join(lines)
