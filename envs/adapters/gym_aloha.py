"""`gym_aloha:gym_aloha/AlohaTransferCube-v0`: gym-aloha (github.com/huggingface/gym-aloha) without the pictures that it draws for itself.

It draws three of 640 x 480 pixels at every step, whatever is asked of it: 2 steps a second with a software renderer. etude draws its MuJoCo cameras
(`top`, `angle`, `left_pillar`, `right_pillar`, `front_close`) when a decision needs them.
"""

from typing import Any

import gymnasium
import numpy as np

NOTHING = np.zeros((1, 1, 3), np.uint8)


class Numbers(gymnasium.ObservationWrapper):
    """gym-aloha with one observation: `agent_pos`, float64[14], the joints of both arms in radians, and each gripper from 0 (closed) to 1.

    Args:
        env: of gym-aloha, made with `obs_type: pixels_agent_pos`.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space: Any = env.observation_space
        self.observation_space = gymnasium.spaces.Dict({"agent_pos": space["agent_pos"]})
        inner: Any = env.unwrapped
        inner._env.task.get_observation = _numbers

    def observation(self, observation: Any) -> dict[str, np.ndarray]:
        """Return the observation without its picture."""
        return {"agent_pos": observation["agent_pos"]}


def _numbers(physics: Any) -> dict[str, Any]:
    """Return what gym-aloha's environment reads of its task's observation, with a picture of one pixel."""
    from gym_aloha.tasks.sim import BimanualViperXTask  # pyright: ignore[reportMissingImports]

    return {"qpos": BimanualViperXTask.get_qpos(physics), "images": {"top": NOTHING}}


def make(name: str, max_episode_steps: int | None = None, **options: Any) -> gymnasium.Env:
    """Return the environment `gym_aloha:NAME`.

    Args:
        name: `gym_aloha/AlohaTransferCube-v0` or `gym_aloha/AlohaInsertion-v0`.
        max_episode_steps: time limit; None: 300, gym-aloha's own.
        options: further arguments of gym-aloha's environment.
    """
    import gym_aloha  # pyright: ignore[reportMissingImports]

    gymnasium.register_envs(gym_aloha)
    return Numbers(gymnasium.make(name, obs_type="pixels_agent_pos", max_episode_steps=max_episode_steps, disable_env_checker=True, **options))
