"""The doctor: a sound environment passes, and each thing that would spoil training is named."""

import itertools
import re
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from agent.rollout.experts import resolve
from envs import EnvConfig, doctor
from envs import diagnosis as diagnosis_module
from envs.adapt import Adapter
from envs.diagnosis import Diagnosis
from envs.doctor import examine
from envs.host import examine_in_process
from envs.simulate.render import mujoco


class Dial(gymnasium.Env):
    """A dot moves with the action; each ailment is one keyword."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    drift = np.random.default_rng(0)

    def __init__(self, ailment: str = "", render_mode: str | None = None) -> None:
        self.ailment, self.render_mode, self.episodes = ailment, render_mode, 0
        if ailment in ("limit not kept", "another limit"):
            self.max_episode_steps = 10

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.where, self.steps, self.episodes = float(self.np_random.uniform(2, 13)), 0, self.episodes + 1
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
        reward /= self.episodes if self.ailment == "reward drifts" else 1
        limit = 20 + self.episodes if self.ailment == "ends later" else 20
        return self._see(), reward, False, self.steps >= limit and self.ailment not in ("endless", "waits", "limit not kept"), self._say()

    def _say(self) -> dict[str, Any]:
        late = self.ailment == "words change" and self.steps > 8
        words = {} if self.ailment == "wordless" else {"instruction": "turn it down" if late else "turn it up"}
        won = self.where > 14.9 and self.ailment not in ("endless", "limit not kept")
        return (
            words
            | ({} if self.ailment == "no success" else {"success": won or self.ailment == "easy"})
            | ({"success": self.episodes > 4 and self.steps > 9} if self.ailment == "grows easy" else {})
        )

    def _see(self) -> np.ndarray:
        frame = np.zeros((16, 16, 3), np.uint8)
        if self.ailment != "dark":
            frame[:, 0 if self.ailment == "still" else round(self.where)] = 200
            if self.ailment != "still":  # finer than a column, so that each beginning is another one
                frame[0] = 17 * self.where, 997 * self.where % 256, 0
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
        ("wordless", "No instruction: set env.instruction to words, or to '{task}' for the words that info has under the key task"),
        ("no success", "reports no success"),
        ("endless", "No time limit: random actions ended no episode within 10000 steps; set env.max_episode_steps"),
        ("waits", "No time limit: the middle of the action box at every step ended no episode within 10000 steps; set env.max_episode_steps"),
        ("unseeded", "same seed does not give"),
        ("reward drifts", "The same seed and actions give another reward after other episodes"),
        ("ends later", "The same seed and actions give another length after other episodes"),
        ("grows easy", "The same seed and actions give another success after other episodes"),
        ("limit not kept", "The time limit of 10 steps is declared, and longer episodes do not end; set env.max_episode_steps."),
        ("nan", "a reward must be one finite number"),
        ("raises", "RuntimeError: gears jammed"),
    ],
)
def test_each_fault_is_named(ailment: str, sentence: str) -> None:
    found = diagnosis(ailment)
    assert any(sentence in fault for fault in found.faults), found.faults


@pytest.mark.parametrize(
    ("ailment", "sentence"),
    [
        ("flat", "reward never changed"),
        ("alike", "All seeds begin alike"),
        ("easy", "Random actions succeed"),
        (
            "words change",
            "The instruction changes within an episode, from 'turn it up' at the reset to 'turn it down' after decision 9; the policy gets",
        ),
        ("another limit", "An episode had 20 steps, and the environment states 10 as its time limit (max_episode_steps, max_steps or the like), so"),
    ],
)
def test_each_doubt_is_a_note(ailment: str, sentence: str) -> None:
    found = diagnosis(ailment)
    assert any(sentence in warning for warning in found.warnings) and not found.faults
    assert "the time limit is" not in found.lines["episode"], "a limit that is not kept is none"


def test_an_environment_that_cannot_be_made_is_one_sentence() -> None:
    found = examine(EnvConfig(id="Nothing-v9"))
    assert len(found.faults) == 1 and "Nothing-v9" in found.faults[0] and not found.lines


def test_our_own_tasks_are_sound() -> None:
    found = examine(EnvConfig(id="etude/Press-v0"), episodes=4)
    assert not found.faults and "succeeds in 20 of 20" in found.lines["expert"]
    assert found.lines["control rate"] == "20 environment steps a second"
    assert found.lines["episode"].endswith("environment steps; the time limit is 32")
    assert {"tool", "red button"} <= set(found.lines["objects"].split(", "))  # what a prompt can ask for


@pytest.mark.parametrize(("action", "words"), [(1.0, "the expert succeeds in 20 of 20"), (-1.0, "the expert succeeds in 0 of 20")])
def test_whoever_demonstrates_is_tried(action: float, words: str) -> None:
    config = EnvConfig(id="Dial-v0", cameras=("observation",), size=16, action_repeat=1)
    found = examine(config, episodes=4, expert=lambda: lambda adapter: np.array([action], np.float32), openings=9)
    assert found.lines["expert"] == words and "9 openings" in found.lines["replay"] and "objects" not in found.lines  # no simulator names any
    assert any("The expert never succeeds" in fault for fault in found.faults) == (action < 0)


def test_one_failure_of_an_expert_too_slow_for_more_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "QUICK", doctor.Effort(seconds=0.0, openings=1, lookahead=False))
    config = EnvConfig(id="Dial-v0", cameras=("observation",), size=16, action_repeat=1)
    found = examine(config, expert=lambda: lambda adapter: np.array([-1.0], np.float32), quick=True)
    assert found.lines["expert"] == "the expert succeeds in 0 of 1"
    assert not any("never succeeds" in fault for fault in found.faults) and any("--thorough plays more" in note for note in found.warnings)


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


def test_an_oracle_whose_label_the_space_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ill, "oracle", lambda self, steps: 3, raising=False)
    (fault,) = ill(space=gymnasium.spaces.Discrete(3)).faults
    form = "oracle(self, steps) -> an action of 1 finite numbers, whole and of 0 to 2."
    assert fault == f"The oracle of {__name__}:Ill gave 3; write it as {form}"
    assert not any(form in each for each in ill(space=gymnasium.spaces.Discrete(4)).faults)


def test_keys_that_disagree_about_success_are_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    say = Dial._say
    monkeypatch.setattr(Dial, "_say", lambda self: say(self) | {"is_success": False})
    up = lambda: lambda adapter: np.ones(1, np.float32)  # noqa: E731
    told = "Two keys report success, and disagree: info['is_success'] is False where info['success'] is True, and the first of them is read"
    for success, count in (("", 1), ("success", 0)):
        found = examine(
            EnvConfig(id="Dial-v0", cameras=("observation",), size=16, action_repeat=1, success=success), episodes=4, expert=up, openings=1
        )
        assert sum(each.startswith(told) for each in found.warnings) == count
        assert found.lines["expert"] == f"the expert succeeds in {20 * (success == 'success')} of 20"


def test_a_slow_environment_is_not_looked_ahead_in_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = Adapter(EnvConfig())
    for pace, said in ((100.0, "an episode takes more than 20 s"), (1.5, " of [123] episodes succeed"), (0.0, " of 4 episodes succeed")):
        clock, found = itertools.count(), Diagnosis()
        found.lines["snapshot"] = "exact"
        monkeypatch.setattr(
            diagnosis_module, "time", SimpleNamespace(process_time=lambda clock=clock, pace=pace: pace * next(clock), perf_counter=lambda: 0)
        )
        doctor._Doctor(EnvConfig(), doctor.Effort(), lambda stage: None, found, Adapter)._lookahead(adapter)
        assert re.search(said, found.lines["look-ahead"])
    adapter.close()


class Ill(gymnasium.Env):
    """A dot moves with the action towards a goal; each ailment is one keyword, and `shades` is how many beginnings there are."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    words = "go to the red goal"  # of the last episode, where the ailment is that they come late

    def __init__(self, ailment: str = "", shades: int = 10**9, space: gymnasium.Space | None = None, render_mode: str | None = None) -> None:
        self.ailment, self.shades, self.render_mode = ailment, shades, render_mode
        self.action_space = space or gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        number = self.np_random_seed % self.shades
        self.goal = np.random.default_rng(number).integers(0, 256, 3)
        self.next_words, self.where, self.steps = f"go to goal {number % 5}", 8.0, 0
        if self.ailment not in ("words late", "words in step"):
            self.words = self.next_words
        info = {"instruction": self.words}
        if self.ailment == "words late":
            self.words = self.next_words
        return self.see(), info

    def step(self, action: Any):
        self.where, self.steps = float(np.clip(self.where + np.ravel(action)[0], 0, 15)), self.steps + 1
        if self.ailment == "words in step":
            self.words = self.next_words
        if self.ailment == "hangs later" and self.np_random_seed > 71_000_000:
            time.sleep(600)
        ended = self.steps >= 12
        if ended and self.ailment == "resets":
            self.reset(seed=self.np_random_seed + 1)
        if ended and self.ailment == "resets privately":
            self.where, self.goal = 0.0, 255 - self.goal
        return self.see(), self.where, ended, False, {"success": False, "instruction": self.words}

    def see(self) -> np.ndarray:
        frame = np.zeros((16, 16, 3), np.uint8)
        if self.ailment != "goal not shown":
            frame[:8] = self.goal
        frame[12:, round(self.where)] = 200
        return frame

    def render(self) -> np.ndarray:
        return self.see()


def ill(ailment: str = "", episodes: int = 6, **more: Any) -> Diagnosis:
    kwargs = {"ailment": ailment, **{key: more.pop(key) for key in ("shades", "space") if key in more}}
    config = EnvConfig(**({"id": f"{__name__}:Ill", "kwargs": kwargs, "cameras": ("observation",), "size": 16, "action_repeat": 1} | more))
    return examine(config, episodes=episodes, openings=2)


@pytest.mark.parametrize(
    ("ailment", "says"),
    [
        ("words late", "The instruction of seed 7000000. was 'go to .*', and 'go to .*' after other episodes: words of another episode"),
        ("words in step", "The instruction of seed 7000000. was 'go to .*', and 'go to .*' after other episodes: words of another episode"),
    ],
)
def test_words_of_another_episode_are_noticed(ailment: str, says: str) -> None:
    assert any(re.match(says, fault) for fault in ill(ailment).faults), ill(ailment).faults
    assert not any("nstruction" in each for each in (*ill().faults, *ill().warnings))


def test_words_that_the_first_step_changes_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ill, "words", "")
    reset = Ill.reset

    def at_first(self: Ill, **named: Any) -> Any:
        seen, _ = reset(self, **named)
        return seen, {"instruction": "wait"}

    monkeypatch.setattr(Ill, "reset", at_first)
    (fault,) = ill().faults
    assert re.match(r"The instruction is 'wait' at the reset and 'go to goal \d' after the first step", fault)


@pytest.mark.parametrize(("shades", "at_most"), [(4, 4), (60, 60), (100, 63), (10**9, 64)])
def test_few_beginnings_are_counted(shades: int, at_most: int) -> None:
    found = ill(shades=shades)
    count = int(found.lines["beginnings"].removesuffix(" different ones in 64 resets"))
    said = f"Only {count} different beginnings in 64 resets: evaluation seeds repeat situations of practice."
    assert at_most // 2 < count <= at_most and (said in found.warnings) is (shades < 10**9)


def test_words_that_the_config_draws_make_no_other_beginning() -> None:
    assert ill(shades=4, instruction=("go", "move", "drive")).lines["beginnings"] == "4 different ones in 64 resets"


def test_a_goal_that_no_camera_shows_is_said() -> None:
    says = "Camera 'observation' shows the same at the beginning of all episodes: the goal may not be visible there."
    hidden = ill("goal not shown", instruction="go to the goal")
    assert says in hidden.warnings and says not in ill(instruction="go to the goal").warnings
    assert says not in ill("goal not shown").warnings, "the words tell the goals apart"


def test_an_environment_that_resets_itself_is_said() -> None:
    assert "The environment resets itself in the step that ends an episode; the last frames are drawn before it does." in ill("resets").warnings
    assert any("does the environment reset itself" in each for each in ill("resets privately").warnings)
    assert not any("reset itself" in each or "resets itself" in each for each in ill().warnings)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (
            gymnasium.spaces.Box(-np.finfo(np.float32).max, np.finfo(np.float32).max, (2,)),
            r"bounds beyond 1e\+06, which bound nothing; say which actions to use by env.action_bounds",
        ),
        (gymnasium.spaces.Box(np.array([-1, -1e6], np.float32), np.array([1, 1e6], np.float32)), r"in dimension 1: one of 33 bins is 6\.2e\+04 wide"),
        (gymnasium.spaces.Discrete(200), "An action has 200 values, and policy.num_bins is 33; set it to 200, or use another codec"),
        (gymnasium.spaces.MultiDiscrete([3, 40]), "An action has 40 values, and policy.num_bins is 33; set it to 40"),
    ],
)
def test_odd_action_spaces_are_said(space: gymnasium.Space, says: str) -> None:
    found = ill(space=space)
    assert any(re.search(says, each) for each in (*found.faults, *found.warnings)), found
    assert not any("action" in each for each in (*ill().faults, *ill().warnings))


def test_a_box_that_is_narrower_than_the_robots_is_said() -> None:
    found = examine(EnvConfig(id=f"{__name__}:Arm", cameras=("top",), size=16, instruction="move", success="reward > 9"), episodes=2, openings=1)
    assert any("states -1 to 1 in dimension 0, and the robot's actuators take more (-3.1 to 3.1 in dimension 0)" in each for each in found.warnings)
    assert any("Geom groups 0 and 1 overlap on 1 bodies" in each and "env.geom_groups [1, 2]" in each for each in found.warnings)
    groups = EnvConfig(id=f"{__name__}:Arm", cameras=("top",), size=16, instruction="move", success="reward > 9", geom_groups=(1,))
    assert not any("overlap" in each for each in examine(groups, episodes=2, openings=1).warnings)


class Arm(gymnasium.Env):
    """Its first actuator could turn further than the action box says; it has collision shapes as robosuite's arms."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]
    observation_space, action_space = gymnasium.spaces.Box(-9, 9, (2,)), gymnasium.spaces.Box(-1, 1, (2,))
    XML = """<mujoco><worldbody><light pos="0 0 3"/><camera name="top" pos="0 0 2"/><body><joint name="a" damping="1"/>
      <geom size=".2" pos=".3 0 0" group="0"/><geom size=".19" pos=".3 0 0" group="1" contype="0" conaffinity="0"/>
      <body><joint name="b" damping="1"/><geom size=".1" group="1"/></body></body></worldbody>
      <actuator><position joint="a" ctrlrange="-3.1 3.1"/><position joint="b" ctrlrange="-1 1"/></actuator></mujoco>"""

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(self.XML)
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.np_random.uniform(-1, 1, 2)
        mujoco.mj_forward(self.model, self.data)
        return self.data.qpos.copy(), {}

    def step(self, action: np.ndarray):
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, 10)
        return self.data.qpos.copy(), float(self.data.qpos[0]), False, self.data.time > 0.5, {}


def test_an_expert_that_uses_few_bins_is_said() -> None:
    config = EnvConfig(id=f"{__name__}:Ill", cameras=("observation",), size=16, action_repeat=1)
    rng = np.random.default_rng(0)
    for reach, says in ((0.02, True), (0.9, False)):
        found = examine(config, episodes=2, expert=lambda reach=reach: lambda adapter: rng.uniform(-reach, reach, 1), openings=1)
        assert any("fewer than 3 of 33 bins" in each and "narrower env.action_bounds" in each for each in found.warnings) is says


@pytest.mark.parametrize(("reach", "says"), [(57.3, True), (2.5, False)])
def test_an_expert_of_another_unit_is_said(reach: float, says: bool) -> None:
    """Degrees instead of radians. Gains that are too large for the box are usual: their actions are cut off at its border."""
    config = EnvConfig(id=f"{__name__}:Ill", cameras=("observation",), size=16, action_repeat=1)
    rng = np.random.default_rng(0)
    found = examine(config, episodes=2, expert=lambda: lambda adapter: rng.uniform(-reach, reach, 1), openings=1)
    assert any("The expert asks for -5" in each and "the action box reaches from -1 to 1" in each for each in found.warnings) is says


def test_findings_come_one_by_one_and_those_before_a_hang_are_kept() -> None:
    told: list[str] = []
    config = EnvConfig(id=f"{__name__}:Ill", kwargs={"ailment": "hangs later"}, cameras=("observation",), size=16, action_repeat=1, timeout=2)
    found = examine_in_process(config, config.timeout, lambda stage: None, hang_later, quick=True, tell=lambda finding: told.append(finding.topic))
    (fault,) = found.faults
    assert "the expert's episode" in fault and "no answer within 2 s" in fault
    assert found.sheet is not None and {"actions", "seeding", "beginnings", "replay", "snapshot", "speed"} <= set(found.lines)
    assert told[: told.index("seeding")] and told == [each for each in told if each in {*found.lines, ""}]


def hang_later() -> Any:
    """An expert for `Ill`, which hangs in its second episode."""
    return lambda adapter: time.sleep(600) if adapter.seed == 70_000_001 else np.ones(1, np.float32)


def test_a_quick_check_of_a_slow_environment_does_at_least_one_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis_module, "time", SimpleNamespace(process_time=itertools.count(step=100).__next__, perf_counter=lambda: 0))
    found = examine(EnvConfig(id=f"{__name__}:Ill", cameras=("observation",), size=16, action_repeat=1), quick=True)
    assert (
        found.lines["episode"].startswith("10 to 10 environment steps, 1 broken off") and found.lines["beginnings"] == "1 different ones in 1 resets"
    )
    assert found.lines["replay"].startswith("exact, 1 openings") and "look-ahead" not in found.lines
    assert any(each.startswith("No time limit: random actions ended no episode within 1 steps") for each in found.warnings) and not found.faults


def test_a_wrong_success_rule_is_one_fault_and_not_also_one_of_the_expert() -> None:
    found = examine(EnvConfig(id="etude/Reach-v0", success="gone"), episodes=1, openings=1)
    (fault,) = found.faults
    assert "'gone'" in fault and found.lines["expert"] == "the scripted oracle acts; whether it succeeds is not known"


def test_episodes_of_one_decision_leave_snapshot_and_replay_untried() -> None:
    found = examine(EnvConfig(id="etude/Reach-v0", max_episode_steps=2, action_repeat=2), episodes=2, openings=1)
    assert "All episodes ended before snapshot and replay could be tried, so nothing is known of them." in found.warnings
