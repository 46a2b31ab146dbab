"""The GL backend is chosen by trying, never by hoping."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envs.simulate import backend


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL", ""))


def test_what_draws_is_found_and_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delenv("DISPLAY", raising=False)
    assert backend.choose() == "" and os.environ["MUJOCO_GL"] == "egl"
    assert "egl" in (tmp_path / "etude" / "gl.json").read_text()
    monkeypatch.setattr(backend, "PROBE", "raise SystemExit('asked again')")
    assert backend.choose() == "", "the second start does not try again"


def test_what_does_not_draw_is_one_sentence_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(backend, "PROBE", "raise SystemExit('no such library')")
    said = backend.choose()
    assert "MUJOCO_GL=osmesa: no such library" in said and "apt-get install" in said and os.environ["MUJOCO_GL"] == "disabled"


@pytest.mark.parametrize("name", ["garbage", "EGLL", "cuda"])
def test_a_name_that_no_backend_has_is_named_with_those_that_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", name)
    said = backend.choose()
    assert said.endswith(f"the variable MUJOCO_GL is {name.lower()!r}, and may be egl, osmesa, glfw or disabled; unset it, or correct it.")
    assert "apt-get" not in said and os.environ["MUJOCO_GL"] == "disabled", "MuJoCo itself could not be imported"


def test_a_backend_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "PROBE", "import time; time.sleep(60)")
    began = time.monotonic()
    assert "no answer within 1 seconds" in backend.probe("glfw", 1.0) and time.monotonic() - began < 20


def test_without_any_backend_all_but_drawing_works(tmp_path: Path) -> None:
    """A whole process: MuJoCo steps, and the first frame says what to install."""
    code = (
        "from envs.simulate import backend; backend.PROBE = 'raise SystemExit(1)'\n"
        "import gymnasium, envs\n"
        "env = gymnasium.make('etude/Reach-v0', cameras=()); env.reset(seed=0); env.step(env.action_space.sample())\n"
        "from envs.adapt import Adapter, EnvConfig\n"
        "Adapter(EnvConfig()).reset(0)\n"
    )
    here = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "MUJOCO_GL": "egl", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=here)
    assert done.returncode == 1 and "ValueError: No frame can be drawn: MUJOCO_GL=egl: exit code 1" in done.stderr


def test_a_damaged_memory_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "etude").mkdir()
    (tmp_path / "etude" / "gl.json").write_text("{")
    assert backend.probe("egl") == ""
