"""The scripts under examples/ run as they are, on a tiny config."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from examples import compare_losses
from tests.agent.wandb_files import received
from tests.test_api import TINY

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("file", sorted({*(ROOT / "configs").glob("*.yaml")} - {ROOT / "configs" / "sweep.yaml"}), ids=lambda file: file.stem)
def test_both_arms_can_be_made_of_every_config_of_our_own(file: Path) -> None:
    for losses in compare_losses.ARMS.values():
        config = compare_losses.arm_config(yaml.safe_load(file.read_text()), losses, cycles=20)
        assert all(getattr(config.at(20).tune, name) == value for name, value in losses.items())


@pytest.mark.slow
def test_two_losses_are_trained_compared_and_tracked(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    command = [sys.executable, str(ROOT / "examples" / "compare_losses.py"), "--config", "tiny.yaml", "--cycles", "1", "--episodes", "4"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for arm in ("policy-gradient", "behaviour-cloning"):
        assert f"{arm}: " in done.stdout and (tmp_path / "runs" / "compare-losses" / arm / "report.html").exists()
    assert list((tmp_path / "runs" / "compare-losses" / "wandb").glob("offline-run-*/*.wandb")), "tracked in W&B, offline"


@pytest.mark.slow
def test_a_script_of_ones_own_has_a_wandb_run_beside_those_of_its_runs(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "track": {"videos": False}}))
    script = ROOT / "examples" / "own_script.py"
    assert len(script.read_text().splitlines()) < 40
    command = [sys.executable, str(script), "--config", "tiny.yaml", "--seeds", "3", "--episodes", "4"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "seed 3: " in done.stdout, done.stderr
    mine, run = received(tmp_path / "runs" / "own"), received(tmp_path / "runs" / "own" / "seed-3")
    assert [{key for key in row if key != "_step"} for row in mine.rows] == [{"seed", "gain", "unseen/rate", "unseen/low", "unseen/high"}]
    assert {each.run_group for each in (*mine.runs, *run.runs)} == {"own"} and mine.runs[0].run_id != run.runs[0].run_id
    assert {row["cycle"] for row in run.rows} == {0, 1} and run.runs[0].job_type == "improve"
