"""What a foreign LeRobotDataset says of success, tasks, rows and frames is read, or named in a sentence."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from agent.demonstrate.lerobot import LeRobot
from agent.demonstrate.oddities import oddities, state_sentences
from agent.demonstrate.outcomes import silence
from agent.demonstrate.readers import Recording
from agent.demonstrate.target import Tally
from tests.agent.demonstrate.written import CAMERA, frame, png, write

NAN = float("nan")


def arm(length: int = 4) -> list[list[float]]:
    return np.random.default_rng(length).uniform(-1, 1, (length, 2)).tolist()


def read(root: Path, cameras: tuple[str, ...] = ()) -> tuple[list[Recording], list[str]]:
    tally = Tally()
    return list(LeRobot(root).recordings(cameras or (CAMERA,), tally.leave_out, span=1, size=16)), tally.lines()


# --- success -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [[True, False], [1, 0], [1.0, 0.0], ["True", "false"], ["TRUE", " False "], [[True], [False]], [[1.0], [0.0]], [["true"], ["false"]]],
)
def test_success_is_read_in_any_usual_form(values: list[Any], tmp_path: Path) -> None:
    """Of the first episode it is said, of the second one denied; by a column of episodes, or by one of rows at the third row."""
    episodes, left = read(write(tmp_path / "a", [arm(), arm()], listing={"success": values}))
    assert [each.hits.tolist() for each in episodes] == [[False] * 3 + [True], [False] * 4] and not left
    episodes, left = read(write(tmp_path / "c", [arm(), arm()], listing={"is_success": values}))
    assert [each.hits[-1] for each in episodes] == [True, False] and not left
    for name in ("next.success", "success", "next.is_success", "is_success", "won"):
        rows = {name: [[values[1], values[1], values[0], values[1]], [values[1]] * 4]}
        episodes, left = read(write(tmp_path / "b", [arm(), arm()], rows=rows))
        assert [each.hits.tolist() for each in episodes] == [[False, False, True, False], [False] * 4] and not left


@pytest.mark.parametrize("bad", ["failure", "", "0", -1, 0.31, 2, NAN, None, [], [False, False]])
def test_what_is_neither_true_nor_false_costs_its_episode(bad: Any, tmp_path: Path) -> None:
    good: Any = "true" if isinstance(bad, str) else [True] if isinstance(bad, list) else 1.0 if isinstance(bad, float) else 1
    episodes, left = read(write(tmp_path / "a", [arm()] * 3, listing={"success": [good, bad, good]}))
    assert [each.number for each in episodes] == [0, 2]
    assert left == [f"1 have a success that is neither true nor false, the first: episode 1 has {bad!r}"]
    rows = {"next.success": [[good] * 4, [good, good, good, bad], [good] * 4]}
    episodes, left = read(write(tmp_path / "b", [arm()] * 3, rows=rows))
    assert [each.number for each in episodes] == [0, 2]
    assert left == [f"1 have a next.success that is neither true nor false, the first: episode 1, row 3 has {bad!r}"]


@pytest.mark.parametrize("nothing", [None, [None]])
def test_no_value_before_the_last_row_means_not_yet(nothing: Any, tmp_path: Path) -> None:
    yes, no = ([True], [False]) if nothing else (True, False)
    rows = {"next.success": [[nothing, nothing, nothing, yes], [nothing, yes, nothing, no], [nothing, no, nothing, nothing]]}
    episodes, left = read(write(tmp_path, [arm()] * 3, rows=rows))
    assert [each.hits.tolist() for each in episodes] == [[False, False, False, True], [False, True, False, False]]
    assert left == [f"1 have a next.success that is neither true nor false, the first: episode 2, row 3 has {nothing!r}"]


def test_a_column_without_a_value_says_nothing(tmp_path: Path) -> None:
    root = write(tmp_path, [arm(), arm()], listing={"success": [None, None]})
    assert LeRobot(root).success_column == "" and [each.hits[-1] for each in read(root)[0]] == [True, True]


def test_a_column_that_may_mean_success_and_is_not_read_is_named(tmp_path: Path) -> None:
    names = LeRobot(write(tmp_path / "a", [arm()], listing={"outcome": ["failure"]}, rows={"next.solved": [[True] * 4]})).columns
    assert silence(names) == (
        "The dataset has no success column (next.success), so all its episodes count as successes; next.solved and outcome may mean it:"
        " write it as true or false into next.success"
    )
    names = LeRobot(write(tmp_path / "b", [arm()], listing={"quality": [1]}, rows={"next.done": [[True] * 4]})).columns
    assert silence(names) == "The dataset has no success column (next.success), so all its episodes count as successes"


# --- tasks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [
        {"task_index": [0, 1], "category": ["kitchen", "garden"], "task": ["pick", "drop"]},
        {"category": ["kitchen", "garden"], "task_index": [0, 1], "__index_level_0__": ["pick", "drop"]},
        {"__index_level_0__": ["kitchen", "garden"], "task_index": [0, 1], "task": ["pick", "drop"]},
        {"instruction": ["pick", "drop"], "task_index": [0, 1]},
    ],
)
def test_the_words_are_taken_by_name(columns: dict[str, Any], tmp_path: Path) -> None:
    root = write(tmp_path, [arm(), arm()], tasks=["?", "?"])
    pq.write_table(pa.table(columns), root / "meta/tasks.parquet")
    assert [each.instruction for each in read(root)[0]] == ["pick", "drop"]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"task_index": [0, 0], "task": ["pick", "drop"]}, "it has the task_index 0 twice"),
        ({"task_index": [0], "category": ["kitchen"], "words": ["pick"]}, "it has no column task, but category, words"),
        ({"task_index": [0]}, "it has no column task, but task_index alone"),
    ],
)
def test_unclear_words_are_one_sentence(columns: dict[str, Any], says: str, tmp_path: Path) -> None:
    root = write(tmp_path, [arm(), arm()])
    pq.write_table(pa.table(columns), root / "meta/tasks.parquet")
    with pytest.raises(ValueError, match=rf"tasks.parquet cannot be read \({says}\); fetch or record the dataset anew"):
        read(root)


def test_a_task_that_changes_within_an_episode_is_told(tmp_path: Path) -> None:
    rows = {"task_index": [[0, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]]}
    root = write(tmp_path, [arm()] * 3, tasks=["pick", "drop"], rows=rows)
    assert [each.instruction for each in read(root)[0]] == ["pick", "pick", "drop"]
    said = "The task changes within 2 episodes, the first: episode 1, row 2; the words of an episode's first row are used."
    assert oddities(LeRobot(root)) == [said]
    rows = {"task_index": [[i % 2] * 4 for i in range(3)]}
    assert oddities(LeRobot(write(tmp_path, [arm()] * 3, tasks=["pick", "drop"], rows=rows))) == []


# --- rows ----------------------------------------------------------------------------------------------------------------


def test_an_empty_episode_and_one_of_another_length_are_left_out(tmp_path: Path) -> None:
    episodes, left = read(write(tmp_path, [arm(4), [], arm(5), arm(6)], listing={"length": [4, 0, 4, 6]}))
    assert [each.number for each in episodes] == [0, 3]
    assert left == [
        "1 have no rows, the first: episode 1",
        "1 have another number of rows than meta/episodes says, the first: episode 2 has 5 of 4",
    ]


@pytest.mark.parametrize("total", [50, 1])
def test_episodes_that_are_counted_and_not_listed_are_told(total: int, tmp_path: Path) -> None:
    said = f"meta/info.json counts {total} episodes, and meta/episodes lists 2; fetch the dataset anew, or learn from these."
    assert oddities(LeRobot(write(tmp_path / "a", [arm()] * 2, info={"total_episodes": total}))) == [said]
    assert oddities(LeRobot(write(tmp_path / "b", [arm()] * 2))) == []


def test_states_outside_of_what_a_run_has_are_told(tmp_path: Path) -> None:
    def said(size: float, ranges: dict[int, tuple[float, float]], low: float, high: float) -> list[str]:
        states = [[[size * t / 3, size * t / 3, 0.0] for t in range(4)]] * 2
        return state_sentences(LeRobot(write(tmp_path, [arm()] * 2, states=states)), ranges, (np.full(3, low), np.full(3, high)))

    assert said(1, {0: (0, 1)}, -1, 2) == said(1, {}, -np.inf, np.inf) == said(1.05, {0: (0, 1)}, -1e9, 1e9) == []
    assert said(100, {}, -np.inf, np.inf) == said(100, {2: (0, 1)}, -np.inf, 1) == []
    assert said(100, {0: (0, 1), 1: (0, 9)}, -1, 2) == [
        "75 % of the numbers in observation.state lie outside of policy.state (number 0 is 0 to 100, and there 0 to 1); perhaps they are another"
        " state, or have other units."
    ]
    assert said(100, {}, 0.1, 2)[0].startswith(
        "100 % of the numbers in observation.state lie outside of the environment's observation space (number 0 is 0 to 100, and there 0.1 to 2)"
    )


@pytest.mark.parametrize("names", [("actions",), ("action.x", "action.y")])
def test_columns_that_may_be_the_action_are_named(names: tuple[str, ...], tmp_path: Path) -> None:
    root = write(tmp_path / "set", [arm()])
    file, info = root / "data/chunk-000/file-000.parquet", json.loads((root / "meta/info.json").read_text())
    table, action = pq.read_table(file), info["features"].pop("action")
    for name in names:
        table = table.append_column(name, table["action"])
    pq.write_table(table.drop_columns(["action"]), file)
    info["features"] |= dict.fromkeys(names, action)
    (root / "meta/info.json").write_text(json.dumps(info))
    says = f"set has no column action, but {', '.join(names)}; write one column action, a list of numbers in each row."
    for read_it in (lambda: LeRobot(root).targets, lambda: list(LeRobot(root).actions(Tally().leave_out))):
        with pytest.raises(ValueError, match=re.escape(says)):
            read_it()


# --- frames --------------------------------------------------------------------------------------------------------------


def test_frames_of_more_than_eight_bits_are_left_out(tmp_path: Path) -> None:
    def cell(pixels: np.ndarray) -> dict[str, Any]:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        return {"bytes": stream.getvalue(), "path": None}

    depth = [cell(np.full((16, 16), 300 + 1000 * t, np.uint16)) for t in range(4)]
    grey = [cell(np.full((16, 16), 50 * t, np.uint8)) for t in range(4)]
    episodes, left = read(write(tmp_path, [arm(), arm()], rows={CAMERA: [depth, grey]}))
    assert [[int(pixels.mean()) for pixels in each.frames] for each in episodes] == [[0, 50, 100, 150, 150]]
    assert len(left) == 1 and left[0].startswith(
        "1 have frames of more than 8 bits a number; convert them to 8 bits, the first: episode 0, row 0 is of"
    )


def test_frames_in_another_form_are_read_or_named(tmp_path: Path) -> None:
    bare = [[png(frame(i, t)) for t in range(4)] for i in range(2)]
    episodes, left = read(write(tmp_path / "a", [arm(), arm()], rows={CAMERA: bare}))
    assert [each.frames[1, 0, 0, 0].tolist() for each in episodes] == [frame(i, 1)[0, 0].tolist() for i in range(2)] and not left
    lists = [[frame(0, t).tolist() for t in range(4)]]
    assert read(write(tmp_path / "b", [arm()], rows={CAMERA: lists}))[1] == [
        "1 have frames as lists of numbers; write the bytes of PNG or JPEG pictures, the first: episode 0, row 0 has a list of the shape [16, 16, 3]"
    ]
    assert read(write(tmp_path / "c", [arm()], rows={CAMERA: [[b""] * 4]}))[1] == ["1 lack a frame, the first: episode 0, row 0"]
