"""Guided practice: takes succeed that the policy alone does not bring about, and what they teach is a step that it can learn."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.records import Episode, Job
from agent.report import videos
from agent.rollout.environments import Environments
from agent.rollout.lookahead import _directions, better
from agent.rollout.rollout import rollout
from envs import EnvConfig
from envs.adapt import Adapter
from policies import PolicyConfig, load
from policies.policy import Decision


def test_lookahead_episodes_succeed_where_the_policy_alone_does_not() -> None:
    """Their replies keep the policy's own thought, and decode to what is recorded."""
    environments = Environments(EnvConfig(), 4)
    space = environments.first.actions
    policy = load(PolicyConfig(batch_size=8, temperature=2.0, thought="###"), space.low, space.high)
    alone, lookahead = (
        list(rollout(policy, environments, [Job(seed, 0, (seed,), lookahead_candidates=count) for seed in range(8)])) for count in (0, 24)
    )
    assert sum(e.success for e in alone) <= 2 and sum(e.success for e in lookahead) >= 6
    for episode in lookahead:
        for tokens, actions in zip(episode.tokens, episode.actions, strict=True):
            np.testing.assert_array_equal(policy.codec.decode(tokens), actions)
    changed = [t for e in lookahead for t in range(len(e)) if not e.logprobs[t].any()]
    assert len(changed) >= 8, "some decisions were better than the policy's own"
    assert policy.name == lookahead[0].policy


def test_where_a_lookahead_episode_wanders_the_better_decision_is_told_and_the_policys_own_carried_out() -> None:
    """What is recorded as actions leads to the recorded frames; what is told is what the replies say, and it would have led elsewhere."""
    environments = Environments(EnvConfig(), 4)
    space = environments.first.actions
    policy = load(PolicyConfig(batch_size=8, temperature=2.0), space.low, space.high)

    def leads_there(episode: Episode, actions_THA: np.ndarray) -> bool:
        environments.first.reset(episode.seed)
        return np.array_equal([environments.first.step(actions).observation.frames for actions in actions_THA], episode.frames[1:])

    for lookahead_policy_share, as_scored in ((0.0, True), (0.9, False)):
        attempts = list(
            rollout(
                policy,
                environments,
                [Job(seed, 0, (seed,), lookahead_candidates=8, lookahead_policy_share=lookahead_policy_share) for seed in range(4)],
            )
        )
        for episode in attempts:
            assert leads_there(episode, episode.actions)
            np.testing.assert_array_equal(episode.targets, [policy.codec.decode(tokens) for tokens in episode.tokens])
            videos.replayed(environments.first, episode)
            np.testing.assert_array_equal(environments.first.observe().frames, episode.frames[-1])
        told = [episode for episode in attempts if episode.target_actions is not None]
        assert not told if as_scored else len(told) >= 2 and not all(leads_there(episode, episode.targets) for episode in told)


gymnasium.register("Test/Scaled-v0", entry_point=lambda **kw: Scaled(gymnasium.make("etude/Reach-v0", **kw)), max_episode_steps=24)


class Scaled(gymnasium.RewardWrapper):
    def reward(self, reward: Any) -> float:
        return 128 * float(reward) - 64


def test_lookahead_episodes_do_not_depend_on_the_scale_of_rewards() -> None:
    attempts = []
    for name in ("etude/Reach-v0", "Test/Scaled-v0"):
        environments = Environments(EnvConfig(id=name, cameras=("front", "wrist")), 4)
        space = environments.first.actions
        policy = load(PolicyConfig(batch_size=8, temperature=5.0), space.low, space.high)
        attempts.append(list(rollout(policy, environments, [Job(seed, 0, (seed,), lookahead_candidates=24) for seed in range(4)])))
    for one, other in zip(*attempts, strict=True):
        np.testing.assert_array_equal(one.actions, other.actions)


def test_a_success_counts_also_where_the_reward_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[np.ndarray] = []

    def told(adapter: Any, candidates: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        tried.extend(candidates)
        return np.full(len(candidates), -1.0), (np.arange(len(candidates)) == (5 if len(candidates) > 1 else 0)).astype(int)

    monkeypatch.setattr("agent.rollout.lookahead.try_candidates", told)
    policy = load(PolicyConfig(batch_size=8), -np.ones(3), np.ones(3))
    own = Decision(np.zeros((1, 3), np.float32), policy.codec.encode(np.zeros((1, 3), np.float32)), np.zeros(3, np.float32))
    chosen, margin = better(Adapter(EnvConfig()), own, policy, np.random.default_rng(0), 24)
    assert margin > 0 and np.abs(chosen.actions - tried[5]).max() < 0.035  # a bin, and what little the others weigh


@pytest.mark.parametrize("mean_fails", [False, True])
def test_a_decision_that_fails_in_the_copy_has_a_finite_gain_and_a_mean_that_fails_is_not_taken(
    mean_fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(adapter: Any, candidates: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        rewards = np.linspace(0, 1, len(candidates)) if len(candidates) > 1 else np.array([-np.inf if mean_fails else 1.0])
        if len(candidates) > 1:
            rewards[0] = -np.inf  # the policy's own
        return rewards, np.zeros(len(candidates), int)

    monkeypatch.setattr("agent.rollout.lookahead.try_candidates", tried)
    policy = load(PolicyConfig(batch_size=8), -np.ones(3), np.ones(3))
    own = Decision(np.zeros((1, 3), np.float32), policy.codec.encode(np.zeros((1, 3), np.float32)), np.zeros(3, np.float32))
    chosen, gain = better(Adapter(EnvConfig()), own, policy, np.random.default_rng(0), 24)
    assert (chosen is own and gain == 0) if mean_fails else (np.isfinite(gain) and gain > 0 and chosen is not own)


def test_candidates_lie_evenly_about_the_policys_own_and_always_at_the_same_places() -> None:
    places = _directions(63, 3)
    assert places.shape == (63, 3) and np.isfinite(places).all()
    np.testing.assert_allclose(places.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(np.cov(places.T), np.eye(3), atol=0.12)
    environments = Environments(EnvConfig(), 1)
    policy = load(PolicyConfig(batch_size=8), environments.first.actions.low, environments.first.actions.high)
    own = Decision(np.zeros((1, 3), np.float32), policy.codec.encode(np.zeros((1, 3), np.float32)), np.zeros(3, np.float32))
    told = []
    for draw in range(2):
        environments.first.reset(3)
        told.append(better(environments.first, own, policy, np.random.default_rng(draw), 24)[0].tokens)
    assert np.array_equal(*told)


def test_a_lookahead_episode_keeps_what_the_policy_wanted_to_do_and_how_much_better_the_other_was() -> None:
    environments = Environments(EnvConfig(), 4)
    space = environments.first.actions
    policy = load(PolicyConfig(batch_size=8), space.low, space.high)
    found = 0
    for episode in list(rollout(policy, environments, [Job(seed, 0, (seed,), lookahead_candidates=24) for seed in range(12)])):
        assert episode.policy_tokens is not None and episode.lookahead_gains is not None
        np.testing.assert_array_equal(episode.lookahead_gains > 0, (episode.policy_tokens != episode.tokens).any(1))
        end = len(episode) if episode.first_success is None else episode.first_success  # from there on success counts, too
        for t in np.flatnonzero(episode.lookahead_gains[:end]):
            environments.first.reset(episode.seed)
            for actions in episode.actions[:t]:
                environments.first.step(actions)
            outcome = environments.first.step(policy.codec.decode(episode.policy_tokens[t]))
            if not outcome.success:
                assert episode.lookahead_gains[t] == pytest.approx(float(np.nanmean(episode.rewards[t]) - np.nanmean(outcome.rewards)), abs=1e-5)
                found += 1
    assert found > 5
