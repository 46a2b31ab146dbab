"""Experts for demonstrations: an environment's oracle, a script, or one of `etude expert`: a Stable-Baselines3 policy, or a planner."""

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agent.records import Rate
from agent.rollout.planner import Planner
from agent.rollout.rollout import MAX_FAULT_SHARE
from agent.rollout.vectors import low_dimensional, vector
from agent.run.files import read_object, write_text
from envs import EnvConfig
from envs.adapt import Adapter
from envs.expert import ask
from envs.faults import ExpertFault, NoExpert, in_words
from envs.make import found_in
from envs.simulate.replay import prove

Expert = Callable[[Adapter], np.ndarray]
"""An environment in its present state -> float32[A], the action to execute there."""
TRAINING, EVALUATION = 80_000_000, 85_000_000  # first environment seeds of an expert; all seeds of a run (`records.SEEDS`) are smaller


class Blind(gymnasium.Env):
    """An adapter as a Gymnasium environment without frames, in which an expert is trained. Actions are held as long as the policy's.

    Observation: the environment's own, without pictures. Reward: the mean over the environment steps that an action is held for.

    Args:
        config: the environment.
        seed: of the first episode; the next ones have `seed + 1`, `seed + 2`, ...

    Raises:
        ValueError: the observation has no vector that an expert could be trained on.
    """

    def __init__(self, config: EnvConfig, seed: int = TRAINING) -> None:
        # Episodes go on after a success. If they ended there, an expert with a positive reward per step would learn to avoid success.
        self.adapter, self._seed = Adapter(config.model_copy(update={"terminate_on_success": False})), seed
        self.observation_space, self._leaves = low_dimensional(self.adapter.env.observation_space)
        actions = self.adapter.actions
        # A Box also for discrete actions, since SAC knows no other space; the adapter rounds.
        self.action_space = gymnasium.spaces.Box(actions.low.astype(np.float32), actions.high.astype(np.float32))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode; `seed` and `options` are ignored."""
        self.adapter.reset(self._seed, look=False)  # `look=False`: nothing is rendered, which would take most of the time
        self._seed += 1
        return self.seen(self.adapter), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Execute one action for `action_repeat` environment steps."""
        outcome = self.adapter.step(np.asarray(action)[None], look=False)  # float32[1, A]: a chunk of one action
        info = {"is_success": outcome.success_at_end}  # the key from which Stable-Baselines3 computes its success rate
        # Rewards after the end of the episode are NaN.
        return self.seen(self.adapter), float(np.nanmean(outcome.rewards)), outcome.terminated, outcome.truncated, info

    def seen(self, adapter: Adapter) -> Any:
        """Return the expert's observation of an adapter in its present state, float32: a vector, or a dict of vectors.

        Raises:
            ValueError: it holds NaN or infinite numbers.
        """
        vectors = {name: vector(adapter.raw, leaves) for name, leaves in self._leaves.items()}
        for name, numbers in vectors.items():
            if not np.isfinite(numbers).all():
                where = f" in the episode of seed {self._seed - 1}" if adapter is self.adapter else ""
                raise ValueError(
                    f"{adapter.config.title}: {name or 'its observation'} holds NaN or infinite numbers{where}; correct the environment."
                )
        return vectors.get("", vectors)

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        """Return the rewards of a batch of transitions for other goals; Stable-Baselines3's hindsight replay calls this."""
        inner: Any = self.adapter.env.unwrapped
        return inner.compute_reward(achieved, desired, info)


def train(config: EnvConfig, out: Path, *, algorithm: str = "sac", steps: int = 100_000, seed: int = 0, enough: float = 0.98) -> Rate:
    """Train an expert for an environment, with a progress bar; called again after a stop, it goes on from its last checkpoint.

    Args:
        config: the environment.
        out: folder of the expert.
        algorithm: 'sac' or 'ppo'.
        steps: largest number of actions in the environment, each held for `action_repeat` steps.
        seed: of weights, exploration and episodes.
        enough: success rate of the last 100 training episodes at which training ends early.

    Returns:
        Success rate on 100 seeds that were not used in training.

    Raises:
        ValueError: an unknown algorithm, or an observation without a vector.
    """
    from policies import experts  # here, because Stable-Baselines3 is an optional dependency

    if algorithm not in ("sac", "ppo"):
        raise ValueError(f"algorithm is {algorithm!r}; allowed are 'sac', 'ppo' and 'lookahead'.")
    env = Blind(config, TRAINING + 100_000 * seed)
    with Progress(TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeRemainingColumn()) as bars:
        bar = bars.add_task("expert", total=steps)

        def watch(step: int, success: float) -> bool:
            bars.update(bar, completed=step, description=f"{algorithm}, success {100 * success:.0f} %")
            return success >= enough and step > steps // 20  # at the very beginning the rate is a mean of few episodes

        experts.train(env, out, algorithm=algorithm, steps=steps, seed=seed, watch=watch)
    return examine(config, resolve(str(out), config))


def plan(config: EnvConfig, out: Path, *, horizon: int = 12, candidates: int = 64, episodes: int = 50) -> Rate:
    """Write an expert that needs no training: it plans each action in copies of the simulator (`agent.rollout.planner`).

    Args:
        config: the environment; its reward says what comes nearer to success.
        out: folder of the expert.
        horizon: actions in a plan.
        candidates: plans tried before each action.
        episodes: how many it is examined on.

    Returns:
        Success rate on seeds that are used for nothing else.

    Raises:
        ValueError: the simulation cannot be copied exactly.
    """
    planner = Planner(horizon, candidates)
    adapter = Adapter(config)
    copied = prove(adapter, range(EVALUATION, EVALUATION + 3), np.random.default_rng(0))["snapshot"]
    adapter.close()
    if not copied.exact:
        why = copied.difference or "its episodes end too early to try"
        raise ValueError(f"{config.id} cannot be copied exactly ({why}), so nothing can be planned in it; train an expert with --algorithm sac.")
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "expert.json", json.dumps({"algorithm": "lookahead", "horizon": horizon, "candidates": candidates}, indent=1) + "\n")
    return examine(config, planner, episodes)


def examine(config: EnvConfig, expert: Expert, episodes: int = 100) -> Rate:
    """Return an expert's success rate on seeds that are used for nothing else; an episode that a fault of the environment ended counts as failed.

    Raises:
        ValueError: the expert failed, or more than `MAX_FAULT_SHARE` of the episodes were faulty.
    """
    adapter, successes, faults = Adapter(config), 0, list[str]()
    for seed in range(EVALUATION, EVALUATION + episodes):
        try:
            adapter.reset(seed, look=False)
            # An episode ends at its first success, also where `terminate_on_success` is off.
            while not (outcome := adapter.step(adapter.actions.from_env(expert(adapter))[None], look=False)).success:
                if outcome.terminated or outcome.truncated:
                    break
            successes += outcome.success
        except (NoExpert, ExpertFault):
            raise
        except (Exception, SystemExit) as error:  # an environment may raise anything
            faults.append(f"seed {seed}, {in_words(error)}")
    adapter.close()
    if len(faults) > MAX_FAULT_SHARE * episodes:
        raise ValueError(f"{config.title}: {len(faults)} of {episodes} episodes with the expert were faulty; the last was {faults[-1]}.")
    return Rate.of(successes, episodes)


def is_planner(name: str) -> bool:
    """Return whether `demonstrate.expert` or `env.expert` names the folder of a planner, which takes seconds an episode."""
    file = Path(name) / "expert.json"
    return bool(name) and file.exists() and read_object(file).get("algorithm") == "lookahead"


def resolve(name: str, config: EnvConfig) -> Expert:
    """Return the expert that `demonstrate.expert` or `env.expert` names.

    Args:
        name: one of
            - '': the environment's own `oracle(steps)`;
            - `module:function` or `file.py:function`, f(env, observation) -> action;
            - `module:Class` or `file.py:Class`, a class with `get_action(observation)`, such as Meta-World's policies;
            - the folder of an expert that `etude expert` wrote.
        config: the environment.

    Returns:
        The expert; it raises `ExpertFault` if it fails or gives no action.

    Raises:
        NoExpert: there is no expert of that name, it cannot be loaded, or it is one of another environment.
    """
    if not name:
        return lambda adapter: adapter.oracle()
    if (Path(name) / "expert.json").exists():
        if is_planner(name):
            facts = read_object(Path(name) / "expert.json")
            try:
                return Planner(facts.get("horizon", 0), facts.get("candidates", 0))
            except ValueError as error:
                again = f"Make it anew: etude expert CONFIG {name} --algorithm lookahead"
                raise NoExpert(f"{Path(name) / 'expert.json'} is damaged: {error} {again}") from error
        try:
            from policies import experts
        except ModuleNotFoundError as error:
            raise NoExpert(f"The expert in {name} needs Stable-Baselines3 ({error}); run: pip install 'etude[baselines]'.") from error
        try:
            env = Blind(config)  # for its spaces and `seen`; episodes happen in the caller's adapter
            act = experts.load(Path(name), env)
        except ValueError as error:
            raise NoExpert(str(error)) from error
        form = f"the folder of an expert for {config.id}"
        return lambda adapter: ask(f"The expert in {name}", form, lambda: act(env.seen(adapter)), adapter.actions)
    module, colon, attribute = name.rpartition(":")  # the last colon: the path of a file may hold one itself
    if not colon:
        raise NoExpert(f"demonstrate.expert is {name!r}; give module:function, file.py:function, or the folder of an expert made by `etude expert`.")
    who = f"The expert {name}"
    try:
        script = found_in(module, attribute)
        if inspect.isclass(script):
            instance: Any = script()  # one for all episodes: a policy that keeps state has to notice a reset by itself
            form = f"{attribute}.get_action(self, observation)"
            # Clipped, since Meta-World's scripted policies rely on their environment to clip.
            return lambda adapter: np.clip(
                ask(who, form, lambda: instance.get_action(adapter.raw), adapter.actions), adapter.actions.low, adapter.actions.high
            ).astype(np.float32)
    except (Exception, SystemExit) as error:  # a user's script may raise anything, or exit
        raise NoExpert(f"demonstrate.expert {name!r} cannot be used ({in_words(error)}).") from error
    return lambda adapter: ask(who, f"{attribute}(env, observation)", lambda: script(adapter.env, adapter.raw), adapter.actions)


@dataclass(frozen=True)
class Experts:
    """The experts of several environments, each loaded in the process in which its environment lives.

    Args:
        name: as in `resolve`; an environment with an `env.expert` has that one instead.
    """

    name: str
    _found: dict[str, Expert] = field(default_factory=dict, compare=False)

    def __call__(self, adapter: Adapter) -> np.ndarray:
        """Return the expert's action, float32[A], for an adapter in its present state."""
        return self.of(adapter.config)(adapter)

    def of(self, config: EnvConfig) -> Expert:
        """Return the expert of one environment."""
        if config.title not in self._found:
            self._found[config.title] = resolve(config.expert or self.name, config)
        return self._found[config.title]

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_this_process, (self.name,)  # only the name is sent to another process: experts are lambdas, which cannot be pickled


@functools.cache
def _in_this_process(name: str) -> Experts:
    return Experts(name)  # cached: each episode sends the name again, and the experts are to be loaded once


def everyone(envs: Sequence[EnvConfig], name: str) -> Experts:
    """Return the experts of several environments: `env.expert` of each, or else the one that `name` says.

    Raises:
        NoExpert: there is no such expert. For an environment in a process of its own this is raised there, in the first episode.
    """
    experts = Experts(name)
    for env in envs:
        if not env.timeout:  # loaded now, so that a wrong name ends the run before anything is recorded
            experts.of(env)
    return experts
