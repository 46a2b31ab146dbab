"""Environments in files of the user's: their module has the same name in every process."""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium

from envs import EnvConfig
from envs.make import make

NAMED = "import sys; sys.path.insert(0, {root!r}); from envs.make import module_of; print(module_of({file!r}).__name__)"


def test_the_module_in_a_file_has_one_name_in_all_processes(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("x = 1\n")
    names = []
    for seed, folder in (("1", "one"), ("2", "one"), ("1", "other")):
        script = NAMED.format(root=str(Path(__file__).parents[2]), file=str(tmp_path / folder / "mine.py"))
        environment = {**os.environ, "PYTHONHASHSEED": seed}  # as if by chance: each process has another one
        names.append(subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True).stdout)
    assert names[0] == names[1] != names[2] and "mine" in names[0]


class Short(gymnasium.Env):
    """It has a time limit of its own, which an argument changes."""

    def __init__(self, max_episode_steps: int = 5) -> None:
        self.max_episode_steps = max_episode_steps


def test_a_factory_that_knows_a_time_limit_is_told_that_of_the_config() -> None:
    config = EnvConfig(id=f"{__name__}:Short")
    limits = [
        make(config.model_copy(update=changes)).unwrapped.max_episode_steps  # type: ignore[attr-defined]
        for changes in ({}, {"max_episode_steps": 9}, {"max_episode_steps": 9, "kwargs": {"max_episode_steps": 7}})
    ]
    assert limits == [5, 9, 7]
