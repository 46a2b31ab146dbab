"""Stage `ground`: what is checked before it begins."""

import itertools
import os
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.config.read import parse
from agent.ground import stage
from agent.ground.stage import to_ground
from agent.records import SEEDS
from agent.rollout.copies import one_by_one
from agent.rollout.planner import Planner
from agent.rollout.session import Session
from agent.run.folder import Run


class Spoilt(gymnasium.Env):
    """The first seed of stage `ground` breaks it."""

    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})

    def __init__(self, dies: bool = False) -> None:
        self.dies = dies

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed == SEEDS["ground"] and self.dies:
            os._exit(1)
        if seed == SEEDS["ground"]:
            raise RuntimeError("no scene")
        return self.observation_space.sample(), {"place": np.zeros(2)}


@pytest.mark.parametrize("dies", [False, True])
def test_a_spoilt_seed_refuses_no_run(dies: bool, tmp_path: Path) -> None:
    env = {"id": f"{__name__}:Spoilt", "cameras": ["eye"], "size": 16, "max_episode_steps": 4, "kwargs": {"dies": dies}, "timeout": 60.0 * dies}
    session = Session(Run(tmp_path / "run", parse({"env": env, "ground": {"from": {"it": "info.place"}}}, "test")))
    places, steps = to_ground(session)
    assert steps and places == session.environments.firsts
    places[0].reset(1)
    session.close()
    wrong = Session(Run(tmp_path / "run", parse({"env": {**env, "timeout": 0}, "ground": {"from": {"it": "info.plaec"}}}, "test")))
    if not dies:
        with pytest.raises(ValueError, match=r"info holds 'place'; name numbers that it holds"):
            to_ground(wrong)
    wrong.close()


def test_positions_that_no_stage_asks_about_are_refused(tmp_path: Path) -> None:
    """A model from a hub is not grounded unless the config says so."""
    session = Session(Run(tmp_path / "run", parse({"policy": {"model": "a/model"}, "ground": {"from": {"it": "info.place"}}}, "test")))
    with pytest.raises(ValueError, match=r"ground.from is for stage ground, .* set ground.steps too, or remove it"):
        to_ground(session)
    session.close()
    without = parse({"policy": {"model": "a/model"}, "ground": {"from": {"it": "info.place"}, "steps": 0}}, "test")
    session = Session(Run(tmp_path / "run", without))
    assert to_ground(session)[1] == 0, "a comparison without grounding needs no other config"
    session.close()


def test_a_planner_moves_nothing_in_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds an episode, and random motion is drawn in none."""
    (tmp_path / "expert.json").write_text('{"algorithm": "lookahead", "horizon": 2, "candidates": 2}')
    monkeypatch.setattr(Planner, "__call__", lambda self, adapter: pytest.fail("it planned"))
    config = parse({"env": {"id": "etude/Reach-v0"}, "demonstrate": {"expert": str(tmp_path), "episodes": 2}}, "test")
    session = Session(Run(tmp_path / "run", config))
    place = session.environments.firsts[0]
    drawn = stage._scenes(session.run, place, session.policy, partial(one_by_one, place))
    assert len(list(itertools.islice(drawn, 30))) == 30
    session.close()


@pytest.mark.parametrize(
    ("ground", "says"),
    [
        ({"kinds": ["apart"], "steps": 9}, r"No question of ground.kinds \(apart\) can be asked about etude/Reach-v0; name some of colour, count"),
        ({"tool": "nope", "steps": 9}, "ground.tool is 'nope', which is no site or body of etude/Reach-v0"),
    ],
)
def test_questions_that_nobody_can_ask_are_named_before_scenes_are_drawn(ground: dict[str, Any], says: str, tmp_path: Path) -> None:
    session = Session(Run(tmp_path / "run", parse({"env": {"id": "etude/Reach-v0"}, "ground": ground}, "test")))
    with pytest.raises(ValueError, match=says):
        to_ground(session)
    session.close()


def test_a_view_of_the_users_own_is_grounded_too(tmp_path: Path) -> None:
    """The embedded model has never seen its own tasks from there."""
    camera = {"lookat": [0, 0, 0], "distance": 1, "azimuth": 0, "elevation": -30}
    for cameras, steps in ((["front"], 0), (["front", "side"], 600)):
        env = {"id": "etude/Reach-v0", "cameras": cameras, "free_cameras": {"side": camera} if "side" in cameras else {}}
        session = Session(Run(tmp_path / "run", parse({"env": env}, "test")))
        assert to_ground(session)[1] == steps
        session.close()
