"""Our packages have plain names: ours are imported whatever lies in the working folder, here and in the processes that a run begins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = f"""
import sys
from pathlib import Path

sys.path = [path for path in sys.path if not (Path(path) / "agent" / "cli.py").exists()] + [{str(ROOT)!r}]  # as an installation has it
from agent.cli import main

main()
"""
ENVIRONMENT = """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # as research code often has it
import gymnasium
import numpy as np


class Mine(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)})
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def _see(self):
        return {"eye": self.np_random.integers(0, 255, (64, 64, 3), np.uint8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._see(), {"success": False}

    def step(self, action):
        self.t += 1
        return self._see(), float(action[0]), False, self.t == 4, {"success": bool(action[0] > 0)}
"""
CONFIG = """
env: {id: "mine.py:Mine", cameras: [eye], instruction: go on, timeout: 60, action_repeat: 1}
processes: 2
threads: 1
cycles: 0
policy: {batch_size: 8}
ground: {steps: 0}
demonstrate: {episodes: 0}
collect: {num_envs: 2}
evaluate: {test_episodes: 4}
track: {mode: off, videos: false}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working folder with packages of the names of ours, an environment and a config."""
    for name in ("agent", "envs", "policies"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the folder of a user was imported')")
    script = tmp_path / "bin" / "etude"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    (tmp_path / "mine.py").write_text(ENVIRONMENT)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    return tmp_path


def etude(place: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, place / "bin" / "etude", *arguments], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_environment_in_a_process_of_its_own_is_served_by_ours(place: Path) -> None:
    assert "Ready." in etude(place, "check", "mine.py:Mine", "--config", "mine.yaml")


@pytest.mark.slow
def test_several_processes_practise_with_ours(place: Path) -> None:
    etude(place, "improve", "mine.yaml", "run")
    assert (place / "run" / "summary.json").exists()


def test_a_package_of_a_users_before_ours_on_the_path_is_not_imported(place: Path) -> None:
    (place / "agent" / "__init__.py").unlink()
    (place / "agent").rmdir()
    script = place / "bin" / "etude"
    script.write_text(SCRIPT.replace("from agent", f"sys.path.insert(0, {str(place)!r})  # an empty part of PYTHONPATH does that\nfrom agent"))
    assert "Ready." in etude(place, "check", "mine.py:Mine", "--config", "mine.yaml")


def test_a_child_finds_modules_of_the_working_folder_as_its_parent_does(tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text(
        "def serve(number):\n    from multiprocessing.connection import Connection\n    Connection(number).send('here')\n"
    )
    code = "from envs.process import begin, end; process, line = begin('near'); print(line.recv()); end(process)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout.strip() == "here", done.stderr
