"""A champion in a loop of one's own, without run, processes or environments of ours."""

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

import policies
from agent.config.config import Config
from agent.config.plugins import load_model
from agent.config.read import read
from agent.run import base
from agent.run.files import load
from envs import EnvConfig
from envs.frames import is_picture, lookup, picture
from envs.spaces import Actions
from policies.policy import Situation


class Actor:
    """A policy that is asked before every environment step: observation and instruction -> action.

    It decides every `env.action_repeat` steps, as it did in its run, and its actions are held in between.

    Args:
        model: a `policies.vlm.Vlm`.
        env: how it sees its environment: cameras, size, history, state.
        actions: of that environment.
    """

    def __init__(self, model: Any, env: EnvConfig, actions: Actions) -> None:
        self.model, self.env, self.actions = model, env, actions
        self.reset()

    def reset(self) -> None:
        """Begin an episode: forget what was seen and decided before."""
        self._past: deque[np.ndarray] = deque(maxlen=self.env.history)
        self._held: list[np.ndarray] = []

    def act(self, observation: Any, instruction: str) -> Any:
        """Return the action of the next environment step, in the environment's own type and shape.

        Args:
            observation: of the environment, with a picture under each name in `env.cameras`; or one picture, where there is one camera.
            instruction: what to do, in words.

        Raises:
            ValueError: the observation lacks a picture or the state.
        """
        if not self._held:
            self._past.append(np.stack([self._picture(observation, name) for name in self.env.sources]))
            while len(self._past) < self.env.history:  # before the beginning nothing moved
                self._past.append(self._past[0])
            situation = Situation(instruction, np.concatenate(list(self._past)), self._state(observation))
            (decision,) = self.model.act([situation], None)
            self._held = [action for action in decision.actions for _ in range(self.env.action_repeat)]
        return self.actions.to_env(self._held.pop(0))

    def _picture(self, observation: Any, name: str) -> np.ndarray:
        if not isinstance(observation, dict) and len(self.env.sources) == 1 and is_picture(observation):
            return picture(observation, self.env.size)
        try:
            return picture(lookup(observation, name), self.env.size)
        except KeyError as error:
            keys = ", ".join(map(repr, observation)) if isinstance(observation, dict) else f"a {type(observation).__name__}"
            seen = ", ".join(map(repr, self.env.sources))
            raise ValueError(f"The policy sees {seen}, and the observation has {keys}; add {name!r} to it.") from error

    def _state(self, observation: Any) -> np.ndarray | None:
        if not self.model.config.state:
            return None
        try:
            return np.array(lookup(observation, self.env.state or "state") if isinstance(observation, dict) else observation, np.float32).reshape(-1)
        except KeyError as error:
            raise ValueError(f"The policy is told the state {self.env.state or 'state'!r}, which the observation does not have.") from error


def load_actor(folder: Path, device: str = "") -> Actor:
    """Return the champion of a run, from its `champion.json`, for the first of its environments.

    Args:
        folder: of the run, finished or not.
        device: torch device; empty: that of the run.

    Raises:
        ValueError: there is no run, no champion yet, or its weights are not what was recorded.
    """
    if not (folder / "config.yaml").exists():
        raise ValueError(f"There is no run in {folder} (no config.yaml); give the folder of a run.")
    if not (folder / "champion.json").exists():
        raise ValueError(f"The run in {folder} has no champion.json; it has one after its warm start, unless an earlier version made it.")
    config, champion = read(folder / "config.yaml", own=True), load(folder / "champion.json")
    actions = Actions.of_written(champion["actions"])
    model = load_model(_of(config, folder, device), actions)
    if not base.grounded(folder):
        base.compare(folder, config.policy.model, model.base_name)
    try:
        model.load(folder / champion["weights"])
    except ValueError as error:
        raise ValueError(f"{folder / champion['weights']}: {error}.") from error
    if model.name != champion["policy"]:
        raise ValueError(f"{folder / champion['weights']} holds the weights {model.name}, and {champion['policy']} were recorded.")
    return Actor(model, config.envs[0], actions)


def _of(config: Config, folder: Path, device: str) -> policies.PolicyConfig:
    """Return the policy's config, with the base model after `ground` where there is one."""
    changes = {"model": str(model)} if (model := base.grounded(folder)) else {}
    return config.policy.model_copy(update=changes | ({"device": device} if device else {}))
