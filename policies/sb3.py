"""Stable-Baselines3 on our stage: PPO from pixels, what a researcher would reach for without a language model.

A task's observation and reward are put into a form that SB3's `MultiInputPolicy` takes: camera frames, uint8[h, w, 3], each with a
CNN of its own (`NatureCNN`; SB3 turns the channels round itself), and the instruction as one one-hot slot per word position, so that
"red block, blue pad" and "blue block, red pad" differ. The reward is the progress that `agent.curate.rules` learns from.

The caller imports `envs`, which registers the tasks with Gymnasium.
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
REPEAT = 4  # environment steps that an action is held for, as in `envs.EnvConfig`

PPO_SETTINGS: dict[str, Any] = {
    "n_steps": 64,  # decisions in each environment between updates; episodes have at most 6 to 16
    "batch_size": 256,
    "n_epochs": 4,  # SB3's 10 would spend most of the wall-clock time on old samples
    "learning_rate": 3e-4,
    "gamma": 0.95,  # per decision; short horizons
    "gae_lambda": 0.95,
    "ent_coef": 0.005,
    "policy_kwargs": {"log_std_init": -0.5},  # standard deviation 0.6: at 1 a third of all samples lies outside the action box
}

Act = Callable[[dict[str, np.ndarray]], np.ndarray]
"""Observations of B environments, each array with a leading B, to float32[B, A] actions."""


def encode(instruction: str) -> np.ndarray:
    """Return float32[SLOTS * len(WORDS)]: a one-hot slot for each word, in order; slots behind the last word are zero.

    Raises:
        ValueError: a word is unknown, or there are too many.
    """
    words = instruction.split()
    for word in words:
        if word not in WORDS:
            raise ValueError(f"Unknown word {word!r} in the instruction {instruction!r}; known are {', '.join(WORDS)}.")
    if len(words) > SLOTS:
        raise ValueError(f"The instruction {instruction!r} has {len(words)} words; at most {SLOTS} are allowed.")
    slots = np.zeros((SLOTS, len(WORDS)), np.float32)
    slots[np.arange(len(words)), [WORDS.index(word) for word in words]] = 1
    return slots.reshape(-1)


class Instructed(gymnasium.Wrapper):
    """A task whose observation holds the instruction in numbers.

    | key | type | meaning |
    |---|---|---|
    | a camera's name | uint8[size, size, 3] | RGB frame |
    | `instruction` | float32[SLOTS * len(WORDS)] | see `encode` |
    | `state` | float32[9] | as the task gives it; only if asked for |

    Args:
        env: a task of our stage.
        state: keep the proprioceptive state too; without it the policy acts from pixels, as ours does.
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
        seen, info = self.env.reset(seed=seed, options=options)
        self._instruction = encode(info["instruction"])  # it stays the same until the next reset
        return self._join(seen), info

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move once."""
        seen, reward, terminated, truncated, info = self.env.step(action)
        return self._join(seen), float(reward), terminated, truncated, info

    def _join(self, seen: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {**{key: seen[key] for key in self._kept}, "instruction": self._instruction}


class Progress(gymnasium.Wrapper):
    """Reward = how much the task's reward rose in this step, and 1 for success: `agent.curate.rules.credit_to_go` before discounting.

    As there, the first step has no progress: nothing is known of the reward before it.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the episode of `seed`."""
        self._last: float | None = None
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move once."""
        seen, reward, terminated, truncated, info = self.env.step(action)
        progress = 0.0 if self._last is None else float(reward) - self._last
        self._last = float(reward)
        return seen, progress + float(info["is_success"]), terminated, truncated, info


class Held(gymnasium.Wrapper):
    """Holds each action for several steps, rewards added up, and draws only after the last: as the adapter of our own policies does.

    Args:
        env: a task of our stage.
        repeat: steps that each action is held for.
    """

    def __init__(self, env: gymnasium.Env, repeat: int) -> None:
        super().__init__(env)
        self._repeat = repeat

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move `repeat` times, or to the episode's end."""
        stage: Any = self.env.unwrapped
        cameras, total, terminated, truncated, info = stage.cameras, 0.0, False, False, {}
        stage.cameras = ()
        for _ in range(self._repeat):
            _, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        stage.cameras = cameras
        return stage.observe(), total, terminated, truncated, info


def make(task: str, cameras: Sequence[str] = CAMERAS, state: bool = False, repeat: int = REPEAT) -> gymnasium.Env:
    """Return a task as SB3 takes it, each action held for `repeat` steps.

    Raises:
        ValueError: Gymnasium does not know the task.
    """
    try:
        env = gymnasium.make(task, cameras=tuple(cameras), disable_env_checker=True)
    except gymnasium.error.Error as error:
        raise ValueError(f"Environment {task!r} cannot be made ({error}); `import envs` registers etude/Reach-v0 and others.") from error
    return Instructed(Held(Progress(env), repeat), state)


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
    """Return a PPO that has been trained from nothing for a time.

    Args:
        task: Gymnasium id of a task of our stage.
        seed: of weights, sampling and scenes; scenes are drawn in the range of the practice seeds, never of an exam.
        seconds: by the clock, making environments and network included; the update that is under way is finished.
        num_envs: environments at a time, all in this process: they share one GL context, and drawing uses every core as it is.
        cameras: whose frames the policy sees.
        state: whether it sees the proprioceptive state too.
        max_steps: environment steps after which it stops if there is time left; rounded up to whole updates.
        clock: seconds since some moment; of wall-clock time, or of processor time where others work beside.
        watch: called after each rollout with the environment steps so far and `seconds`, `success` (of the last 100 episodes).
        settings: of `PPO`, over `PPO_SETTINGS`.
    """
    stopwatch = _Stopwatch(clock, seconds, watch)
    stages = DummyVecEnv([lambda: make(task, cameras, state)] * num_envs)
    model = PPO("MultiInputPolicy", stages, seed=seed, device="cpu", **(PPO_SETTINGS | settings))
    stages.seed(100_000 * seed)  # as practice does; PPO itself would give two neighbouring seeds nearly the same first scenes
    model.learn(max_steps, callback=stopwatch)
    stages.close()
    return model


class _Stopwatch(BaseCallback):
    """Stops training when the time is up."""

    def __init__(self, clock: Callable[[], float], seconds: float, watch: Callable[[int, dict[str, float]], None]) -> None:
        super().__init__()
        self._clock, self._began, self._seconds, self._watch = clock, clock(), seconds, watch

    def _on_step(self) -> bool:
        return self._clock() - self._began < self._seconds

    def _on_rollout_end(self) -> None:
        latest = self.model.ep_success_buffer or [float("nan")]
        self._watch(self.num_timesteps, {"seconds": self._clock() - self._began, "success": float(np.mean(latest))})


def greedy(model: PPO) -> Act:
    """Return how `model` acts at an exam: the mean of its distribution, clipped to the action box."""
    return lambda seen: model.predict(seen, deterministic=True)[0]


def examine(
    act: Act, task: str, seeds: Sequence[int], *, num_envs: int = 16, cameras: Sequence[str] = CAMERAS, state: bool = False
) -> dict[str, bool]:
    """Return by 'task/seed' whether the environment reported success at any step.

    Args:
        act: who decides, for all environments at a time.
        task: Gymnasium id of a task of our stage.
        seeds: of the resets; the scenes of the exam.
        num_envs: environments at a time.
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
    """Return whether the episode of each seed succeeded; ended episodes keep their place in the batch, unmoved."""
    seen = [stage.reset(seed=seed)[0] for stage, seed in zip(stages, seeds, strict=True)]
    live, won = list(range(len(stages))), [False] * len(stages)
    while live:
        actions = act({key: np.stack([each[key] for each in seen]) for key in seen[0]})
        for i in tuple(live):
            seen[i], _, terminated, truncated, info = stages[i].step(actions[i])
            won[i] = won[i] or bool(info["is_success"])
            if terminated or truncated:
                live.remove(i)
    return won
