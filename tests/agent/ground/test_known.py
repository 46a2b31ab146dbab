"""What trains follows from what is known of the scene."""

from pathlib import Path
from typing import Any

import pytest

from agent.config.config import Config
from agent.config.read import parse, write
from agent.ground.known import in_a_sentence, settled_weights
from agent.rollout.environments import Environments

POINT_GOAL = {"id": "examples/point_goal.py:PointGoal", "cameras": ["pixels"], "max_episode_steps": 48}
PENDULUM = {"id": "InvertedPendulum-v5", "cameras": ["render"], "instruction": "balance", "success": "total_reward > 20"}


@pytest.mark.parametrize(
    ("content", "train"),
    [
        ({"env": POINT_GOAL}, "all"),
        ({"env": {}}, "text"),
        ({"env": PENDULUM}, "text"),
        ({"env": {**PENDULUM, "history": 2}}, "all"),
        ({"env": POINT_GOAL, "policy": {"train": "text"}}, "text"),
        ({"env": POINT_GOAL, "policy": {"model": "a/model"}}, "text"),
    ],
)
def test_the_vision_tower_trains_where_nothing_has_shown_it_such_a_scene(content: dict[str, Any], train: str) -> None:
    assert settled_weights(parse(content, "test")).policy.train == train


def test_a_run_goes_on_with_what_it_trained_before(tmp_path: Path) -> None:
    """Also one that an earlier version began, whose config says `text`."""
    (tmp_path / "config.yaml").write_text(write(parse({"env": POINT_GOAL, "policy": {"train": "text"}}, "test")))
    assert settled_weights(parse({"env": POINT_GOAL}, "test"), tmp_path).policy.train == "text"


def test_the_sentence_names_the_scene_and_what_trains() -> None:
    environments = Environments(parse({"env": POINT_GOAL}, "test").envs, 1)
    said = {train: in_a_sentence(parse({"env": POINT_GOAL, "policy": {"train": train}}, "test"), environments.firsts) for train in ("all", "text")}
    assert all("never seen scenes like those of examples/point_goal.py:PointGoal" in each for each in said.values())
    assert "policy.train is all" in said["all"] and "learns in stage ground alone" in said["text"]
    assert in_a_sentence(Config(), Environments(Config().envs, 1).firsts) == ""


def test_positions_survive_the_config_file() -> None:
    config = parse({"ground": {"from": {"ball": "info.ball_xy"}}}, "test")
    assert config.ground.sources == {"ball": "info.ball_xy"} and "from:\n    ball: info.ball_xy" in write(config)
    assert config.at(2) == config
