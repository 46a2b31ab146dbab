"""The verbs as a user calls them: what they print, and the files that they write."""

import json
import sys
from pathlib import Path

import av
import pytest

from agent import cli
from agent.report.window import Window
from tests.agent.evaluate.test_runs import finished
from tests.agent.runs import make


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verbs") / "run"
    make(folder)
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    return tmp_path


def etude(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["etude", *map(str, arguments)])
    cli.main()


def frames(file: Path) -> int:
    with av.open(str(file)) as video:
        return sum(1 for _ in video.decode(video=0))


def test_evaluate(run: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    etude("evaluate", run, "--episodes", 3, "--videos", 2, "--against", "nano", "--policy.batch_size", 8, "--out", "out", monkeypatch=monkeypatch)
    told, content = capsys.readouterr().out, json.loads((place / "out" / "evaluation.json").read_text())
    assert f"{run}: " in told and "nano: " in told and "difference: " in told and "n = 3" in told
    assert content["n"] == 3 and content["against"]["comparison"]["won"] >= 0 and content["weights"] != content["against"]["weights"]
    videos = sorted((place / "out" / "videos").glob("*.mp4"))
    assert [file.name.split("-")[0] for file in videos] == ["30000000", "30000001"] and all(frames(file) > 5 for file in videos)


def test_play_without_a_display(run: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert Window.open() is None
    etude("play", run, "--episodes", 2, "--first-seed", 7, monkeypatch=monkeypatch)
    told = capsys.readouterr().out
    assert "seed 7: touch the" in told and "seed 8: touch the" in told and "written: play.mp4" in told
    assert frames(place / "play.mp4") > 10


def test_compare(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    one, two = finished(place / "one", [False] * 8), finished(place / "two", [True] * 8)
    etude("compare", one, two, monkeypatch=monkeypatch)
    told = capsys.readouterr().out
    assert "8 common test seeds" in told and "0.0078" in told
    assert {file.name for file in (place / "comparison").iterdir()} == {"comparison.json", "comparison.html"}


def test_export(run: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    etude("export", run, "out", monkeypatch=monkeypatch)
    assert "written: out, " in capsys.readouterr().out
    assert {"act.py", "action_codec.json", "config.json", "etude.json", "model.safetensors", "README.md"} <= {
        file.name for file in (place / "out").iterdir()
    }
