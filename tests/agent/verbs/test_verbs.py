"""The verbs as a user calls them: what they print, and the files that they write."""

import json
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

import etude as api
from agent import cli
from agent.report.window import Window
from agent.source import Source
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


def test_as_many_seeds_are_evaluated_as_the_config_has(
    run: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """LIBERO has fifty beginnings for a test: with more episodes each would count several times."""
    etude("evaluate", run, "--evaluate.test_episodes", 2, "--videos", 0, "--out", "out", monkeypatch=monkeypatch)
    assert "n = 2" in capsys.readouterr().out
    assert api.load_run(run).config.evaluate.test_episodes == api.evaluate(api.load_policy(run)).n


def test_evaluate_checks_both_policies_before_the_first_one_acts(
    run: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    make(place / "lift", env={"id": "etude/Lift-v0"})
    with pytest.raises(SystemExit, match="1"):
        etude("evaluate", run, "--against", "lift", "--episodes", 2, "--out", "out", monkeypatch=monkeypatch)
    told = capsys.readouterr()
    assert "lift gives 4 numbers" in told.err and told.err.count("\n") == 1 and "n = " not in told.out
    assert not (place / "out").exists()


def test_videos_of_several_environments_are_all_there(run: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "two.yaml").write_text("env: [{id: etude/Reach-v0}, {id: etude/Press-v0}]")
    etude("evaluate", run, "two.yaml", "--episodes", 4, "--videos", 4, "--out", "out", monkeypatch=monkeypatch)
    names = sorted(file.stem.rpartition("-")[0] for file in (place / "out" / "videos").glob("*.mp4"))
    assert names == [f"3000000{seed}-etude-{task}-v0" for seed in (0, 1) for task in ("Press", "Reach")]


@pytest.mark.parametrize("line", ["evaluate RUN --out file", "play RUN --out file/a.mp4", "play RUN --out .", "export RUN file/out"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    line: str, run: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (place / "file").touch()
    monkeypatch.setattr(Source, "load", None)  # the work would begin with it
    with pytest.raises(SystemExit, match="1"):
        etude(*line.replace("RUN", str(run)).split(), monkeypatch=monkeypatch)
    told = capsys.readouterr()
    assert "; name a" in told.err and told.err.count("\n") == 1 and not told.out and [each.name for each in place.iterdir()] == ["file"]


WEARY = """
import gymnasium
import numpy as np

SEEN = []

class Weary(gymnasium.Env):
    # Breaks when it is asked for the same seed again.

    metadata = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)})
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        if seed in SEEN:
            raise RuntimeError("once is enough")
        SEEN.append(seed)
        return {"eye": np.full((64, 64, 3), 10, np.uint8)}, {"instruction": "wait"}

    def step(self, action):
        self.count += 1
        return {"eye": np.full((64, 64, 3), 10, np.uint8)}, 0.0, False, self.count == 8, {"is_success": False}
"""


def test_an_episode_that_cannot_be_shown_again_is_a_sentence(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    (place / "weary.py").write_text(WEARY)
    make(place / "run", env={"id": "weary.py:Weary", "cameras": ["eye"], "max_episode_steps": 8})
    capsys.readouterr()
    etude("play", "run", "--episodes", 2, monkeypatch=monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1::2] == [f"no video of seed {seed}: RuntimeError: once is enough" for seed in (0, 1)] and not (place / "play.mp4").exists()
    etude("evaluate", "run", "--first-seed", 5, "--episodes", 2, "--out", "out", monkeypatch=monkeypatch)
    told = capsys.readouterr().out
    assert "no video of seed 5: RuntimeError: once is enough" in told and "0.0 %" in told and (place / "out" / "evaluation.json").exists()


class Screen:
    """In place of the window, which needs a display: counts the pictures that somebody still holds, and is closed after three episodes."""

    def __init__(self) -> None:
        self.pictures: list[weakref.ref] = []
        self.held: list[int] = []
        self.closed = False

    def show(self, frames: Sequence[np.ndarray], title: str, rate: float) -> None:
        self.held.append(sum(picture() is not None for picture in self.pictures))
        self.pictures += map(weakref.ref, frames)
        self.closed = len(self.held) == 3

    def close(self) -> None:
        self.closed = True


def test_a_window_keeps_no_frames_and_its_end_is_that_of_the_verb(
    run: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    screen = Screen()
    monkeypatch.setattr(Window, "open", lambda: screen)
    etude("play", run, "--episodes", 9, monkeypatch=monkeypatch)
    assert screen.held == [0, 0, 0] and len(screen.pictures) > 3
    assert capsys.readouterr().out.count("seed ") == 3 and not list(place.iterdir())


def test_play_without_a_display(run: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert Window.open() is None
    etude("play", run, "--episodes", 2, "--first-seed", 7, monkeypatch=monkeypatch)
    told = capsys.readouterr().out
    assert "seed 7: touch the" in told and "seed 8: touch the" in told and "written: play.mp4" in told
    assert frames(place / "play.mp4") > 10


def test_compare(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    one, two, three = (finished(place / name, [name == "two"] * 8) for name in ("one", "two", "three"))
    etude("compare", one, two, three, monkeypatch=monkeypatch)
    table = capsys.readouterr().out
    names = "".join(line.split("│")[1].strip() for line in table.splitlines() if "│" in line)
    assert names == f"{one}{two}{three}", "runs that begin alike have their whole names"
    told = " ".join(table.replace("│", " ").split())
    assert "8 common test seeds" in told and "p, raw ┃ p, Holm" in told and "0.0078 0.016 8, 0" in told
    assert {file.name for file in (place / "comparison").iterdir()} == {"comparison.json", "comparison.html"}


def test_export(run: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    etude("export", run, "out", monkeypatch=monkeypatch)
    assert "written: out, " in capsys.readouterr().out
    assert {"act.py", "action_codec.json", "config.json", "etude.json", "model.safetensors", "README.md"} <= {
        file.name for file in (place / "out").iterdir()
    }
