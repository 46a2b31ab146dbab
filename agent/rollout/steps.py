"""A stored episode at the rate of its environment: it is executed again, and every environment step becomes an entry."""

from dataclasses import replace

import numpy as np

from agent.records import Episode
from envs import EnvConfig
from envs.adapt import Adapter


def step_by_step(config: EnvConfig) -> EnvConfig:
    """Return the config of an environment in which a decision is one step, and an observation has no history."""
    return config.model_copy(update={"action_repeat": 1, "history": 1})


def every_step(adapter: Adapter, episode: Episode) -> Episode:
    """Return an episode with one entry for each environment step: its frames, its action float32[1, A], its reward; without tokens.

    Args:
        adapter: of `step_by_step` of the episode's environment.
        episode: with `action_repeat` steps a decision.

    Raises:
        ValueError: the environment gives other rewards than were recorded, so it cannot be replayed exactly.
    """
    held = episode.rewards.shape[1] // episode.actions.shape[1]
    recorded = episode.rewards.reshape(-1)
    executed = ~np.isnan(recorded)  # NaN: the episode had ended
    actions = np.repeat(episode.actions.reshape(-1, episode.actions.shape[-1]), held, axis=0)[executed]
    first, outcomes = adapter.reset(episode.seed), []
    for action in actions:
        outcomes.append(adapter.step(action[None]))
    rewards = np.stack([outcome.rewards for outcome in outcomes])
    if not np.array_equal(rewards[:, 0], recorded[executed]):
        raise ValueError(f"{episode.id} gave other rewards when it was executed again")
    successes = [t for t, outcome in enumerate(outcomes) if outcome.success]
    observations = [first, *(outcome.observation for outcome in outcomes)]
    empty = np.zeros((len(actions), 0))
    return replace(
        episode,
        frames=np.stack([each.frames for each in observations]),
        states=None if first.state is None else np.stack([np.asarray(each.state) for each in observations]),
        actions=actions[:, None],
        tokens=empty.astype(np.int64),
        logprobs=empty.astype(np.float32),
        rewards=rewards,
        success=bool(successes),
        first_success=successes[0] if successes else None,
        hindsight=None,
        policy_tokens=None,
        lookahead_gains=None,
        target_actions=None,
    )
