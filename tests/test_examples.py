"""The scripts under examples/ run as they are, on a tiny config."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from agent.config.read import read
from envs.adapt import Adapter
from examples import compare_losses
from tests.test_api import TINY

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("file", [file for file in sorted((ROOT / "configs").glob("*.yaml")) if file.stem != "sweep"], ids=lambda file: file.stem)
def test_both_arms_can_be_made_of_every_config_of_our_own(file: Path) -> None:
    for losses in compare_losses.ARMS.values():
        config = compare_losses.arm_config(yaml.safe_load(file.read_text()), losses, cycles=20)
        assert all(getattr(config.at(20).tune, name) == value for name, value in losses.items())


def test_the_point_goal_is_reached_by_its_expert_and_seldom_by_chance() -> None:
    """Its YAML names the environment and a number of demonstrations; the expert needs nothing else."""
    config, rng = read(ROOT / "examples" / "point_goal.yaml"), np.random.default_rng(0)
    assert config.env.model_fields_set == {"id", "cameras", "action_repeat", "max_episode_steps"} and config.demonstrate.model_fields_set == {
        "episodes"
    }
    adapter, reached = Adapter(config.envs[0]), {"expert": 0, "random": 0}
    for who in reached:
        for seed in range(40):
            assert adapter.reset(seed).instruction.startswith("go to the ")
            outcome = None
            while outcome is None or not (outcome.terminated or outcome.truncated):
                action = adapter.oracle() if who == "expert" else adapter.actions.from_env(rng.integers(5))
                outcome = adapter.step(action[None], look=False)
            reached[who] += outcome.success
    assert reached["expert"] == 40 and reached["random"] <= 8
    first, again, other = (adapter.reset(seed).frames for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


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
def test_every_cell_of_the_tutorial_runs(tmp_path: Path) -> None:
    """With smaller numbers than the reader's. A fresh process without a display, as a notebook's kernel is."""
    cells = [cell for cell in json.loads((ROOT / "examples" / "tutorial.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in cells), "outputs belong to the reader's machine; clear them before a commit"
    assert [line.split(" = ")[0] for line in cells[0]["source"]] == ["SEEDS", "EPISODES", "STEPS"]
    folder = tmp_path / "examples"
    folder.mkdir()
    sources = ["SEEDS, EPISODES, STEPS = 6, 6, 60", *("".join(cell["source"]) for cell in cells[1:])]
    (folder / "cells.py").write_text("\n\n".join(sources))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "cells.py"], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert re.search(r"^base +\S+ % \[.*, n = 6$", said, re.M) and "seeds are mixed" in said
    assert [line.split(":")[0] for line in said.splitlines()[-2:]] == ["policy-gradient", "faster-half"]
    assert (tmp_path / "runs" / "tutorial" / "faster-half" / "report.html").exists()
