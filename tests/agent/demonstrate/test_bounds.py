"""`env.action_bounds: quantiles` becomes numbers once, in the run's own config, and everybody reads these."""

from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium import spaces

import etude
from agent.config.config import Config
from agent.config.read import read_own
from agent.demonstrate.bounds import settled
from agent.run import episodes as dataset
from agent.run.files import read_object
from agent.run.folder import Run
from tests.agent.demonstrate.written import SIDE, write

RNG = np.random.default_rng(0)


class Push(gymnasium.Env):
    """Two numbers of an arm that needs +-0.02, and a gripper; nothing bounds the first two."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 20}  # pyright: ignore[reportIncompatibleVariableOverride]
    action_space = spaces.Box(np.array([-np.inf, -np.inf, -1], np.float32), np.array([np.inf, np.inf, 1], np.float32))
    observation_space = spaces.Box(-9, 9, (2,))
    render_mode = "rgb_array"

    def __init__(self, render_mode: str = "rgb_array") -> None:
        pass

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.at, self.time = np.zeros(2), 0
        return self.at.astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.at, self.time = self.at + action[:2], self.time + 1
        return self.at.astype(np.float32), float(-np.abs(self.at).sum()), False, self.time >= 8, {"success": bool(self.at[0] > 0.05)}

    def oracle(self, steps: int) -> np.ndarray:
        return np.array([0.02 * np.cos(self.time), 0.01, 1.0 if self.time > 3 else -1.0], np.float32)

    def render(self) -> np.ndarray:
        return np.full((SIDE, SIDE, 3), int(100 * self.at[0]) % 256, np.uint8)


def config(**demonstrate: Any) -> Config:
    env = {"id": f"{__name__}:Push", "cameras": ["render"], "size": SIDE, "action_repeat": 1, "action_bounds": "quantiles", "instruction": "push"}
    return Config(env=env, demonstrate={"cameras": ["front"], **demonstrate})  # type: ignore[arg-type]


def rows(length: int) -> list[list[float]]:
    return [[*map(float, RNG.normal(0, 0.02, 2)), float(t > length / 2)] for t in range(length)]


def test_quantiles_of_a_dataset(tmp_path: Path) -> None:
    actions = [rows(200), rows(100)]
    bounds = np.array(settled(config(dataset=str(write(tmp_path, actions))), tmp_path / "run").envs[0].action_bounds)
    expected = np.quantile(np.concatenate(actions)[:, :2], (0.01, 0.99), axis=0).T
    np.testing.assert_allclose(bounds[:2], expected)
    np.testing.assert_array_equal(bounds[2], (0, 1))


def test_quantiles_of_an_expert_whose_environment_has_no_bounds() -> None:
    bounds = np.array(settled(config(), Path("nowhere")).envs[0].action_bounds)
    shown = 0.02 * np.cos(np.arange(8))
    np.testing.assert_allclose(bounds[0], np.quantile(np.tile(shown, 8), (0.01, 0.99)), rtol=1e-4)
    np.testing.assert_allclose(bounds[1:], [[0.01, 0.01], [-1, 1]], rtol=1e-6)


def test_numbers_stay_as_they_are_and_nothing_is_read(tmp_path: Path) -> None:
    chosen = Config(demonstrate={"dataset": "nowhere"})  # type: ignore[arg-type]
    assert settled(chosen, tmp_path) is chosen


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"episodes": 0}, "quantiles are those of the demonstrations, and demonstrate.episodes is 0; give numbers"),
        ({"dataset": "nowhere"}, "there is no meta/info.json in it"),
        ({"expert": "nobody:knows"}, "demonstrate.expert 'nobody:knows' cannot be used"),
    ],
)
def test_without_demonstrations_there_are_no_quantiles(tmp_path: Path, changes: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        settled(config(**changes), tmp_path / "run")


def test_an_environment_alone_does_not_know_the_quantiles() -> None:
    from envs.adapt import Adapter

    with pytest.raises(ValueError, match="quantiles are those of the demonstrations of a run"):
        Adapter(config().envs[0])


@pytest.mark.slow
def test_a_run_keeps_them_for_all_that_follows(tmp_path: Path) -> None:
    source = write(tmp_path / "set", [rows(40) for _ in range(4)])
    tiny = {"threads": 1, "cycles": 0, "env": config().envs[0].model_dump(mode="json"), "track": {"mode": "off", "videos": False}}
    tiny |= {"policy": {"batch_size": 8}, "demonstrate": {"dataset": str(source), "cameras": ["front"], "episodes": 3, "steps": 2}}
    tiny |= {"ground": {"steps": 0}, "collect": {"num_envs": 2}, "evaluate": {"gate_episodes": 2, "test_episodes": 2}}
    chosen = Config(**tiny)
    etude.improve(chosen, tmp_path / "run")
    bounds = read_own(tmp_path / "run/config.yaml").envs[0].action_bounds
    assert bounds == settled(chosen, tmp_path / "other").envs[0].action_bounds
    actions = read_object(tmp_path / "run/champion.json")["content"]["actions"]
    assert list(zip(actions["low"], actions["high"], strict=True)) == list(bounds or ())
    policy = etude.load_policy(tmp_path / "run")
    assert policy.actions.high.tolist() == actions["high"] and policy.env.action_bounds == bounds
    made = dataset.read(tmp_path / "run/start/episodes")
    assert all((np.abs(each.actions[..., :2]) <= 0.1).all() for each in made)
    write(source, [[[9 * number for number in row] for row in rows(40)] for _ in range(4)])  # other recordings since then
    etude.improve(chosen, tmp_path / "run")
    assert read_own(tmp_path / "run/config.yaml").envs[0].action_bounds == bounds, "a run that goes on keeps its bounds"
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["env"]["action_bounds"] == np.array(bounds).tolist()
    with pytest.raises(ValueError, match="another env and policy config"):
        Run(tmp_path / "run", chosen.model_copy(update={"env": chosen.envs[0].model_copy(update={"action_bounds": None})}))
    (figures,) = [row for row in Run(tmp_path / "run").metrics() if row["stage"] == "demonstrate"]
    assert figures["demonstrate/codec_loss/0"] < 0.25 and "demonstrate/used/2" in figures
