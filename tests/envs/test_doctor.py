"""The doctor: a sound environment passes, and each thing that would spoil training is named."""

import itertools
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from agent.rollout.experts import resolve
from envs import EnvConfig, doctor
from envs.adapt import Adapter
from envs.doctor import Diagnosis, examine


class Dial(gymnasium.Env):
    """A dot moves with the action; each ailment is one keyword."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    drift = np.random.default_rng(0)

    def __init__(self, ailment: str = "", render_mode: str | None = None) -> None:
        self.ailment, self.render_mode = ailment, render_mode

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.where, self.steps = float(self.np_random.uniform(2, 13)), 0
        if self.ailment == "unseeded":
            self.where = float(type(self).drift.uniform(2, 13))
        if self.ailment == "alike":
            self.where = 8.0
        return self._see(), self._say()

    def step(self, action: np.ndarray):
        self.where, self.steps = float(np.clip(self.where + 2 * action[0], 0, 15)), self.steps + 1
        if self.ailment == "raises" and self.steps == 3:
            raise RuntimeError("gears jammed")
        reward = float("nan") if self.ailment == "nan" else 0.0 if self.ailment == "flat" else self.where / 15
        return self._see(), reward, False, self.steps >= 20 and self.ailment not in ("endless", "waits"), self._say()

    def _say(self) -> dict[str, Any]:
        words = {} if self.ailment == "wordless" else {"instruction": "turn it up"}
        return words | (
            {} if self.ailment == "no success" else {"success": (self.where > 14.9 and self.ailment != "endless") or self.ailment == "easy"}
        )

    def _see(self) -> np.ndarray:
        frame = np.zeros((16, 16, 3), np.uint8)
        if self.ailment != "dark":
            frame[:, 0 if self.ailment == "still" else round(self.where)] = 200
        return frame


@pytest.fixture(autouse=True, scope="module")
def dial():
    gymnasium.register("Dial-v0", entry_point=Dial, disable_env_checker=True)
    yield
    del gymnasium.registry["Dial-v0"]


def diagnosis(ailment: str = "") -> Diagnosis:
    return examine(EnvConfig(id="Dial-v0", kwargs={"ailment": ailment}, cameras=("observation",), size=16, action_repeat=1), episodes=4)


def test_a_sound_environment_passes() -> None:
    found = diagnosis()
    assert not found.faults and not found.warnings
    assert found.lines["instruction"] == "'turn it up'" and found.lines["snapshot"].startswith("exact") and found.lines["replay"].startswith("exact")
    assert "same frames: yes" in found.lines["seeding"] and "info['success']" in found.lines["success"]
    assert found.lines["control rate"].startswith("20 environment steps a second assumed: ")
    assert found.lines["episode"] == "10 to 20 environment steps; no time limit is declared, so one that lasts longer than 10000 counts as faulty"
    assert found.sheet is not None and found.sheet.shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("ailment", "sentence"),
    [
        ("dark", "is black"),
        ("still", "does not change"),
        ("wordless", "No instruction"),
        ("no success", "reports no success"),
        ("endless", "No time limit: random actions ended no episode within 10000 steps; set env.max_episode_steps"),
        ("waits", "No time limit: the middle of the action box at every step ended no episode within 10000 steps; set env.max_episode_steps"),
        ("unseeded", "same seed does not give"),
        ("nan", "a reward must be one finite number"),
        ("raises", "RuntimeError: gears jammed"),
    ],
)
def test_each_fault_is_named(ailment: str, sentence: str) -> None:
    found = diagnosis(ailment)
    assert any(sentence in fault for fault in found.faults), found.faults


@pytest.mark.parametrize(
    ("ailment", "sentence"), [("flat", "reward never changed"), ("alike", "All seeds begin alike"), ("easy", "Random actions succeed")]
)
def test_each_doubt_is_a_note(ailment: str, sentence: str) -> None:
    found = diagnosis(ailment)
    assert any(sentence in warning for warning in found.warnings) and not found.faults


def test_an_environment_that_cannot_be_made_is_one_sentence() -> None:
    found = examine(EnvConfig(id="Nothing-v9"))
    assert len(found.faults) == 1 and "Nothing-v9" in found.faults[0] and not found.lines


def test_our_own_tasks_are_sound() -> None:
    found = examine(EnvConfig(id="etude/Press-v0"), episodes=4)
    assert not found.faults and "succeeds in 20 of 20" in found.lines["expert"]
    assert found.lines["control rate"] == "20 environment steps a second"
    assert found.lines["episode"].endswith("environment steps; the time limit is 32")


@pytest.mark.parametrize(("action", "words"), [(1.0, "the expert succeeds in 20 of 20"), (-1.0, "the expert succeeds in 0 of 20")])
def test_whoever_demonstrates_is_tried(action: float, words: str) -> None:
    config = EnvConfig(id="Dial-v0", cameras=("observation",), size=16, action_repeat=1)
    found = examine(config, episodes=4, expert=lambda: lambda adapter: np.array([action], np.float32), openings=9)
    assert found.lines["expert"] == words and "9 openings" in found.lines["replay"]
    assert any("The expert never succeeds" in fault for fault in found.faults) == (action < 0)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("drive(observation): return [0]", r"drive.py:drive fails with TypeError: drive\(\) takes 1 positional argument but 2 were given"),
        ("drive(env, observation): return None", "drive.py:drive gave None"),
        ("drive(env, observation): return [0, 0]", r"drive.py:drive gave \[0, 0\]"),
        ("drive(env, observation): return [float('nan')]", r"drive.py:drive gave \[nan\]"),
        ("drive(env, observation): return observation['x']", "drive.py:drive fails with IndexError"),
        ("drive(env, observation): raise SystemExit(3)", "drive.py:drive fails with SystemExit: 3"),
    ],
)
def test_an_expert_that_is_wrong_is_named_and_not_its_environment(body: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "drive.py").write_text(f"def {body}\n")
    config = EnvConfig(id="Dial-v0", cameras=("observation",), size=16, action_repeat=1)
    found = examine(config, episodes=2, expert=partial(resolve, f"{tmp_path}/drive.py:drive", config), openings=1)
    (fault,) = found.faults
    assert re.fullmatch(rf"The expert .*{says}.*; write it as drive\(env, observation\) -> an action of 1 finite numbers\.", fault)
    assert "Dial" not in fault and found.sheet is not None


@pytest.mark.parametrize(
    ("name", "says"),
    [("nowhere.py:drive", "demonstrate.expert 'nowhere.py:drive' cannot be used"), ("{folder}", "There is no expert for this environment in")],
)
def test_an_expert_that_does_not_exist_costs_no_other_finding(name: str, says: str, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    (tmp_path / "expert.json").write_text("{}")
    config = EnvConfig(id="Reacher-v5", instruction="touch it", success="reward > -0.02", size=16)
    found = examine(config, episodes=2, expert=partial(resolve, name.replace("{folder}", str(tmp_path)), config), openings=1)
    (fault,) = found.faults
    assert fault.startswith(says) and found.sheet is not None and found.lines["expert"] == "the expert cannot be used"


def test_an_oracle_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for oracle, says in ((lambda self: [0], "fails with TypeError"), (lambda self, steps: None, "gave None")):
        monkeypatch.setattr(Dial, "oracle", oracle, raising=False)
        (fault,) = diagnosis().faults
        assert fault.startswith("The oracle of Dial-v0 " + says) and fault.endswith(
            "; write it as oracle(self, steps) -> an action of 1 finite numbers."
        )


def test_a_slow_environment_is_not_looked_ahead_in_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = Adapter(EnvConfig())
    for pace, said in ((100.0, "an episode takes more than 20 s"), (1.5, " of [123] episodes succeed"), (0.0, " of 4 episodes succeed")):
        clock, found = itertools.count(), Diagnosis()
        found.lines["snapshot"] = "exact"
        monkeypatch.setattr(doctor, "time", SimpleNamespace(perf_counter=lambda clock=clock, pace=pace: pace * next(clock)))
        doctor._lookahead(adapter, found)
        assert re.search(said, found.lines["look-ahead"])
    adapter.close()
