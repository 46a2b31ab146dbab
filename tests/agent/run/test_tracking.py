"""Tracking: metrics.jsonl is whole after every stage, and W&B can be away."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agent.config.config import Config
from agent.config.keys import TrackConfig
from agent.evaluate.statistics import account
from agent.records import Scorecard
from agent.run.tracking import Track

ROWS = [{"cycle": 1, "stage": "tune", "step": 0, "train/loss": 1.0}, {"cycle": 1, "stage": "tune", "tune/loss": 0.5, "tune/seconds": 2.0}]


def test_rows_are_written_whole_each_time(tmp_path: Path) -> None:
    track = Track(tmp_path, Config(track=TrackConfig(mode="off")))
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


def test_each_row_reaches_wandb_once_and_on_its_cycle(tmp_path: Path) -> None:
    sent: list[dict[str, Any]] = []

    class Listener:
        def log(self, row: dict[str, Any], step: int) -> None:
            assert step == len(sent)
            sent.append(row)

        def finish(self, exit_code: int) -> None:
            sent.append({"exit code": exit_code})

    track = Track(tmp_path, Config(track=TrackConfig(mode="off")))
    track._wandb = Listener()
    track.log(ROWS[:1])
    track.log(ROWS)
    track.close()
    assert sent == [{"train/loss": 1.0, "cycle": 1, "train/step": 0}, {"tune/loss": 0.5, "tune/seconds": 2.0, "cycle": 1}, {"exit code": 0}]


def test_rows_of_a_stage_that_is_done_anew_reach_wandb_anew(tmp_path: Path) -> None:
    sent: list[dict[str, Any]] = []

    class Listener:
        def log(self, row: dict[str, Any], step: int) -> None:
            sent.append(row)

        def finish(self, exit_code: int) -> None:
            pass

    for rows in (ROWS, [], [{**ROWS[0], "train/loss": 7.0}]):  # its folder was deleted, as a sentence had advised
        track = Track(tmp_path, Config(track=TrackConfig(mode="off")))
        track._wandb = Listener()
        track.log(rows)
        track.close()
    assert [row.get("train/loss") for row in sent] == [1.0, None, 7.0]


def test_wandb_that_breaks_costs_the_run_nothing(tmp_path: Path, capsys: Any) -> None:
    class Broken:
        def log(self, row: dict[str, Any], step: int) -> None:
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


def chunks(content: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format, as W&B writes it: a header, then blocks of 32 KiB of parts of records."""
    at, whole = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # too little is left of the block for a part
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        whole, at = whole + content[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield whole
            whole = b""


def records(folder: Path) -> Iterator[list[Any]]:
    """The records of each start in turn, as W&B wrote them offline."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # `finish` of a run returns before its file is on disk; this waits until W&B's own process has written it and has ended
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        found = [wandb_internal_pb2.Record.FromString(data) for data in chunks(file.read_bytes())]  # type: ignore[attr-defined]
        assert found[-1].HasField("exit"), f"{file} is not complete"
        yield found


def recorded(folder: Path) -> tuple[list[str], set[str], list[dict[str, Any]], set[tuple[str, str]]]:
    """What W&B wrote offline: ids and projects of its runs, rows, and which figures have which axis."""
    ids, projects, rows, axes = [], set(), [], set()
    for start in records(folder):
        names: dict[int, str] = {}
        for record in start:
            if record.HasField("run"):
                ids, projects = [*ids, record.run.run_id], projects | {record.run.project}
            if record.HasField("metric"):
                metric = record.metric
                names[len(names) + 1] = metric.name or metric.glob_name
                axes |= {(metric.name or metric.glob_name, metric.step_metric or names.get(metric.step_metric_index, ""))}
            if record.HasField("history"):
                row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
                rows.append({key: value for key, value in row.items() if not key.startswith("_") or key == "_step"})
    return ids, projects, rows, axes


@pytest.mark.slow
def test_a_folder_is_one_wandb_run_and_each_row_is_sent_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = [*ROWS, {"cycle": 2, "stage": "tune", "step": 0, "train/loss": 0.4}, {"cycle": 2, "stage": "tune", "tune/loss": 0.4, "tune/seconds": 2.0}]
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for rows in (ROWS, later, later):
        time.sleep(1.1)  # W&B names the folder of a start by its second
        track = Track(tmp_path, Config())
        track.log(rows)
        track.close()
    ids, projects, sent, axes = recorded(tmp_path)
    assert len(set(ids)) == 1 and len(ids) >= 3 and projects == {"mine"}
    assert sent == [
        {"train/loss": 1.0, "cycle": 1, "train/step": 0, "_step": 0},
        {"tune/loss": 0.5, "tune/seconds": 2.0, "cycle": 1, "_step": 1},
        {"train/loss": 0.4, "cycle": 2, "train/step": 1, "_step": 2},
        {"tune/loss": 0.4, "tune/seconds": 2.0, "cycle": 2, "_step": 3},
    ]
    assert ("train/*", "train/step") in axes and ("*", "cycle") in axes


@pytest.mark.slow
def test_what_a_run_came_to_is_in_wandbs_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    base, warm, after = (Scorecard(name, {f"t/{i}": i < passed for i in range(20)}) for name, passed in (("b", 2), ("w", 5), ("a", 18)))
    track = Track(tmp_path, Config())
    assert track._wandb is not None
    track.summarise({"cycles": 3, "promoted": 2, **account({"base": base, "warm_start": warm}, after)})
    track.close()
    said: dict[str, Any] = {}
    for start in records(tmp_path):
        for record in start:
            said |= {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.summary.update}
    for name, card in (("base", base), ("warm_start", warm), ("after", after)):
        assert {key: said[f"{name}/{key}"] for key in ("rate", "low", "high", "n")} == pytest.approx(asdict(card.success)), name
    assert said["before_is"] == "warm_start" and said["gain"] == pytest.approx(0.65)


def test_what_wandb_did_not_take_is_sent_by_the_next_start(tmp_path: Path) -> None:
    sent: list[dict[str, Any]] = []

    class Weak:
        def __init__(self, strength: int) -> None:
            self.strength = strength

        def log(self, row: dict[str, Any], step: int) -> None:
            if not self.strength:
                raise BrokenPipeError("its service is gone")
            self.strength -= 1
            sent.append(row)

        def finish(self, exit_code: int) -> None:
            pass

    for strength, rows in ((9, ROWS[:1]), (0, ROWS), (9, ROWS)):
        track = Track(tmp_path, Config(track=TrackConfig(mode="off")))
        track._wandb = Weak(strength)
        track.log(rows)
        track.close()
    assert [row.get("tune/loss", row.get("train/loss")) for row in sent] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("variable", "given", "chosen"),
    [("", "offline", ["offline"]), ("online", "offline", ["online"]), ("disabled", "offline", []), ("disabled", "online", ["online"])],
)
def test_a_users_variable_holds_where_the_config_says_nothing_else(
    variable: str, given: str, chosen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    asked: list[dict[str, Any]] = []

    def init(**named: Any) -> None:
        asked.append(named)
        raise OSError("nobody is there")

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", variable)
    Track(tmp_path, Config(track=TrackConfig(mode=given)))  # type: ignore[arg-type]
    Track(tmp_path, Config(track=TrackConfig(mode="off")))
    assert [named["mode"] for named in asked] == chosen


def test_a_summary_that_wandb_did_not_take_is_said(tmp_path: Path, capsys: Any) -> None:
    class Broken:
        @property
        def summary(self) -> Any:
            raise BrokenPipeError("its service is gone")

    track = Track(tmp_path, Config(track=TrackConfig(mode="off")))
    track._wandb = Broken()
    card = Scorecard("a", {f"t/{i}": i < 5 for i in range(9)})
    track.summarise({"cycles": 3, "promoted": 2, **account({"base": card}, card)})
    assert "W&B is not available any more (BrokenPipeError); summary.json has everything." in " ".join(capsys.readouterr().out.split())
