"""Environments of other packages, one or two of each: the doctor finds no fault, going back is exact, whoever can do the task does it.

`make test-envs` installs them beside the MuJoCo that they want, and runs this; elsewhere it is skipped. `make environments` examines all of
configs/envs/.
"""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

import agent.config.read as configure
from agent.rollout.experts import resolve
from envs.doctor import examine

FOLDER = Path(__file__).parents[2] / "configs" / "envs"
NAMES = [
    "robotics-fetch-reach",
    "robotics-adroit-door",
    "metaworld-push",
    "dm-control-ball-in-cup-catch",
    "dm-control-quadruped-walk",
    "minigrid-go-to-door",
]
here = pytest.mark.skipif(find_spec("metaworld") is None, reason="environments of other packages have an environment of their own: make test-envs")


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_config_can_be_read(file: Path) -> None:
    assert configure.read(file).envs[0].id


@here
@pytest.mark.parametrize("name", NAMES)
def test_the_doctor_finds_no_fault_and_going_back_is_exact(name: str) -> None:
    chosen = configure.read(FOLDER / f"{name}.yaml")
    expert = partial(resolve, chosen.demonstrate.expert, chosen.envs[0]) if chosen.demonstrate.expert else None
    found = examine(chosen.envs[0], episodes=3, expert=expert)
    assert not found.faults
    assert found.lines["snapshot"].startswith("exact") and found.lines["replay"].startswith("exact")
    assert "same frames: yes; other seeds differ: yes" in found.lines["seeding"]
    if expert is not None:
        assert found.lines["expert"] == "the expert succeeds in 20 of 20"
