"""The planner: it succeeds where only the reward leads, leaves no trace in the environment, and refuses what cannot be copied."""

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.config.read import read
from agent.rollout.experts import Experts, examine, plan, resolve
from agent.rollout.planner import Planner
from agent.verbs.models import expert
from envs import EnvConfig
from envs.adapt import Adapter
from envs.faults import NoExpert
from tests.agent.rollout.test_experts import REACHER

COUNTED = [0]


class Elsewhere(gymnasium.Env):
    """Its state lies in a global of the module, which no copy of the environment holds."""

    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        COUNTED[0] = 0
        return self._frame(), {}

    def step(self, action: Any) -> Any:
        COUNTED[0] += 1
        return self._frame(), float(COUNTED[0]), False, COUNTED[0] >= 40, {}

    def _frame(self) -> np.ndarray:
        return np.full((8, 8, 3), COUNTED[0], np.uint8)


class Row(gymnasium.Env):
    """A row of places 0 to 9. Its four actions move by -2, -1, 1 and 2; the further, the better, and 9 is the goal."""

    action_space = gymnasium.spaces.Discrete(4)
    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.place = render_mode, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place = 0
        return np.zeros((8, 8, 3), np.uint8), {"place": 0}

    def step(self, action: Any) -> Any:
        self.place = min(max(self.place + (-2, -1, 1, 2)[action], 0), 9)
        return np.zeros((8, 8, 3), np.uint8), float(self.place), False, False, {"place": self.place}


def idle(adapter: Adapter) -> np.ndarray:
    return np.zeros(len(adapter.actions), np.float32)


def test_it_succeeds_without_a_script_where_doing_nothing_fails() -> None:
    planned, nothing = examine(REACHER, Planner(8, 24), 8), examine(REACHER, idle, 8)
    assert planned.low > nothing.high


class Tired(Row):
    """One seed in so many breaks it."""

    def __init__(self, every: int, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.every = every

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if (seed or 0) % self.every == 0:
            raise RuntimeError("it broke")
        return super().reset(seed=seed)


def test_an_episode_that_the_environment_breaks_costs_no_examination() -> None:
    """The expert may have been trained for hours."""
    config = EnvConfig(
        id=f"{__name__}:Tired", kwargs={"every": 10}, instruction="go", success="info['place'] == 9", cameras=("observation",), size=32
    )

    def right(adapter: Adapter) -> np.ndarray:
        return np.array([3], np.float32)

    assert (rate := examine(config, right, 20)).n == 20 and rate.rate == 0.9
    with pytest.raises(ValueError, match=r"Tired: 10 of 20 episodes with the expert were faulty; the last was seed 85000018, RuntimeError: it broke"):
        examine(config.model_copy(update={"kwargs": {"every": 2}}), right, 20)


def test_planning_leaves_no_trace_and_the_same_state_gives_the_same_action() -> None:
    one, other = Adapter(REACHER), Adapter(REACHER)
    one.reset(5)
    other.reset(5)
    planner, again = Planner(6, 12), Planner(6, 12)
    for _ in range(4):
        action = planner(one)
        np.testing.assert_array_equal(again(one), action, "a second planner, from the same state")
        here, there = (each.step(action[None]).rewards for each in (one, other))  # in `other` nothing was planned
        np.testing.assert_array_equal(here, there)
        np.testing.assert_array_equal(one.raw, other.raw)
    one.reset(5)
    fresh = Planner(6, 12)(one)
    np.testing.assert_array_equal(planner(one), fresh, "a new episode begins without the plan of the last one")


def test_discrete_actions_are_planned_among_their_values() -> None:
    adapter = Adapter(
        EnvConfig(
            id=f"{__name__}:Row", instruction="go to the light", success="info['place'] == 9", cameras=("observation",), size=32, action_repeat=1
        )
    )
    adapter.reset(0)
    planner, places = Planner(5, 40), []
    while not (outcome := adapter.step(planner(adapter)[None])).success and len(places) < 15:
        places.append(adapter.env.unwrapped.place)  # type: ignore[attr-defined]
    assert outcome.success and places == sorted(places) and set(np.diff([0, *places, 9])) <= {1, 2}


def test_the_verb_writes_a_folder_that_demonstrates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "reacher.yaml"
    config.write_text(
        "env:\n  id: Reacher-v5\n  kwargs: {width: 48, height: 48}\n  instruction: touch the red ball\n"
        "  success: norm(observation[8:10]) < 0.06\n  action_repeat: 2\n  size: 32\n"
    )
    out = tmp_path / "expert"
    expert([str(config), str(out), "--algorithm", "lookahead", "--horizon", "6", "--candidates", "12"])
    assert "n = 50, written" in capsys.readouterr().out
    assert json.loads((out / "expert.json").read_text()) == {"algorithm": "lookahead", "horizon": 6, "candidates": 12}
    adapter = Adapter(read(config).envs[0])
    adapter.reset(3)
    np.testing.assert_array_equal(Experts(str(out))(adapter), Planner(6, 12)(adapter))


def test_what_cannot_be_copied_is_refused(tmp_path: Path) -> None:
    config = EnvConfig(id=f"{__name__}:Elsewhere", instruction="wait", success="reward > 30", size=32, cameras=("observation",))
    with pytest.raises(ValueError, match=r"cannot be copied exactly .* --algorithm sac"):
        plan(config, tmp_path / "expert")
    assert not (tmp_path / "expert").exists()


@pytest.mark.parametrize("facts", [{}, {"horizon": 0, "candidates": 9}, {"horizon": 5, "candidates": 1}, {"horizon": "x", "candidates": 9}])
def test_a_damaged_file_is_one_sentence(facts: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "expert.json").write_text(json.dumps({"algorithm": "lookahead", **facts}))
    with pytest.raises(NoExpert, match=r"expert.json is damaged: .* whole number"):
        resolve(str(tmp_path), REACHER)
