"""The report: right numbers and words, self-contained, escaped, and of an unfinished run too."""

import base64
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.config.read import parse
from agent.records import Scorecard
from agent.report import watch as module
from agent.report.cycles import gate_result
from agent.report.record import RunRecord
from agent.report.report import report
from agent.report.watch import watch
from agent.run.files import load, save, write_text
from agent.run.folder import Run
from tests.agent.report.runs import GATE, VIDEO, card, close_cycle, collect, finish, start, video, whole

NASTY = '<script src="http://evil.example/x.js">alert(1)</script>'


def text_of(page: str) -> str:
    """Return a page's words, without tags and data."""
    import html

    text = html.unescape(re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", " ", page, flags=re.S))
    return text.replace("\u00a0", " ").replace("\u2009", " ")


@pytest.fixture
def page(tmp_path: Path) -> str:
    """Return the report of a finished run with videos, faults and a nasty instruction."""
    whole(tmp_path, NASTY, tuple(f"seed {seed}: {NASTY}" for seed in range(23)))
    practice = [f"cycle-{i:03d}-{kind}" for i in range(1, 6) for kind in ("best", "worst")]
    video(tmp_path, "cycle-one-best", "before-after-candidate5-0", "before-after-candidate5-1", *practice)
    return report(tmp_path).read_text()


def test_headline_says_what_was_gained(page: str) -> None:
    words = " ".join(text_of(page).split())
    assert "2.0 %" in words and "gain over the warm start" in words
    for each in ("Reach-v0: 14.2 % → 78.5 %", "of the 400 test seeds", "[11.2, 18.0], n = 400", "[74.2, 82.2], n = 400", "+64.2", "got better"):
        assert each in words, each
    assert "3 promoted, 2 not" in words and "8.3 min" in words and "unfinished" not in words


def test_page_is_self_contained(page: str) -> None:
    tags = re.findall(r"<[a-z][^>]*>", page)
    sources = [value for tag in tags for value in re.findall(r'(?:src|href|srcset)="([^"]*)"', tag)]
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert not any(word in tag for tag in tags for word in ("http://", "https://", "<iframe", "@import"))
    assert [tag for tag in tags if "<script" in tag or "<link" in tag] == ['<link rel="icon" href="data:,">', "<script>"]
    assert page.isascii() and page.count("<h2>") == page.count("</h2>") and page.rstrip().endswith("</html>")


def test_sections_stand_in_order(page: str) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "Success over the cycles",
        "Before and after",
        "Failures that remain",
        "What was learnt from",
        "Best and worst episodes of practice",
        "Cycles",
        "Training",
        "Time and steps",
        "Faults of the environment",
        "Repeat this run",
    ]
    assert page.count("<svg") == 3 + 6, "the curve at three sizes, and the panels of training"


def test_cycles_say_why_a_candidate_was_rolled_back(page: str) -> None:
    words = " ".join(text_of(page).split())
    assert "● promoted: 30 seeds won, 0 lost" in words
    assert "○ rolled back: 0 seeds won, 4 lost; not better" in words
    assert "● promoted: 50 seeds won, 0 lost" in words
    for each in ("30.0 % [24.1, 36.7], n = 200", "41 of 64", "512 + 512", "+15.0, p = 1.9e-09", "731", "77", "2999"):
        assert each in words, each


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (None, "in progress"),
        ({"promoted": False}, "no candidate: nothing to learn from"),
        ({"promoted": False, "alarms": ["exploration shrinks: 3 %"]}, "nothing to learn from, all episodes of each seed ended alike; exploration"),
        (
            {"promoted": False, "alarms": ["the detector cannot tell", "exploration shrinks: 3 %"]},
            "no candidate: the detector cannot tell; exploration",
        ),
        (
            {"promoted": False, "won": 5, "lost": 5, "gate_gain": 0, "gate_p_value": 1.0, "alarms": ["exploration shrinks: 3 %"]},
            "○ rolled back: 5 seeds won, 5 lost; not better; exploration shrinks: 3 %",
        ),
        ({"promoted": False, "won": 3, "lost": 5, "gate_gain": -0.01, "gate_p_value": 0.7}, "○ rolled back: 3 seeds won, 5 lost; not better"),
        ({"promoted": False, "won": 5, "lost": 3, "gate_gain": 0.01, "gate_p_value": 0.7}, "5 seeds won, 3 lost; not surely better (p above"),
        (
            {"promoted": False, "won": 9, "lost": 1, "gate_gain": 0.04, "gate_p_value": 0.02, "alarms": ["Press is forgotten"]},
            "○ rolled back: 9 seeds won, 1 lost; Press is forgotten",
        ),
        ({"promoted": True, "won": 9, "lost": 1, "gate_gain": 0.04, "gate_p_value": 0.02}, "● promoted: 9 seeds won, 1 lost"),
    ],
)
def test_score(result: dict[str, Any] | None, said: str) -> None:
    assert said in gate_result(result, 0.3)


def test_data_is_escaped(page: str) -> None:
    assert page.count("<script") == 1 and "&lt;script" in page and "alert(1)" not in re.sub(r"&lt;script.*?&lt;/script", "", page)
    assert "seed 0: &lt;script" in page and "cycle 2, and 3 more" in page


def test_videos_of_every_cycle_are_embedded(page: str) -> None:
    videos = [base64.b64decode(data).removeprefix(VIDEO).decode() for data in re.findall(r"data:video/mp4;base64,([^\"]+)", page)]
    practice = [f"cycle-{i:03d}-{kind}" for i in range(1, 6) for kind in ("best", "worst")]
    assert videos == ["before-after-candidate5-0", "before-after-candidate5-1", *practice]


def test_report_leaves_the_run_as_it_is(tmp_path: Path) -> None:
    whole(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert report(tmp_path) == tmp_path / "report.html"
    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert after.keys() - before.keys() == {tmp_path / "report.html"}
    assert all(after[file] == content for file, content in before.items())


def test_no_gain_is_not_praised(tmp_path: Path) -> None:
    run = start(tmp_path, cycles=0)
    finish(run, "base", "base", (57, 57))
    words = text_of(report(tmp_path).read_text())
    assert "Chance alone could explain the difference" in words and "+0.0" in words and "better" not in words


def test_unfinished_run_is_reported_at_every_stage(tmp_path: Path) -> None:
    Run(tmp_path, parse({"cycles": 3}, "test")).begin()
    assert "at warm start, demonstrate" in text_of(report(tmp_path).read_text())
    run = start(tmp_path, cycles=3)
    assert "at cycle 1, collect" in text_of(report(tmp_path).read_text())
    collect(run, 1, "base")
    words = text_of(report(tmp_path).read_text())
    assert "at cycle 1, tune" in words and "unfinished" in words and "in progress" in words and "No evaluation has been finished" in words
    champion = close_cycle(run, 1, ("base", 30), 60, True)
    collect(run, 2, champion[0])
    words = text_of(report(tmp_path).read_text())
    assert "at cycle 2, tune" in words and "first 15.0 % [10.7, 20.6], n = 200; champion now 30.0 %" in words


def test_cycle_without_training_data(tmp_path: Path) -> None:
    run = start(tmp_path, cycles=1)
    folder = collect(run, 1, "base")
    run.keep(folder / "evaluate.json", lambda: {"figures": {"promoted": False}})
    run.keep(folder / "cycle.json", lambda: {"figures": {}, "champion": "base", "promoted": False})
    assert "nothing to learn from" in text_of(report(tmp_path).read_text())
    assert RunRecord.read(tmp_path).now() == "test evaluation"


def test_a_finished_run_that_goes_on_is_unfinished(tmp_path: Path) -> None:
    whole(tmp_path)
    assert RunRecord.read(tmp_path).now() == "finished"
    run = Run(tmp_path, parse({"cycles": 8}, "test")).begin()
    collect(run, 6, "candidate5")
    assert RunRecord.read(tmp_path).now() == "cycle 6, tune"


def test_a_base_that_is_better_than_its_warm_start_is_what_the_gain_is_over(tmp_path: Path) -> None:
    run = start(tmp_path, cycles=0)
    finish(run, "base", "base", (57, 57), base=398)
    words = text_of(report(tmp_path).read_text())
    assert "99.5 % → 14.2 %" in words and "gain over the base" in words and "worse, beyond chance" in words and "warm start" in words


def test_the_first_champion_is_the_base_where_the_warm_start_was_rolled_back(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.keep(tmp_path / "start" / "base.json", lambda: {"policy": "untrained"})
    for name, passed in (("untrained", 190), ("base", 80)):
        run.keep(tmp_path / "evaluate" / f"gate-{name}-cycle-0.json", lambda name=name, passed=passed: card(name, "gate", passed))
    write_stage(tmp_path / "evaluate" / "gate-base-cycle-0.json", 9.0)
    run.keep(tmp_path / "start" / "evaluate.json", lambda: {"figures": {"promoted": False}})
    record = RunRecord.read(tmp_path)
    assert record.gate("untrained", 0) == record.gate("untrained") and record.gate("untrained", 3) == record.gate("untrained")
    assert [rate.rate for rate in record.champions().values()] == [0.95] and record.seconds()["warm start"]["evaluate"] == pytest.approx(9, abs=0.1)


def test_minutes_end_a_run(tmp_path: Path) -> None:
    start(tmp_path, max_minutes=1e-9)
    write_stage(tmp_path / "start" / "demonstrate.json", seconds=5.0)
    assert RunRecord.read(tmp_path).now() == "test evaluation"


def write_stage(file: Path, seconds: float) -> None:
    """Say that a stage took so long."""
    import hashlib

    body = json.dumps({**load(file), "seconds": seconds}, indent=1)
    write_text(file, json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "content": json.loads(body)}))


def test_seconds_are_those_of_the_run(tmp_path: Path) -> None:
    run = whole(tmp_path)
    write_stage(tmp_path / "cycle-002" / "collect.json", 40.0)
    write_stage(tmp_path / "evaluate" / "gate-candidate2-cycle-2.json", 7.0)
    write_stage(tmp_path / "evaluate" / "gate-candidate1-cycle-2.json", 5.0)  # the champion of then, on the seeds of this cycle
    write_stage(tmp_path / "evaluate" / "test-base.json", 3.0)
    save(tmp_path / "start" / "base_detector.json", {"seconds": 11.0})
    save(tmp_path / "cycle-002" / "detector.json", {"seconds": 13.0})
    table = RunRecord.read(tmp_path).seconds()
    second = table["cycle 2"]
    assert (second["collect"], second["evaluate"], table["test evaluation"]["evaluate"]) == pytest.approx((40, 12, 3), abs=0.1)
    # `run.seconds()` adds figures that are rounded to a tenth, one a stage.
    assert sum(table["all"].values()) == pytest.approx(run.seconds(), abs=0.5)


def test_a_candidate_is_shown_by_the_gate_of_its_cycle_and_a_champion_by_all_that_it_sat(tmp_path: Path) -> None:
    whole(tmp_path)
    first = RunRecord.read(tmp_path)
    assert first.gate("candidate2", 2) == first.gate("candidate2"), "the same seeds in both cycles that it has been in"
    further = Scorecard("candidate2", {f"etude/Reach-v0/{seed}": False for seed in range(GATE, 2 * GATE)})
    save(tmp_path / "evaluate" / "gate-candidate2-cycle-3.json", {**asdict(further), "seconds": 1.0})
    (then, now) = (each.gate("candidate2") for each in (first, RunRecord.read(tmp_path)))
    assert then and now and (now.n, now.rate) == (2 * then.n, then.rate / 2)
    assert RunRecord.read(tmp_path).gate("candidate2", 3) == further.success


def test_champions_stay_when_a_candidate_is_rolled_back(tmp_path: Path) -> None:
    whole(tmp_path)
    rates = [rate.rate for rate in RunRecord.read(tmp_path).champions().values()]
    assert rates == [0.15, 0.3, 0.5, 0.5, 0.5, 0.75]


def test_no_run_and_damaged_run_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        report(tmp_path)
    start(tmp_path)
    (tmp_path / "start" / "tune.json").write_text('{"sha256": "x", "content": {}}')
    with pytest.raises(ValueError, match=r"tune.json is damaged"):
        report(tmp_path)


def test_watch_shows_a_run_and_ends_with_it(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich._console", Console(width=160))  # rich's own may be as narrow as the first test that used it wanted it
    run = start(tmp_path, cycles=2)
    champion = close_cycle(run, 1, ("base", 30), 60, True) if collect(run, 1, "base") else None
    watch(tmp_path, once=True)
    shown = capsys.readouterr().out
    assert "30.0 % [24.1, 36.7]" in shown and "promoted: 30 seeds won" in shown and "cycle 2, collect" in shown
    close_cycle(run, 2, champion or ("", 0), 58, False)

    monkeypatch.setattr(module.time, "sleep", lambda _: finish(run, "base", "candidate1"))
    watch(tmp_path)
    shown = capsys.readouterr().out
    assert "finished" in shown and "after 78.5 %" in shown and "rolled back: 0 seeds won, 2 lost; not better" in shown


def test_watch_stops_at_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    start(tmp_path)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupt)
    watch(tmp_path)
    assert "result" in capsys.readouterr().out, "the table that was shown last stays"


def test_report_needs_no_torch() -> None:
    import subprocess

    code = "import sys, agent.report.report; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_few_beginnings_of_practice_are_said(tmp_path: Path) -> None:
    run = start(tmp_path, cycles=1)
    folder = collect(run, 1, "champion")
    for beginnings, said in (([4, 64], True), ([64, 64], False), ([4, 4], False)):
        save(folder / "collect.json", load(folder / "collect.json") | {"beginnings": beginnings})
        words = "The 64 practice seeds of cycle 1 have only 4 different beginnings, so evaluation seeds repeat situations of practice."
        assert (words in text_of(report(tmp_path).read_text())) is said
