"""A run does not go on over lost episodes, and does not look ahead where moments do not come back."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from agent.config.read import parse
from agent.demonstrate.stage import check_success_demonstrated
from agent.ready import can_be_asked, can_detect, comes_back, nothing_lost
from agent.records import Job
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from agent.run import episodes as dataset
from agent.run.files import save
from envs import EnvConfig
from policies.scripted import Random


def test_lost_episodes_are_named_before_training_data_get_fewer(tmp_path: Path) -> None:
    run, folder = SimpleNamespace(folder=tmp_path), tmp_path / "cycle-001"
    environments = Environments(EnvConfig(), 1)
    policy = Random(environments.first.actions.low, environments.first.actions.high, 1)
    dataset.append(
        folder / "episodes", list(rollout(policy, environments, [Job(seed, 0, (seed,)) for seed in range(3)])), fps=5, cameras=("front", "wrist")
    )
    save(folder / "collect.json", {"recorded": {"episodes": 3}})
    nothing_lost(run)  # type: ignore[arg-type]
    save(folder / "collect.json", {"recorded": {"episodes": 3, "lookahead/episodes": 2}})
    with pytest.raises(
        ValueError, match=r"cycle-001/lookahead/episodes holds 0 of the 2 episodes .* delete the folder .*cycle-001 and those of all later"
    ):
        nothing_lost(run)  # type: ignore[arg-type]


def test_a_lost_stage_is_named_before_later_cycles_rest_on_it(tmp_path: Path) -> None:
    run, stages = SimpleNamespace(folder=tmp_path), ("collect", "label", "curate", "evaluate", "cycle")
    for number in (1, 2):
        for stage in stages:
            save(tmp_path / f"cycle-{number:03d}" / f"{stage}.json", {})
    (tmp_path / "cycle-003").mkdir()  # only begun
    nothing_lost(run)  # type: ignore[arg-type]
    for number, stage in itertools.product((1, 2), stages):
        file = tmp_path / f"cycle-{number:03d}" / f"{stage}.json"
        file.rename(tmp_path / "aside")
        with pytest.raises(ValueError, match=rf"{stage}.json is gone, .* delete the folder .*cycle-00{number} and those of all later cycles"):
            nothing_lost(run)  # type: ignore[arg-type]
        (tmp_path / "aside").rename(file)
    nothing_lost(run)  # type: ignore[arg-type]
    (tmp_path / "cycle-001" / "policy.safetensors").touch()  # it had something to learn
    with pytest.raises(ValueError, match=r"tune.json is gone, .* delete the folder .*cycle-001 and those of all later cycles"):
        nothing_lost(run)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asks", "says"),
    [
        ({}, ""),
        ({"label": {"by": "both"}}, "label.by"),
        ({"curate": {"credit": "steps_to_go"}}, "curate.credit"),
    ],
)
def test_a_policy_that_is_no_language_model_is_asked_nothing(asks: dict, says: str) -> None:
    run = SimpleNamespace(config=parse(asks, "test"))
    can_be_asked(run, SimpleNamespace(base=None))  # type: ignore[arg-type]
    if says:
        with pytest.raises(ValueError, match=f"{says} asks the model questions, and 'nano' cannot answer any; set "):
            can_be_asked(run, SimpleNamespace())  # type: ignore[arg-type]
    else:
        can_be_asked(run, SimpleNamespace())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asks", "says"),
    [
        ({}, ""),
        ({"label": {"by": "both"}}, ""),
        ({"label": {"by": "detector"}}, "label.by detector"),
        ({"curate": {"credit": "steps_to_go"}}, "curate.credit"),
    ],
)
def test_demonstrations_without_a_success_are_refused_where_the_model_is_measured_on_them(asks: dict, says: str, tmp_path: Path) -> None:
    run = SimpleNamespace(config=parse(asks, "test"), folder=tmp_path)
    save(tmp_path / "start" / "demonstrate.json", {"figures": {"episodes": 7, "success": 0.25}})
    check_success_demonstrated(run)  # type: ignore[arg-type]
    save(tmp_path / "start" / "demonstrate.json", {"figures": {"episodes": 7, "success": 0.0}})
    if not says:
        check_success_demonstrated(run)  # type: ignore[arg-type]
        return
    with pytest.raises(ValueError, match=f"{says}.* needs demonstrations of a success, and none of the 7"):
        check_success_demonstrated(run)  # type: ignore[arg-type]


MADE = itertools.count()


class Forgetful(gymnasium.Env):
    """Counts all steps that were ever made, where no snapshot finds it."""

    action_space = gymnasium.spaces.Box(-1, 1, (2,))
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"eye": np.zeros((16, 16, 3), np.uint8)}, {}

    def step(self, action):
        return {"eye": np.zeros((16, 16, 3), np.uint8)}, float(next(MADE)), False, False, {"success": False}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("lookahead", [0, 4])
def test_trying_in_a_copy_needs_an_environment_that_comes_back(lookahead: int, later: bool) -> None:
    plain, collect = not lookahead, {"lookahead_episodes": lookahead}
    config = parse({"phases": [{"first": 2, "collect": collect}]} if later else {"collect": collect}, "test")
    for env, fine in ((EnvConfig(id=f"{__name__}:Forgetful", cameras=("eye",), instruction="go", max_episode_steps=12), plain), (EnvConfig(), True)):
        environments = Environments(env, 1)
        run = SimpleNamespace(environments=environments, config=config)
        if fine:
            comes_back(run)  # type: ignore[arg-type]
        else:
            with pytest.raises(ValueError, match=r"collect.lookahead_episodes needs .* does not: rewards differ .*; set it to 0"):
                comes_back(run)  # type: ignore[arg-type]
        environments.close()


def half(frames: np.ndarray, instruction: str) -> float:
    """A detector that gives one number for all observations."""
    return 0.5


def seen(frames: np.ndarray, instruction: str) -> np.ndarray:
    """A detector as it should be, which looks at what an environment draws."""
    assert frames.shape == (2, 2, 64, 64, 3) and frames.std() > 10 and instruction.startswith("touch the")
    return np.full(len(frames), 0.5)


def test_a_detector_that_gives_something_else_is_refused_before_the_run_begins() -> None:
    environments = Environments(EnvConfig(), 1)
    for name, by in (("half", "detector"), ("half", "both"), ("seen", "detector")):
        config = parse({"label": {"by": by, "detector": f"{__name__}:{name}"}}, "test")
        session = SimpleNamespace(config=config, environments=environments)
        if name == "seen":
            can_detect(session)  # type: ignore[arg-type]
            continue
        with pytest.raises(ValueError, match=r"half' returned 0.5 for the 2 observations of etude/Reach-v0/0/0; return one probability"):
            can_detect(session)  # type: ignore[arg-type]
    can_detect(SimpleNamespace(config=parse({}, "test"), environments=environments))  # type: ignore[arg-type]
