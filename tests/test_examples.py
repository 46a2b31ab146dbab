"""The scripts under examples/ run as they are, on a tiny config."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.test_api import TINY

ROOT = Path(__file__).resolve().parent.parent


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
