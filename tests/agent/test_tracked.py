"""A whole run with W&B offline, killed twice: one W&B run, each row once, every key documented, tables with videos, artifacts with their origin.

The run is tiny. `TRACKED=configs/slide.yaml pytest tests/agent/test_tracked.py` checks the same of the demo, in about a quarter of an hour.
"""

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import etude
from agent.run.entries import entries
from agent.run.folder import Run
from agent.run.layout import summary
from tests.agent.test_improve import TINY, config, kill_when
from tests.agent.wandb_files import Received, received
from tests.called import apart

METRICS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, killed while it collects and after its gate; Slide, of which the base model passes nothing, so that its warm start is promoted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.delenv("WANDB_RUN_ID", raising=False)
        folder = tmp_path_factory.mktemp("tracked")
        if whole := os.environ.get("TRACKED"):
            for name in ("cycle-002/collect.json", "cycle-004/cycle.json"):
                assert kill_when(("improve", Path(whole).resolve(), folder / "run"), (folder / "run" / name).exists, deadline=3600)
            done = apart("improve", Path(whole).resolve(), folder / "run")
            assert done.returncode == 0 and done.stderr == "", done.stderr
            return folder / "run"
        track, env = {"mode": "offline", "videos": True}, {"id": "etude/Slide-v0"}
        collect = {**TINY["collect"], "num_seeds": 2, "dynamic_sampling": 0, "lookahead_episodes": 1}
        evaluations = {**TINY["evaluate"], "gate_episodes": 4, "test_episodes": 4}
        file = config(folder, cycles=1, track=track, env=env, label={"by": "both"}, collect=collect, evaluate=evaluations)
        for name in ("cycle-001/collect.json", "cycle-001/cycle.json"):
            assert kill_when(("improve", file, folder / "run"), (folder / "run" / name).exists)
        done = apart("improve", file, folder / "run")
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "a log file has the lines of stages alone"
    return folder / "run"


@pytest.fixture(scope="module")
def found(run: Path) -> Received:
    """What W&B received of it."""
    return received(run)


def test_it_is_one_wandb_run_and_each_row_is_there_once(run: Path, found: Received) -> None:
    assert len({each.run_id for each in found.runs}) == 1 and len(list(run.glob("wandb/offline-run-*"))) == 3
    assert [row["_step"] for row in found.rows] == list(range(len(found.rows))), "no step is missing, none is there twice"
    expected = [dict(entry.content().row) for entry in entries(run, Run(run).metrics())]
    plain = [{key: value for key, value in row.items() if not isinstance(value, Path | list)} for row in expected]
    sent = [{key: value for key, value in row.items() if key != "_step" and not isinstance(value, dict)} for row in found.rows]
    assert Counter(map(_text, sent)) == Counter(map(_text, plain))
    steps = [row["train/step"] for row in found.rows if "train/step" in row]
    assert steps == list(range(len(steps))) and steps


def _text(row: dict[str, Any]) -> str:
    return json.dumps({key: value + 0.0 for key, value in sorted(row.items())})


def test_every_key_is_documented(found: Received) -> None:
    known = {name for cell in re.findall(r"`([^`]+)`", METRICS.read_text()) for name in cell.split(", ")}
    numbered = re.compile(r"(codec_loss/|before-after-)\d+$")
    sent = {re.sub(r"/etude/.*", "", numbered.sub(r"\1I", key)) for row in found.rows for key in row} - {"_step"}
    seconds = {key for key in sent if key.endswith("/seconds")}  # every stage has them, and the page says so once
    assert sent - seconds - known == set()
    assert len(sent) > 50


def test_tables_have_the_episodes_of_evaluations_with_videos(run: Path, found: Received) -> None:
    cycles, detects = len(Run(run).results()), Run(run).config.label.by != "env"
    shown = min(8, Run(run).config.evaluate.gate_episodes)  # of each policy; docs/wandb.md
    assert {(name, row["cycle"]) for row in found.rows for name in row if name.endswith("/episodes") and isinstance(row[name], dict)} == {
        *(("eval/episodes", number) for number in range(cycles + 1)),
        ("test/episodes", cycles),
    }
    seen = []
    for artifact in (each for each in found.artifacts if each.type == "run_table"):
        files = {each.path: Path(each.local_path) for each in artifact.manifest.contents}
        table = json.loads(next(file for path, file in files.items() if path.endswith(".table.json")).read_text())
        rows = [dict(zip(table["columns"], each, strict=True)) for each in table["data"]]
        policies = {row["policy"] for row in rows}
        seen.append((policies, "detector's score" in table["columns"]))
        assert {row["outcome"] for row in rows} <= {"success", "failure"} and all("drawer" in row["instruction"] for row in rows)
        assert len({(row["policy"], row["seed"]) for row in rows}) == len(rows) == shown * len(policies)
        assert all(row["video"]["_type"] == "video-file" and files[row["video"]["path"]].stat().st_size > 1000 for row in rows)
        assert all(0 <= row.get("detector's score", 0) <= 1 for row in rows)
    gate_of_start = ({"base model", "warm start"}, False)  # before the first cycle no detector is calibrated
    assert gate_of_start in seen and ({"champion", "candidate"}, detects) in seen
    assert any("base model" in each and scored == detects and each != gate_of_start[0] for each, scored in seen)


def test_artifacts_say_what_they_were_made_from(run: Path, found: Received) -> None:
    results, graph = Run(run).results(), found.graph
    assert graph["demonstrations:start"] == [] and graph["policy:warm-start"] == ["demonstrations:start"]
    champion = "policy:warm-start"
    for number, result in enumerate(results, 1):
        assert graph[f"episodes:cycle-{number}"] == [champion]
        assert graph[f"policy:cycle-{number}"] == [f"episodes:cycle-{number}", champion]
        champion = f"policy:cycle-{number}" if result["promoted"] else champion
    assert graph[f"champion:cycles-{len(results)}"] == [champion]


def test_the_champions_artifact_is_loaded_as_a_policy(run: Path, found: Received, tmp_path: Path) -> None:
    (artifact,) = [each for each in found.artifacts if each.name.endswith("-champion")]
    for each in artifact.manifest.contents:
        (tmp_path / each.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(each.local_path, tmp_path / each.path)
    assert etude.load_policy(tmp_path).model.name == etude.load_policy(run).model.name


def test_sync_sends_a_run_that_was_not_tracked(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here into offline files; without WANDB_MODE it sends to W&B's server."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    copy = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("wandb"))
    for _ in range(2):
        done = apart("sync", copy)
        assert done.returncode == 0 and "files in the run hold all of" in done.stdout, done.stderr
    again = received(copy)
    assert len(again.rows) == len(list(entries(copy, Run(copy).metrics()))) and again.summary["after/rate"] == summary(run)["after"]["rate"]


def test_sync_without_wandb_is_one_sentence(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    done = apart("sync", shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("wandb")))
    assert done.returncode == 1 and "the same command sends the rest" in done.stderr and "Traceback" not in done.stderr
