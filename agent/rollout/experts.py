"""Who demonstrates: the environment's oracle, a script, Stable-Baselines3, and `etude expert`, which trains one."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agent.records import Rate
from envs import EnvConfig
from envs.adapt import Adapter
from envs.faults import NoExpert, in_words
from envs.make import module_of

Expert = Callable[[Adapter], np.ndarray]
"""The present moment of an environment -> float32[A]."""
TRAINING, EXAM = 80_000_000, 85_000_000  # ranges of seeds of their own


class Blind(gymnasium.Env):
    """An adapter as an environment without frames: what an expert is trained in, with the same held actions as the policy has.

    Observation: the environment's own, without pictures. Reward: the mean over the steps that an action is held for.
    Episodes go on after success, or an expert that is paid by the step would avoid it.

    Args:
        config: the environment.
        seed: episodes are those of `seed`, `seed + 1`, ...
    """

    def __init__(self, config: EnvConfig, seed: int = TRAINING) -> None:
        self.adapter, self._seed = Adapter(config.model_copy(update={"until_success": False})), seed
        self.observation_space, self._keys = _low_dimensional(self.adapter.env.observation_space)
        actions = self.adapter.actions
        self.action_space = gymnasium.spaces.Box(actions.low.astype(np.float32), actions.high.astype(np.float32))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode."""
        self.adapter.reset(self._seed, look=False)
        self._seed += 1
        return self.seen(self.adapter), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Decide once."""
        outcome = self.adapter.step(np.asarray(action)[None], look=False)
        info = {"is_success": outcome.success_at_end}
        return self.seen(self.adapter), float(np.nanmean(outcome.rewards)), outcome.terminated, outcome.truncated, info

    def seen(self, adapter: Adapter) -> Any:
        """Return what the expert sees of an adapter's present moment."""
        raw = adapter.raw
        return {key: np.asarray(raw[key], np.float32) for key in self._keys} if self._keys else np.asarray(raw, np.float32)

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        """Return rewards for other goals, as hindsight replay asks for them."""
        inner: Any = self.adapter.env.unwrapped
        return inner.compute_reward(achieved, desired, info)


def _low_dimensional(space: gymnasium.Space) -> tuple[gymnasium.Space, tuple[str, ...]]:
    if isinstance(space, gymnasium.spaces.Dict):
        boxes = {key: part for key, part in space.items() if isinstance(part, gymnasium.spaces.Box) and len(part.shape) == 1}
        if boxes:
            flat = {key: gymnasium.spaces.Box(-np.inf, np.inf, part.shape, np.float32) for key, part in boxes.items()}
            return gymnasium.spaces.Dict(flat), tuple(flat)  # type: ignore[arg-type]
    elif isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        return gymnasium.spaces.Box(-np.inf, np.inf, space.shape, np.float32), ()
    raise ValueError("Its observation has nothing low-dimensional, so no expert can be trained on it; name a script in demonstrate.expert.")


def train(config: EnvConfig, out: Path, *, algorithm: str = "sac", steps: int = 100_000, seed: int = 0, enough: float = 0.98) -> Rate:
    """Train an expert of an environment, with progress; the same command goes on after a stop.

    Args:
        config: the environment.
        out: folder of the expert.
        algorithm: 'sac' or 'ppo'.
        steps: decisions in the environment at most.
        seed: of everything drawn.
        enough: success of the last 100 training episodes at which it ends early.

    Returns:
        Success on 100 seeds that it was not trained on.
    """
    from policies import experts

    if algorithm not in ("sac", "ppo"):
        raise ValueError(f"algorithm is {algorithm!r}; allowed are 'sac' and 'ppo'.")
    env = Blind(config, TRAINING + 100_000 * seed)
    with Progress(TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeRemainingColumn()) as bars:
        bar = bars.add_task("expert", total=steps)

        def watch(step: int, success: float) -> bool:
            bars.update(bar, completed=step, description=f"{algorithm}, success {100 * success:.0f} %")
            return success >= enough and step > steps // 20

        experts.train(env, out, algorithm=algorithm, steps=steps, seed=seed, watch=watch)
    return examine(config, resolve(str(out), config))


def examine(config: EnvConfig, expert: Expert, episodes: int = 100) -> Rate:
    """Return an expert's success on seeds of its own."""
    adapter, won = Adapter(config), 0
    for i in range(episodes):
        adapter.reset(EXAM + i, look=False)
        while not (outcome := adapter.step(adapter.actions.from_env(expert(adapter))[None], look=False)).success:
            if outcome.terminated or outcome.truncated:
                break
        won += outcome.success
    adapter.close()
    return Rate.of(won, episodes)


def resolve(name: str, config: EnvConfig) -> Expert:
    """Return the expert of that name.

    Args:
        name: '' for the environment's own `oracle(steps)`; `module:function` or `file.py:function` with f(env, observation) -> action, or the name
            of a class with `get_action(observation)` such as Meta-World's policies; or the folder of `etude expert`.
        config: the environment.

    Raises:
        NoExpert: there is none of that name.
    """
    if not name:
        return lambda adapter: adapter.oracle()
    if (Path(name) / "expert.json").exists():
        try:
            from policies import experts
        except ModuleNotFoundError as error:
            raise NoExpert(f"The expert in {name} acts by Stable-Baselines3 ({error}): pip install 'etude[baselines]'.") from error
        env = Blind(config)
        act = experts.load(Path(name), env)
        return lambda adapter: np.asarray(act(env.seen(adapter)), np.float32)
    place, colon, attribute = name.rpartition(":")
    if not colon:
        raise NoExpert(f"demonstrate.expert is {name!r}; give module:function, file.py:function, or the folder of an expert made by `etude expert`.")
    try:
        found = getattr(module_of(place), attribute)
        if inspect.isclass(found):
            script: Any = found()
            return lambda adapter: adapter.actions.from_env(np.clip(script.get_action(adapter.raw), adapter.actions.low, adapter.actions.high))
    except (Exception, SystemExit) as error:  # somebody's script may raise anything
        raise NoExpert(f"demonstrate.expert {name!r} cannot be used ({in_words(error)}).") from error
    return lambda adapter: adapter.actions.from_env(found(adapter.env, adapter.raw))


@dataclass(frozen=True)
class Experts:
    """Who demonstrates in each of several environments, looked up where the environment lives. Another process is told the name alone.

    Args:
        name: as in `resolve`; the `expert` of an environment comes before it.
    """

    name: str
    _found: dict[str, Expert] = field(default_factory=dict, compare=False)

    def __call__(self, adapter: Adapter) -> np.ndarray:
        """Return float32[A] for the adapter's present moment."""
        return self.of(adapter.config)(adapter)

    def of(self, config: EnvConfig) -> Expert:
        """Return who demonstrates in one of them."""
        if config.title not in self._found:
            self._found[config.title] = resolve(config.expert or self.name, config)
        return self._found[config.title]

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_this_process, (self.name,)


@functools.cache
def _in_this_process(name: str) -> Experts:
    return Experts(name)


def everyone(envs: Sequence[EnvConfig], name: str) -> Experts:
    """Return who demonstrates in each of several environments: its own expert, or else the one that `name` says.

    Raises:
        NoExpert: there is none of that name. Where an environment lives in another process, its expert is looked up there.
    """
    experts = Experts(name)
    for env in envs:
        if not env.timeout:
            experts.of(env)
    return experts
