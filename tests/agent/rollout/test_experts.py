"""Experts: scripts by name, and ones that are trained, kept, resumed and asked."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.demonstrate.stage import record
from agent.records import Job
from agent.rollout.environments import Environments
from agent.rollout.experts import Blind, examine, resolve, train
from envs import EnvConfig
from envs.adapt import Adapter
from policies import PolicyConfig, load

REACHER = EnvConfig(
    id="Reacher-v5",
    kwargs={"width": 48, "height": 48},
    instruction="touch the red ball",
    success="norm(observation[8:10]) < 0.06",
    action_repeat=2,
    size=32,
)


def lazy(env: gymnasium.Env, observation: Any) -> np.ndarray:
    return np.zeros(env.action_space.shape or ())


class Scripted:
    def get_action(self, observation: np.ndarray) -> np.ndarray:
        return np.full(2, 9.0) * np.sign(observation[8])


def test_scripts_are_found_by_name() -> None:
    environments = Environments(REACHER, 1)
    environments.first.reset(0)
    assert resolve(f"{__name__}:lazy", REACHER)(environments.first).tolist() == [0, 0]
    assert np.abs(resolve(f"{__name__}:Scripted", REACHER)(environments.first)).tolist() == [1, 1], "clipped to the action box"
    for name, why in (("nowhere", "module:function"), ("nomodule:x", "nomodule"), (f"{__name__}:nobody", "nobody")):
        with pytest.raises(ValueError, match=why):
            resolve(name, REACHER)


def test_a_script_demonstrates_in_the_policys_tokens() -> None:
    environments = Environments(REACHER, 1)
    actions = environments.first.actions
    codec = load(PolicyConfig(), actions.low, actions.high, actions.counts).codec
    (episode,) = record(environments, codec, [Job(3, 0, (0,))], expert=resolve(f"{__name__}:Scripted", REACHER))
    assert (episode.policy == "oracle" and episode.instruction == "touch the red ball" and len(episode) == 25) or episode.success
    np.testing.assert_array_equal(codec.decode(episode.tokens[0]), episode.actions[0])


class Ill(gymnasium.ObservationWrapper):
    """Its observation is NaN after a few steps."""

    def observation(self, observation: Any) -> Any:
        return observation * np.nan if self.unwrapped.data.time > 0.1 else observation


def ill(**kwargs: Any) -> gymnasium.Env:
    return Ill(gymnasium.make("Reacher-v5", **kwargs))


def test_an_observation_of_nan_ends_the_training_in_one_sentence() -> None:
    blind = Blind(REACHER.model_copy(update={"id": f"{__name__}:ill"}), seed=7)
    blind.reset()
    with pytest.raises(ValueError, match=r":ill: its observation holds NaN or infinite numbers in the episode of seed 7; correct the environment"):
        for _ in range(9):
            blind.step(blind.action_space.sample())


def test_a_script_may_live_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def act(env, observation):\n    return env.action_space.high * 0.5\n")
    adapter = Adapter(REACHER)
    adapter.reset(0)
    np.testing.assert_allclose(resolve(f"{tmp_path}/mine.py:act", REACHER)(adapter), adapter.actions.high * 0.5)
    with pytest.raises(ValueError, match="there is no file"):
        resolve(f"{tmp_path}/yours.py:act", REACHER)


@pytest.mark.parametrize("given", ["None", "[0]", "[0, float('nan')]", "env.gone", "1 / 0"])
def test_a_script_that_is_wrong_is_named_with_its_form(given: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"def act(env, observation):\n    return {given}\n")
    environments = Environments(REACHER, 1)
    codec = load(PolicyConfig(), *(getattr(environments.first.actions, name) for name in ("low", "high", "counts"))).codec
    says = (
        r"Reacher-v5, seed 3, decision 0: The expert .*mine.py:act (gave|fails with) .*; write it as act\(env, observation\) -> an action of 2 finite"
    )
    with pytest.raises(ValueError, match=says):
        list(record(environments, codec, [Job(3, 0, (0,))], expert=resolve(f"{tmp_path}/mine.py:act", REACHER)))


def test_an_expert_is_trained_kept_and_goes_on(tmp_path: Path) -> None:
    rate = train(REACHER, tmp_path, steps=1500)
    assert rate.n == 100 and (tmp_path / "expert.safetensors").exists()
    expert, again = resolve(str(tmp_path), REACHER), resolve(str(tmp_path), REACHER)
    assert examine(REACHER, expert, 10) == examine(REACHER, again, 10)
    with pytest.raises(ValueError, match="no expert for this environment"):
        resolve(str(tmp_path), REACHER.model_copy(update={"id": "Pusher-v5", "success": "reward > 9"}))


def test_what_has_no_numbers_cannot_be_taught_to_an_expert() -> None:
    gymnasium.register("Paint-v0", entry_point=lambda **kw: Paint(), disable_env_checker=True)
    with pytest.raises(ValueError, match="nothing low-dimensional"):
        Blind(EnvConfig(id="Paint-v0", cameras=("observation",)))
    del gymnasium.registry["Paint-v0"]


class Paint(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)
