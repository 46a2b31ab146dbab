"""Parts of the report: the detector's figures, failures by instruction, costs, tables, videos within a budget."""

import base64
import io
import re
import shutil
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent.records import Episode
from agent.report import costs, cycles, embedded, failures
from agent.report.detector import calibration, detector, mistakes
from agent.report.page import NONE, Table, grouped, minutes
from agent.report.plot import round_ticks, short, thinned, whole_ticks
from agent.report.record import RunRecord
from agent.report.report import content
from agent.run import episodes as dataset
from agent.run.files import load, save, write_text
from agent.run.folder import Run
from tests.agent.made import episode
from tests.agent.report.runs import collect, start, whole


def scored(run: Run, scores: list[list[float]], successes: list[bool], by: str = "both", faulty: Container[int] = ()) -> RunRecord:
    """Return the record of a run whose detector has given the episodes of its first cycle these scores; those of `faulty` seeds were broken off."""
    folder = collect(run, 1, "base")
    made: list[Episode] = [
        episode(seed, 0, [0.0] * (len(each) - 1), success) for seed, (each, success) in enumerate(zip(scores, successes, strict=True))
    ]
    for number, each in enumerate(made):
        each.frames[:] = np.arange(len(each.frames))[:, None, None, None, None] + 10 * number  # each frame says which one it is
    made = [replace(each, faults=("decision 1: it broke",)) if each.seed in faulty else each for each in made]
    dataset.append(folder / "episodes", made, fps=2, cameras=("front",))
    figures = {"episodes": len(made), "true_yes": 1.0, "false_yes": 2.0, "true_no": 3.0, "false_no": 4.0, "auroc": 0.75}
    save(folder / "detector.json", {"figures": figures, "calibration": [1.0, 0.0], "scores": scores, "seconds": 1.0})
    write_text(run.folder / "config.yaml", (run.folder / "config.yaml").read_text().replace("by: env", f"by: {by}"))
    return RunRecord.read(run.folder)


SCORES = [[0.1, 0.2, 0.9], [0.1, 0.8, 0.3], [0.1, 0.1, 0.2], [0.2, 0.1, 0.95]]


def test_mistakes_of_the_detector_are_shown_with_the_frame_that_it_saw(tmp_path: Path) -> None:
    shown = detector(scored(start(tmp_path), SCORES, [False, False, True, False]))
    # Even seeds calibrated it, so seeds 1 and 3 are the measurements; the end of an episode counts.
    assert shown["n"] == 2 and [each["said"] for each in shown["mistakes"]] == ["95.0\u00a0%: succeeded; it failed"]
    (mistake,) = shown["mistakes"]
    assert mistake["where"] == "cycle 1, seed 3, after decision 2" and mistake["instruction"] == "touch the red ball"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(mistake["frame"].partition(",")[2]))))
    assert (picture == 32).all()
    assert shown["confusion"] == {"true_yes": 1, "false_yes": 2, "true_no": 3, "false_no": 4}
    assert shown["table"].head == ["cycle", "episodes", "AUROC"], "columns without a figure are left out"


def test_where_the_detector_labels_alone_the_frame_with_the_highest_score_counts(tmp_path: Path) -> None:
    shown = detector(scored(start(tmp_path), SCORES, [True, False, True, True], by="detector"))
    assert shown["n"] == 4
    assert [each["where"] for each in shown["mistakes"]] == ["cycle 1, seed 1, after decision 1", "cycle 1, seed 2, after decision 2"]
    assert [each["said"].partition(": ")[2] for each in shown["mistakes"]] == ["succeeded; it failed", "failed; it succeeded"]


@pytest.mark.parametrize(("by", "left"), [("both", 1), ("detector", 3)])
def test_a_faulty_episode_is_no_measurement(by: str, left: int, tmp_path: Path) -> None:
    record = scored(start(tmp_path), SCORES, [False, False, True, False], by, faulty=[3])
    assert detector(record)["n"] == left and not [each for each in detector(record)["mistakes"] if "seed 3" in each["where"]]
    assert [row[1:] for row in failures.in_practice(record).rows] == [(3, "33.3\u00a0%")]


def test_without_episodes_on_disk_the_detector_has_its_figures_all_the_same(tmp_path: Path) -> None:
    record = scored(start(tmp_path), SCORES, [True] * 4)
    shutil.rmtree(tmp_path / "cycle-001" / "episodes")
    shown = detector(record)
    assert shown["n"] == 0 and shown["mistakes"] == [] and shown["confusion"]["true_no"] == 3
    assert content(record)["detector"]["n"] == 0


def test_nothing_is_said_of_a_detector_that_was_not_asked(tmp_path: Path) -> None:
    whole(tmp_path)
    assert detector(RunRecord.read(tmp_path)) == {}
    assert mistakes([]) == [] and "<svg" in calibration([])


def test_failures_are_grouped_by_instruction(tmp_path: Path) -> None:
    whole(tmp_path)  # passes 57 seeds before and 314 of 400 after
    assert failures.by_instruction(RunRecord.read(tmp_path)).rows[0][:5] == ["etude/Reach-v0", 400, "14.2\u00a0%", "78.5\u00a0%", 86]
    file = tmp_path / "evaluate" / "test-candidate5.json"
    told = {key: f"instruction {i % 4}" for i, key in enumerate(load(file)["outcomes"])}
    save(file, {**load(file), "instructions": told})
    table = failures.by_instruction(RunRecord.read(tmp_path))
    assert table.head[0] == "instruction" and sum(int(str(row[4])) for row in table.rows) == 86
    assert [row[4] for row in table.rows] == sorted((row[4] for row in table.rows), reverse=True)
    assert "314, 318, 322, 326, 330, 334 and 16 more" in str(table.rows[0][5])


def test_videos_are_made_of_failures_of_several_instructions() -> None:
    outcomes = {f"t/{i}": i == 0 for i in range(10)}
    told = {key: "often" if i < 7 else "rare" for i, key in enumerate(outcomes)}
    assert failures.chosen(outcomes, told) == ["t/1", "t/7", "t/2"]
    assert failures.chosen(outcomes, {}) == ["t/1", "t/2", "t/3"] and failures.chosen({"t/0": True}, {}) == []


def test_practice_has_the_videos_that_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole(tmp_path)
    (tmp_path / "videos").mkdir()
    for number in range(1, 8):
        (tmp_path / "videos" / f"cycle-{number:03d}-best.mp4").write_bytes(bytes(100))
    record = RunRecord.read(tmp_path)
    assert len(embedded.practice(record)[0]) == 7 and embedded.practice(record)[1] == ""
    monkeypatch.setattr(embedded, "BUDGET", 350)
    videos, left_out = embedded.practice(record)
    assert [video.caption for video in videos] == [f"cycle {number}, best episode" for number in (1, 4, 7)]
    assert "cycles 2, 3, 5, 6 are in" in left_out


def test_a_video_of_an_earlier_end_of_the_run_is_not_shown(tmp_path: Path) -> None:
    whole(tmp_path)
    (tmp_path / "videos").mkdir()
    for name in ("before-after-candidate5-0", "before-after-candidate2-1", "failure-candidate5-0", "failure-candidate2-1"):
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(b"")
    record = RunRecord.read(tmp_path)
    assert [video.caption for video in embedded.before_after(record)] == ["seed 57"]
    assert [video.caption for video in embedded.failures(record)] == ["seed 314"]


def test_steps_are_those_of_practice_and_of_evaluations(tmp_path: Path) -> None:
    run = start(tmp_path)
    dataset.append(tmp_path / "start" / "episodes", [episode(0, 0, [0.1], True)], fps=2, cameras=("front",))
    folder = collect(run, 1, "base")
    dataset.append(folder / "episodes", [episode(0, 0, [0.1, 0.2], True)], fps=2, cameras=("front",))
    dataset.append(folder / "lookahead" / "episodes", [episode(1, 0, [0.1, 0.2, 0.3], True)], fps=2, cameras=("front",))
    save(tmp_path / "evaluate" / "gate-x-cycle-1.json", {"outcomes": {}, "effort": {"t/0": [2, 7], "t/1": [1, 4]}, "seconds": 1.0})
    record = RunRecord.read(tmp_path)
    assert costs.practised(record) == {0: 2, 1: 4 + 6}
    table = costs.steps(record, costs.practised(record))
    assert list(table.head) == ["", "environment steps of practice", "steps of evaluations", "gradient steps"]
    assert [list(row) for row in table.rows] == [["warm start", "2", NONE, "40"], ["cycle 1", "10", "11", NONE]]
    file = tmp_path / "config.yaml"
    file.write_text(file.read_text().replace("  dataset: ''", "  dataset: recordings/pick"))
    assert costs.practised(RunRecord.read(tmp_path)) == {0: 0, 1: 4 + 6}, "rows of a dataset are no steps that the run made"


def test_only_data_that_a_loss_uses_count_as_learnt_from(tmp_path: Path) -> None:
    run = start(tmp_path)
    collect(run, 1, "base")
    file = tmp_path / "config.yaml"
    file.write_text(re.sub("dpo_coef: .*", "dpo_coef: 0.0", file.read_text()))
    (each,) = cycles.learnt(RunRecord.read(tmp_path))
    kinds: Any = each["parts"]
    assert [(kind, count) for kind, _, count, _ in kinds] == [("demonstrations", "731"), ("samples", "2\u2009999")]
    assert sum(share for *_, share in kinds) == pytest.approx(1) and each["unused"] == "77 preference pairs"


def test_gates_are_shown_task_by_task(tmp_path: Path) -> None:
    run = start(tmp_path)
    assert not cycles.gates_by_task(RunRecord.read(tmp_path))
    config = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(re.sub(r"env:\n(  .*\n)+", "env:\n- {id: etude/Reach-v0}\n- {id: etude/Press-v0}\n", config))
    run.keep(tmp_path / "cycle-001" / "tune.json", lambda: {"policy": "x"})
    outcomes = {f"etude/{task}-v0/{seed}": seed < passed for task, passed in (("Reach", 3), ("Press", 1)) for seed in range(4)}
    save(tmp_path / "evaluate" / "gate-x-cycle-1.json", {"outcomes": outcomes, "effort": {}, "seconds": 1.0})
    (row,) = cycles.gates_by_task(RunRecord.read(tmp_path)).rows
    assert [str(cell)[:6] for cell in row] == ["cycle ", "75.0 %", "25.0 %"]


def test_guards_say_how_often_they_were_raised(tmp_path: Path) -> None:
    whole(tmp_path)
    file = tmp_path / "cycle-003" / "cycle.json"
    save(file, {**load(file), "alarms": ["labels contradict rewards in t: ...", "exploration shrinks: 3 % ..."]})
    raised = {str(row[0]): row[1] for row in cycles.guards(RunRecord.read(tmp_path)).rows}
    assert [count for name, count in raised.items() if "labels" in name or "exploration" in name] == ["once", "once"]
    assert "cycle 3: exploration shrinks: 3 % ..." in cycles.alarms(RunRecord.read(tmp_path))


def test_empty_columns_are_left_out() -> None:
    table = Table(("a", "b", "c", "d"), [["", NONE, 0, 1], ["", "", "0", NONE]]).shown
    assert list(table.head) == ["a", "d"] and [list(row) for row in table.rows] == [["", 1], ["", NONE]]


def test_labels_of_axes_are_round_and_few() -> None:
    assert list(round_ticks(0, 41_000).values()) == ["0", "20 k", "40 k"]
    assert list(round_ticks(-0.31, 0.42).values()) == ["-0.2", "0", "0.2", "0.4"]
    assert list(whole_ticks(3).values()) == ["0", "1", "2", "3"] and len(whole_ticks(199)) <= 13
    assert (short(1_234_000), short(0.00123), grouped(24713)) == ("1.23 M", "0.00123", "24\u2009713")
    assert (minutes(59), minutes(600), minutes(36_000)) == ("59 s", "10.0 min", "10.0 h")
    points = [(float(i), float(i % 2)) for i in range(1000)]
    assert len(thinned(points)) == 200 and {y for _, y in thinned(points)} <= {0.4, 0.6} and thinned([]) == []


def test_styles_and_script_hold_plain_characters() -> None:
    # Other characters of a page become entities, which a browser does not read within style and script.
    folder = Path(cycles.__file__).parent / "html"
    assert all((folder / name).read_bytes().isascii() for name in ("style.css", "script.js"))
