"""Puts numbers in the place of `env.action_bounds: quantiles`, before a run begins: they come from its demonstrations."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from agent.config.config import Config
from agent.config.read import read_own
from agent.demonstrate.sources import survey_of
from agent.demonstrate.survey import Survey
from agent.records import SEEDS
from agent.rollout.environments import Environments
from agent.rollout.experts import resolve
from envs import EnvConfig
from envs.adapt import Adapter
from envs.faults import NoExpert
from envs.spaces import LARGEST

Bounds = tuple[tuple[float, float], ...]
EPISODES = 8  # of an expert, at most, in each environment, from which quantiles are taken


def settled(config: Config, run: Path | None = None, limit: float = 0.0) -> Config:
    """Return the config with numbers in the place of `quantiles`; a run that goes on has them in its config already.

    Resumed runs, evaluations, `load_policy` and exports read the config in the run's folder, so all of them have the same bounds.

    Args:
        config: as the user gave it.
        run: folder of the run, which need not exist; None: there is none.
        limit: `env.timeout` of an environment that has none, while its expert is asked; 0: none.

    Raises:
        ValueError: there are no demonstrations, or they cannot be read.
    """
    if all(env.action_bounds != "quantiles" for env in config.envs):
        return config
    if not config.demonstrate.episodes:
        raise ValueError("env.action_bounds quantiles are those of the demonstrations, and demonstrate.episodes is 0; give numbers.")
    if run is not None and (run / "config.yaml").exists():
        saved = [env.action_bounds for env in read_own(run / "config.yaml").envs]  # not computed again: the dataset may have grown since
    else:
        found = _of_dataset(config) if config.demonstrate.dataset else _of_experts(config, limit)
        saved = [found for _ in config.envs]
    # Only what was asked for: where the folder holds a run with other bounds or environments, `Run` says so.
    envs = [
        env.model_copy(update={"action_bounds": bounds}) if env.action_bounds == "quantiles" else env
        # Filled up, for a folder whose run has fewer environments.
        for env, bounds in zip(config.envs, [*saved, *[None] * len(config.envs)], strict=False)
    ]
    return config.model_copy(update={"env": envs[0] if isinstance(config.env, EnvConfig) else tuple(envs)})


def _of_dataset(config: Config) -> Bounds:
    """Return the quantiles of the config's dataset. No environment is made: whether the dataset fits it is checked later."""
    return survey_of(config.demonstrate.dataset).bounds


def _of_experts(config: Config, limit: float) -> Bounds:
    """Return the quantiles of the experts of all environments together: one policy acts in all of them; `limit` as of `settled`."""
    base = SEEDS["demonstrations"] + 100_000 * config.seed  # as in stage `demonstrate`: these are its first episodes
    seeds = range(base, base + min(EPISODES, config.demonstrate.episodes))
    envs = [env.model_copy(update={"timeout": env.timeout or limit}) for env in config.envs]
    shown = [actions for env in envs for actions in _shown(env, env.expert or config.demonstrate.expert, seeds)]
    return Survey.of(shown).bounds


def _shown(env: EnvConfig, expert: str, seeds: Sequence[int]) -> list[np.ndarray]:
    """Return float32[n, A], the actions of an expert, for each seed; an episode with a fault counts up to there.

    Raises:
        ValueError: there is no expert, it hangs at once, or it gives no action in any episode.
    """
    with closing(_unbounded(env)) as environments:
        shown = []
        for seed in seeds:
            try:
                shown.append(environments.first.apply(_play, expert, seed))
            except (TimeoutError, ChildProcessError) as error:  # of an environment in a process of its own
                if not shown and isinstance(error, TimeoutError):  # each further episode might take as long
                    raise ValueError(f"env.action_bounds quantiles need an expert's actions, and in {env.title}, seed {seed}: {error}.") from error
                environments.renew(0)
    shown = [each for each in shown if len(each)]
    if not shown:
        raise ValueError(
            f"env.action_bounds quantiles need an expert's actions, and none of {len(seeds)} episodes of {env.title} has any; give numbers."
        )
    return shown


def _play(adapter: Adapter, expert: str, seed: int) -> np.ndarray:
    """Return float32[n, A], the actions of an expert's episode, up to a fault if there is one."""
    act, actions = resolve(expert, adapter.config), []
    try:
        adapter.reset(seed, look=False)
        over = False
        while not over:
            actions.append(adapter.actions.from_env(act(adapter)))
            outcome = adapter.step(actions[-1][None], look=False)
            over = outcome.terminated or outcome.truncated
    except NoExpert:
        raise
    except (Exception, SystemExit):  # an environment and an expert may raise anything; stage `demonstrate` counts and tells it
        pass
    return np.array(actions, np.float32).reshape(len(actions), len(adapter.actions))  # without any action too: float32[0, A]


def _unbounded(env: EnvConfig) -> Environments:
    """Return an environment with its own box, or where that is infinite with one that clips nothing."""
    try:
        return Environments(env.model_copy(update={"action_bounds": None}), 1)
    except ValueError:  # also where the environment cannot be made, which the second attempt then says
        return Environments(env.model_copy(update={"action_bounds": (-LARGEST, LARGEST)}), 1)
