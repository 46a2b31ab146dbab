"""TensorBoard: each figure once on its axis, after any number of starts; without the package one sentence before anything is written."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config.config import Config
from agent.config.keys import TrackConfig
from agent.run import tensorboard
from agent.run.tracking import Track
from tests.test_api import TINY

ROWS: list[dict[str, Any]] = [
    {"cycle": 1, "stage": "curate", "curate/seeds": 5},
    *({"cycle": 1, "stage": "tune", "step": step, "train/loss": 1.0 - step / 4} for step in range(2)),
    {"cycle": 2, "stage": "tune", "step": 0, "train/loss": 0.25},
]


def test_each_figure_is_there_once_on_its_axis(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for rows in (ROWS[:2], ROWS):  # the second start follows a kill
        track = Track(tmp_path, Config(track=TrackConfig(mode="off", tensorboard=True)))
        track.log(rows[:1])
        track.log(rows)
        track.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    events = accumulator.EventAccumulator(str(file))
    events.Reload()
    assert {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]} == {
        "curate/seeds": [(1, 5)],
        "train/loss": [(0, 1.0), (1, 0.75), (2, 0.25)],
    }


def test_without_its_package_a_run_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**TINY, "track": {"mode": "off", "tensorboard": True}}))
    blocked = "import sys; sys.modules['tensorboard'] = None; from agent.cli import main; sys.argv = ['etude', 'improve', 'c.yaml', 'run']; main()"
    root = Path(tensorboard.__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {blocked}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and "pip install 'etude[tensorboard]'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
