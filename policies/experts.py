"""Trains Stable-Baselines3 experts on privileged, low-dimensional observations, saves them as safetensors and loads them.

| file | what it is |
|---|---|
| `expert.safetensors`, `expert.json` | the result: the policy's tensors, and what is needed to build the policy again |
| `checkpoint.zip`, `replay.pkl` | SB3's own checkpoint and replay buffer, from which an interrupted training goes on |

SB3's zip files hold pickles, which run code when they are loaded. So the result is not one of them, and checkpoints are for this machine only.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
from safetensors.torch import load_file, save_file
from stable_baselines3 import PPO, SAC, HerReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback

Algorithm = Literal["sac", "ppo"]
CHECKPOINT = 5_000  # environment decisions between checkpoints


def train(
    env: gymnasium.Env,
    folder: Path,
    *,
    algorithm: Algorithm = "sac",
    steps: int = 100_000,
    seed: int = 0,
    watch: Callable[[int, float], bool] = lambda step, success: False,
) -> None:
    """Train an expert, or continue the one in `folder`, up to `steps`; write `expert.safetensors` and `expert.json`.

    Args:
        env: has flat observations, or goal observations (`observation`, `achieved_goal`, `desired_goal`). SAC uses hindsight experience replay
            (arXiv 1707.01495) with goals.
        folder: for result and checkpoints; made if it does not exist.
        algorithm: `sac`, soft actor-critic (arXiv 1801.01290), or `ppo` (arXiv 1707.06347).
        steps: decisions in the environment, in all, those before an interruption included.
        seed: for weights, exploration and episodes.
        watch: called at the end of every episode with the decisions so far and the success rate of the last 100 episodes; True ends training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.zip"
    kind: Any = {"sac": SAC, "ppo": PPO}[algorithm]
    if checkpoint.exists():
        model = kind.load(checkpoint, env=env, device="cpu")  # small MLPs: a GPU would be slower
        if algorithm == "sac" and (folder / "replay.pkl").exists():
            model.load_replay_buffer(folder / "replay.pkl")
    else:
        model = kind(*_settings(env, algorithm), seed=seed, device="cpu", **_options(env, algorithm))
    if model.num_timesteps < steps:
        model.learn(steps - model.num_timesteps, callback=_Watch(folder, watch), reset_num_timesteps=False)
    save_file({name: value.contiguous() for name, value in model.policy.state_dict().items()}, folder / "expert.safetensors")
    facts = {"algorithm": algorithm, "steps": model.num_timesteps, "seed": seed}
    (folder / "expert.json").write_text(json.dumps(facts, indent=1) + "\n")


def load(folder: Path, env: gymnasium.Env) -> Callable[[Any], np.ndarray]:
    """Return the expert in `folder` as a deterministic function from an observation to an action.

    Args:
        folder: the one that `train` wrote to.
        env: has the same spaces as in training.

    Raises:
        ValueError: there is no expert, or it was trained on another environment.
    """
    try:
        facts = json.loads((folder / "expert.json").read_text())
        algorithm = facts["algorithm"]
        kind: Any = {"sac": SAC, "ppo": PPO}[algorithm]
        # A small replay buffer: SAC allocates the whole of it at once, and acting needs none.
        model = kind(*_settings(env, algorithm), device="cpu", **(_options(env, algorithm) | ({"buffer_size": 2} if algorithm == "sac" else {})))
        model.policy.load_state_dict(load_file(folder / "expert.safetensors"))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"There is no expert for this environment in {folder} ({first}); train one with: etude expert CONFIG {folder}") from error
    return lambda observation: model.predict(observation, deterministic=True)[0]


def _settings(env: gymnasium.Env, algorithm: Algorithm) -> tuple[str, gymnasium.Env]:
    """Return SB3's positional arguments: the kind of policy network, and the environment."""
    return ("MultiInputPolicy" if isinstance(env.observation_space, gymnasium.spaces.Dict) else "MlpPolicy"), env


def _options(env: gymnasium.Env, algorithm: Algorithm) -> dict[str, Any]:
    """Return SB3's keyword arguments; PPO runs with its defaults."""
    if algorithm == "ppo":
        return {}
    # The discount fits episodes of tens of decisions; SB3's 0.99 looks ahead a hundred.
    options: dict[str, Any] = {"buffer_size": 200_000, "learning_starts": 1000, "gamma": 0.95, "batch_size": 256, "learning_rate": 1e-3}
    if isinstance(env.observation_space, gymnasium.spaces.Dict) and "desired_goal" in env.observation_space.spaces:
        options |= {"replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": {"n_sampled_goal": 4, "goal_selection_strategy": "future"}}
    return options


class _Watch(BaseCallback):
    """Calls `watch` at the end of episodes, and writes checkpoints."""

    def __init__(self, folder: Path, watch: Callable[[int, float], bool]) -> None:
        super().__init__()
        self._folder, self._watch, self._episodes = folder, watch, 0

    def _on_step(self) -> bool:
        if self.num_timesteps % CHECKPOINT == 0:
            # Each file is written under another name and then renamed, so that an interruption never leaves half a checkpoint.
            partial = self._folder / "partial.zip"
            if hasattr(self.model, "save_replay_buffer"):  # SAC, not PPO
                self.model.save_replay_buffer(self._folder / "partial.pkl")  # type: ignore[attr-defined]
                (self._folder / "partial.pkl").replace(self._folder / "replay.pkl")
            self.model.save(partial)
            partial.replace(self._folder / "checkpoint.zip")
        if np.asarray(self.locals["dones"]).any():
            return not self._watch(self.num_timesteps, float(np.mean(self.model.ep_success_buffer or [0.0])))
        return True
