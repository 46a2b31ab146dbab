"""Stable-Baselines3 on our own tasks: PPO from pixels, as a baseline without a language model.

Observation and reward of a task are converted for SB3's `MultiInputPolicy`:

| part | form |
|---|---|
| a camera frame, uint8[h, w, 3] | a CNN for each camera (`NatureCNN`; SB3 moves the channels to the front itself) |
| instruction | a one-hot vector for each word position, so that "red block, blue pad" and "blue block, red pad" differ |
| reward | the progress that `agent.curate.credit` computes advantages from |

The caller must import `envs`, which registers the tasks with Gymnasium.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

VERBS, NAMES = ("touch", "push", "press", "lift", "put", "open", "turn", "stack"), ("ball", "block", "pad", "button", "drawer", "lever")
WORDS = (*VERBS, *NAMES, "the", "onto", "on", "to", "left", "right", "red", "green", "blue", "yellow", "purple")
SLOTS = 8  # words of the longest instruction, "push the red block onto the blue pad"
CAMERAS = ("front", "wrist")
REPEAT = 4  # environment steps that an action is held for, the default of `EnvConfig.action_repeat`

PPO_SETTINGS: dict[str, Any] = {
    "n_steps": 64,  # decisions in each environment between updates; an episode has at most 6 to 16 of them
    "batch_size": 256,
    "n_epochs": 4,  # SB3's default, 10, would spend most of the wall-clock time on old samples
    "learning_rate": 3e-4,
    "gamma": 0.95,  # per decision; short horizons
    "gae_lambda": 0.95,
    "ent_coef": 0.005,
    "policy_kwargs": {"log_std_init": -0.5},  # standard deviation 0.6; at 1 a third of all samples would be outside the action box
}

Act = Callable[[dict[str, np.ndarray]], np.ndarray]
"""From the observations of B environments, arrays [B, ...] by key, to float32[B, A] actions."""


def encode(instruction: str) -> np.ndarray:
    """Return float32[SLOTS * len(WORDS)]: a one-hot vector for each word, in order; zeros after the last word.

    Raises:
        ValueError: a word is unknown, or there are more than `SLOTS`.
    """
    words = instruction.split()
    for word in words:
        if word not in WORDS:
            raise ValueError(f"Unknown word {word!r} in the instruction {instruction!r}; allowed are {', '.join(WORDS)}.")
    if len(words) > SLOTS:
        raise ValueError(f"The instruction {instruction!r} has {len(words)} words; at most {SLOTS} are allowed.")
    slots = np.zeros((SLOTS, len(WORDS)), np.float32)
    slots[np.arange(len(words)), [WORDS.index(word) for word in words]] = 1
    return slots.reshape(-1)


class InstructionEncoder(gymnasium.Wrapper):
    """Adds the instruction, in numbers, to the observation of a task.

    | key | type | meaning |
    |---|---|---|
    | a camera's name | uint8[size, size, 3] | RGB frame |
    | `instruction` | float32[SLOTS * len(WORDS)] | see `encode` |
    | `state` | float32[9] | as the task gives it; only with `state=True` |

    Args:
        env: one of our own tasks.
        state: keep the proprioceptive state; without it the policy acts from pixels, as etude's own does.
    """

    def __init__(self, env: gymnasium.Env, state: bool = False) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, gymnasium.spaces.Dict)
        spaces = {key: space for key, space in env.observation_space.items() if state or key != "state"}
        self._kept = tuple(spaces)
        spaces["instruction"] = gymnasium.spaces.Box(0, 1, (SLOTS * len(WORDS),), np.float32)
        self.observation_space = gymnasium.spaces.Dict(spaces)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin the episode of `seed`."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._instruction = encode(info["instruction"])  # the same until the next reset
        return self._join(observation), info

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Execute one action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._join(observation), float(reward), terminated, truncated, info

    def _join(self, observation: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {**{key: observation[key] for key in self._kept}, "instruction": self._instruction}


class ProgressReward(gymnasium.Wrapper):
    """Reward = increase of the task's reward in this step, plus 1 for success: `agent.curate.credit.credit_to_go` before discounting.

    As there, the first step has no progress, because the reward before it is unknown.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the episode of `seed`."""
        self._last: float | None = None
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Execute one action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        progress = 0.0 if self._last is None else float(reward) - self._last
        self._last = float(reward)
        return observation, progress + float(info["is_success"]), terminated, truncated, info


class ActionRepeat(gymnasium.Wrapper):
    """Holds each action for several steps, and draws frames only after the last one, as `envs.adapt.Adapter` does. Rewards are added up.

    Args:
        env: one of our own tasks.
        repeat: environment steps that each action is held for.
    """

    def __init__(self, env: gymnasium.Env, repeat: int) -> None:
        super().__init__(env)
        self._repeat = repeat

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Execute an action `repeat` times, or up to the end of the episode."""
        stage: Any = self.env.unwrapped
        cameras, total, terminated, truncated, info = stage.cameras, 0.0, False, False, {}
        stage.cameras = ()  # a stage without cameras draws nothing, and drawing takes most of the time
        for _ in range(self._repeat):
            _, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        stage.cameras = cameras
        return stage.observe(), total, terminated, truncated, info


def make(task: str, cameras: Sequence[str] = CAMERAS, state: bool = False, repeat: int = REPEAT) -> gymnasium.Env:
    """Return a task in the form that SB3 needs, each action held for `repeat` steps.

    Raises:
        ValueError: the task is not registered with Gymnasium.
    """
    try:
        env = gymnasium.make(task, cameras=tuple(cameras), disable_env_checker=True)
    except gymnasium.error.Error as error:
        raise ValueError(f"Environment {task!r} cannot be made ({error}); `import envs` registers etude/Reach-v0 and others.") from error
    return InstructionEncoder(ActionRepeat(ProgressReward(env), repeat), state)


def train_pixels(
    task: str,
    seed: int,
    seconds: float,
    num_envs: int = 16,
    *,
    cameras: Sequence[str] = CAMERAS,
    state: bool = False,
    max_steps: int = 10**9,
    clock: Callable[[], float] = time.monotonic,
    watch: Callable[[int, dict[str, float]], None] = lambda steps, figures: None,
    **settings: Any,
) -> PPO:
    """Return a PPO model that was trained from scratch for a limited time.

    Args:
        task: Gymnasium id of one of our own tasks.
        seed: for weights, sampling and scenes; scenes are from the range of seeds that collecting uses, never from that of an evaluation.
        seconds: on the clock, making environments and network included; the current update is finished.
        num_envs: number of environments, all in this process: they share one GL context, and software rendering uses all cores already.
        cameras: the cameras whose frames the policy sees.
        state: whether it also sees the proprioceptive state.
        max_steps: decisions (calls of `step`) after which training ends if there is time left; rounded up to whole updates.
        clock: returns seconds since a fixed time: wall-clock time, or processor time where other programs share the machine.
        watch: called after each rollout with the decisions so far, and with `seconds` and `success` (of the last 100 episodes).
        settings: arguments of `PPO`, which replace those in `PPO_SETTINGS`.
    """
    stopwatch = _Stopwatch(clock, seconds, watch)  # before anything slow: its time begins here
    vec_env = DummyVecEnv([lambda: make(task, cameras, state)] * num_envs)
    model = PPO("MultiInputPolicy", vec_env, seed=seed, device="cpu", **(PPO_SETTINGS | settings))
    vec_env.seed(100_000 * seed)  # PPO seeds environment i with seed + i, so neighbouring seeds would begin with nearly the same scenes
    model.learn(max_steps, callback=stopwatch)
    vec_env.close()
    return model


class _Stopwatch(BaseCallback):
    """Stops training when the time is over; the time begins when this is made."""

    def __init__(self, clock: Callable[[], float], seconds: float, watch: Callable[[int, dict[str, float]], None]) -> None:
        super().__init__()
        self._clock, self._began, self._seconds, self._watch = clock, clock(), seconds, watch

    def _on_step(self) -> bool:
        return self._clock() - self._began < self._seconds

    def _on_rollout_end(self) -> None:
        latest = self.model.ep_success_buffer or [float("nan")]  # empty until the first episode has ended
        self._watch(self.num_timesteps, {"seconds": self._clock() - self._began, "success": float(np.mean(latest))})


def greedy(model: PPO) -> Act:
    """Return how `model` acts in an evaluation: with the mean of its distribution, clipped to the action box."""
    return lambda observations: model.predict(observations, deterministic=True)[0]


def evaluate(
    act: Act, task: str, seeds: Sequence[int], *, num_envs: int = 16, cameras: Sequence[str] = CAMERAS, state: bool = False
) -> dict[str, bool]:
    """Return for each 'task/seed' whether the environment reported success at any step.

    Args:
        act: chooses the actions, for all environments at once.
        task: Gymnasium id of one of our own tasks.
        seeds: those of the evaluation; an episode each.
        num_envs: number of episodes at a time.
        cameras: as in training.
        state: as in training.
    """
    stages = [make(task, cameras, state) for _ in range(min(num_envs, len(seeds)))]
    outcomes: dict[str, bool] = {}
    for start in range(0, len(seeds), num_envs):
        block = seeds[start : start + num_envs]
        outcomes |= {f"{task}/{seed}": won for seed, won in zip(block, _play(act, stages[: len(block)], block), strict=True)}
    for stage in stages:
        stage.close()
    return outcomes


def _play(act: Act, stages: Sequence[gymnasium.Env], seeds: Sequence[int]) -> list[bool]:
    """Return whether the episode of each seed succeeded. Ended episodes stay in the batch with their last observation, so its size is constant."""
    observations = [stage.reset(seed=seed)[0] for stage, seed in zip(stages, seeds, strict=True)]
    live, won = list(range(len(stages))), [False] * len(stages)
    while live:
        actions = act({key: np.stack([each[key] for each in observations]) for key in observations[0]})
        for i in tuple(live):
            observations[i], _, terminated, truncated, info = stages[i].step(actions[i])
            won[i] = won[i] or bool(info["is_success"])
            if terminated or truncated:
                live.remove(i)
    return won
