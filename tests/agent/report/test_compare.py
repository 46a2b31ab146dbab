"""Several runs on one page: paired on common seeds, adjusted for their number, and without a word about what cannot be compared."""

import json
from pathlib import Path

import pytest

from agent.evaluate.statistics import compare as paired
from agent.report import compare as module
from agent.report.compare import compare, holm, named, settings
from agent.report.record import RunRecord
from agent.run.files import load, save
from tests.agent.report.runs import close_cycle, collect, finish, start
from tests.agent.report.test_report import text_of


def finished(folder: Path, passed: int, cycles: int = 2) -> Path:
    """Return the folder of a finished run, whose last champion passes so many of the 400 test seeds."""
    run, champion = start(folder, cycles=cycles), ("base", 30)
    for number in range(1, cycles + 1):
        collect(run, number, champion[0])
        champion = close_cycle(run, number, champion, 60 * number, True)
    finish(run, "base", champion[0], (57, passed))
    return folder


def test_runs_are_paired_on_the_seeds_that_both_have(tmp_path: Path) -> None:
    first, better, same = (finished(tmp_path / name, passed) for name, passed in (("first", 200), ("better", 300), ("same", 201)))
    words = " ".join(text_of(compare([first, better, same], tmp_path / "page.html", paired).read_text()).split())
    assert "Surely better than first: better (+25.0 points" in words
    assert "Chance alone could explain the difference to first: same (+0.2 points)" in words
    assert "100, 0" in words and "400" in words and "2 of 2 promoted" in words
    # Half of the seeds are others: only those that both have count.
    file = same / "evaluate" / "test-candidate2.json"
    content = load(file)
    content["outcomes"] = {key if i < 150 else f"{key}00": passed for i, (key, passed) in enumerate(content["outcomes"].items())}
    save(file, content)
    entries = [module.Entry(folder.name, RunRecord.read(folder), {}) for folder in (first, same)]
    difference = module._against(*entries, paired)
    assert difference is not None and (difference[1], difference[0].won, difference[0].lost) == (150, 0, 0)


def test_runs_without_common_seeds_or_without_an_end_are_named(tmp_path: Path) -> None:
    first = finished(tmp_path / "first", 200)
    unfinished = tmp_path / "second"
    collect(start(unfinished, cycles=3), 1, "base")
    words = text_of(compare([first, unfinished], tmp_path / "page.html", paired).read_text())
    assert "None of the other runs can be compared with first yet" in words and "cycle 1, tune" in words


def test_p_values_are_adjusted_for_their_number() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_names_are_as_short_as_they_can_be() -> None:
    assert named([Path("/runs/a"), Path("/runs/b")]) == ["a", "b"]
    assert named([Path("/runs/slide-0/full"), Path("/runs/slide-1/full")]) == ["slide-0/full", "slide-1/full"]
    with pytest.raises(ValueError, match="named twice"):
        named([Path("/runs/a"), Path("/runs/a")])


def test_only_what_differs_in_the_configs_is_listed(tmp_path: Path) -> None:
    folders = [finished(tmp_path / name, 200, cycles) for name, cycles in (("a", 1), ("b", 2))]
    entries = [module.Entry(folder.name, RunRecord.read(folder), {}) for folder in folders]
    assert [row[0] for row in settings(entries).rows] == ["cycles"]


def test_other_frames_are_warned_of(tmp_path: Path) -> None:
    folders = [finished(tmp_path / name, 200) for name in ("a", "b")]
    for folder, frames in zip(folders, ("0123", "4567"), strict=True):
        save(folder / "environment.json", {"etude/Reach-v0": {"packages": {"mujoco": "4.0.0"}, "frames": frames}})
    words = text_of(compare(folders, tmp_path / "page.html", paired).read_text())
    assert "b has another frame's hash than a: 4567, not 0123" in words


def test_frames_of_each_of_several_environments_count(tmp_path: Path) -> None:
    folders = [finished(tmp_path / name, 200) for name in ("a", "b")]
    for folder, frames in zip(folders, ("0123", "4567"), strict=True):
        save(folder / "environment.json", {"etude/Reach-v0": {"frames": frames}, "etude/Press-v0": {"frames": "89ab"}})
    words = text_of(compare(folders, tmp_path / "page.html", paired).read_text())
    assert "b has another frame's hash than a: 4567; 89ab, not 0123; 89ab" in words and "another environment" not in words


def test_one_run_or_none_at_all_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least two runs, and 1 was given"):
        compare([tmp_path], tmp_path / "page.html", paired)
    with pytest.raises(ValueError, match="cannot be read"):
        compare([tmp_path / "a", tmp_path / "b"], tmp_path / "page.html", paired)
    (tmp_path / "a").mkdir()
    (tmp_path / "summary.json").write_text(json.dumps({}))
