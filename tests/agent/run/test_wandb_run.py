"""W&B, offline and for real: a folder is one run, each entry arrives once, and what belongs to a stage comes with it."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agent.config.config import Config
from agent.config.keys import TrackConfig
from agent.evaluate.statistics import account
from agent.records import Scorecard
from agent.run.files import save
from agent.run.tracking import Track
from agent.run.variables import is_id
from tests.agent.wandb_files import Received, received

pytestmark = pytest.mark.slow
ROWS: list[dict[str, Any]] = [
    {"cycle": 1, "stage": "curate", "curate/seeds": 5, "env_steps": 90},
    *({"cycle": 1, "stage": "tune", "step": step, "train/loss": 1.0 - step / 100} for step in range(3)),
    {"cycle": 2, "stage": "tune", "step": 0, "train/loss": 0.5},
]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_RUN_ID", "WANDB_PROJECT", "WANDB_NAME", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)


def start(folder: Path, rows: list[dict[str, Any]], **track: Any) -> None:
    """One start of a run, to its end."""
    time.sleep(1.1)  # W&B names the folder of a start by its second
    tracked = Track(folder, Config(track=TrackConfig(**track)))
    assert tracked.online
    tracked.log(rows[:2])
    tracked.log(rows)
    tracked.close()


def figures(found: Received) -> list[Any]:
    return [row.get("train/loss", row.get("curate/seeds")) for row in found.rows]


def test_a_folder_is_one_run_and_each_row_is_sent_once_on_its_axis(tmp_path: Path) -> None:
    for rows in (ROWS[:3], ROWS, ROWS):
        start(tmp_path, rows)
    found = received(tmp_path)
    assert len({run.run_id for run in found.runs}) == 1 and len(found.runs) >= 3
    assert [row["_step"] for row in found.rows] == list(range(5)) and figures(found) == [5, 1.0, 0.99, 0.98, 0.5]
    assert [row.get("train/step") for row in found.rows] == [None, 0, 1, 2, 3] and found.rows[0]["env_steps"] == 90
    assert found.axes["*"] == "cycle" and found.axes["train/*"] == found.axes["logps/*"] == "train/step"
    assert found.axes["eval/champion_success_rate"] == "env_steps"


@pytest.mark.parametrize("kept", [0.0, 0.6, 0.9])
def test_what_a_kill_kept_from_wandbs_file_is_sent_by_the_next_start(kept: float, tmp_path: Path) -> None:
    """W&B writes blocks of 32 KiB; a kill loses the last one. Here the file is cut as such a kill cuts it."""
    start(tmp_path, ROWS)
    received(tmp_path)
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    before = len(received(tmp_path).rows)
    assert before < 5
    start(tmp_path, ROWS)
    assert figures(received(tmp_path)) == [5, 1.0, 0.99, 0.98, 0.5]


@pytest.mark.parametrize(("content", "kept"), [(b"", False), (b"a/b", False), (b"\xff\xfe", False), (b"abc\n", True), (b"\n", False)])
def test_a_damaged_id_is_renewed(content: bytes, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_RUN_ID", "WANDB_TAGS"):
        monkeypatch.setenv(name, "")
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "id").write_bytes(content)
    start(tmp_path, ROWS)
    name = (tmp_path / "wandb" / "id").read_text()
    assert {run.run_id for run in received(tmp_path).runs} == {name} and is_id(name) and (name == "abc") == kept


@pytest.mark.parametrize(("line", "left"), [(0, b"\xff\xfe\n"), (1, b"\n"), (2, b"0123abc\n"), (4, b"0123abc")])
def test_an_entry_whose_line_in_the_journal_is_damaged_is_not_sent_again(line: int, left: bytes, tmp_path: Path) -> None:
    start(tmp_path, ROWS)
    journal = tmp_path / "wandb" / "sent.txt"
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:line], left, *lines[line + 1 :]]))
    start(tmp_path, [*ROWS, {**ROWS[4], "step": 1, "train/loss": 0.25}])
    assert figures(received(tmp_path)) == [5, 1.0, 0.99, 0.98, 0.5, 0.25] and journal.read_bytes().startswith(whole)


def test_a_journal_that_is_gone_tells_nothing_so_that_all_is_sent_again(tmp_path: Path) -> None:
    """W&B's steps may then be rows that another script logged into the same run."""
    start(tmp_path, ROWS)
    (tmp_path / "wandb" / "sent.txt").unlink()
    start(tmp_path, ROWS)
    assert figures(received(tmp_path)) == [5, 1.0, 0.99, 0.98, 0.5] * 2


def test_a_stage_that_is_done_anew_is_sent_anew(tmp_path: Path) -> None:
    start(tmp_path, ROWS)
    start(tmp_path, [*ROWS[:4], {**ROWS[4], "train/loss": 7.0}])  # its folder was deleted, as a sentence had advised
    assert figures(received(tmp_path)) == [5, 1.0, 0.99, 0.98, 0.5, 7.0]


def test_the_users_variables_win_over_defaults_and_keys_over_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROJECT", "NAME", "ENTITY", "RUN_GROUP", "JOB_TYPE", "NOTES", "TAGS"):
        monkeypatch.setenv(f"WANDB_{name}", f"my-{name.lower()}")
    (tmp_path / "one").mkdir()
    start(tmp_path / "one", ROWS)
    run = received(tmp_path / "one").runs[0]
    assert (run.project, run.display_name, run.entity, run.run_group) == ("my-project", "my-name", "my-entity", "my-run_group")
    assert (run.job_type, run.notes, list(run.tags)) == ("my-job_type", "my-notes", ["my-tags"])
    (tmp_path / "two").mkdir()
    start(tmp_path / "two", ROWS, project="p", entity="e", group="g", job_type="j", notes="n", tags=("a", "b"))
    run = received(tmp_path / "two").runs[0]
    assert (run.project, run.entity, run.run_group, run.job_type, run.notes, list(run.tags)) == ("p", "e", "g", "j", "n", ["a", "b"])


@pytest.mark.parametrize(
    ("variable", "given", "tracked"), [("disabled", "offline", False), ("disabled", "online", None), ("offline", "offline", True), ("", "off", False)]
)
def test_the_users_mode_wins_over_the_default(
    variable: str, given: Any, tracked: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    asked: list[Any] = []

    def init(**named: Any) -> None:
        asked.append(named["mode"])
        raise OSError("nobody is there")

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", variable)
    Track(tmp_path, Config(track=TrackConfig(mode=given)))
    assert asked == {False: [], True: ["offline"], None: ["online"]}[tracked]


def test_the_config_is_flat_under_the_names_of_overrides(tmp_path: Path) -> None:
    start(tmp_path, ROWS)
    config = {item.key: json.loads(item.value_json) for item in received(tmp_path).runs[0].config.update}
    assert config["tune.learning_rate"] == Config().tune.learning_rate and config["env.id"] == "etude/Reach-v0" and "tune" not in config


def test_a_run_that_the_users_script_has_open_stays_its_own(tmp_path: Path) -> None:
    import wandb

    (tmp_path / "run").mkdir()
    with wandb.init(project="mine", mode="offline", dir=str(tmp_path), settings=wandb.Settings(console="off")) as mine:
        start(tmp_path / "run", ROWS)
        mine.log({"own": 1})
        assert wandb.run is mine
    assert [row.keys() for row in received(tmp_path).rows] == [{"own", "_step"}]
    assert figures(received(tmp_path / "run")) == [5, 1.0, 0.99, 0.98, 0.5]


def test_a_guard_that_fires_alerts_once(tmp_path: Path) -> None:
    save(tmp_path / "cycle-001" / "cycle.json", {"figures": {}, "alarms": ["entropy is near 0"]})
    rows = [*ROWS, {"cycle": 1, "stage": "cycle", "cycle/seconds": 0.0}]
    start(tmp_path, rows)
    start(tmp_path, rows)
    assert received(tmp_path).alerts == ["entropy is near 0"]


def test_what_a_run_came_to_is_in_wandbs_summary(tmp_path: Path) -> None:
    base, warm, after = (Scorecard(name, {f"t/{i}": i < passed for i in range(20)}) for name, passed in (("b", 2), ("w", 5), ("a", 18)))
    told = {"task": "t", "seed": 0, "cycles": 3, "promoted": 2, **account({"base": base, "warm_start": warm}, after), "policy": "a", "seconds": {}}
    (tmp_path / "config.yaml").write_text("")
    save(tmp_path / "champion.json", {"policy": "a", "weights": "cycle-003/policy.safetensors"})
    (tmp_path / "summary.json").write_text(json.dumps(told))
    start(tmp_path, ROWS)
    found = received(tmp_path)
    for name, card in (("base", base), ("warm_start", warm), ("before", warm), ("after", after)):
        assert {key: found.summary[f"{name}/{key}"] for key in ("rate", "low", "high", "n")} == pytest.approx(asdict(card.success)), name
    assert found.summary["before_is"] == "warm_start" and found.summary["gain"] == pytest.approx(0.65)
    (champion,) = [each for each in found.artifacts if each.type == "model"]
    assert json.loads(champion.metadata)["after/rate"] == 0.9 and {each.path for each in champion.manifest.contents} >= {
        "config.yaml",
        "summary.json",
    }
