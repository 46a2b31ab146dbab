"""Guided practice: takes succeed that the policy alone does not bring about, and what they teach is a step that it can learn."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.records import Episode, Job
from agent.report import videos
from agent.rollout.environments import Workers
from agent.rollout.lookahead import _directions, better
from agent.rollout.rollout import collect
from envs import EnvConfig
from envs.adapt import Adapter
from policies import PolicyConfig, load
from policies.policy import Decision


def test_guided_takes_succeed_where_the_policy_alone_does_not() -> None:
    """Their replies keep the policy's own thought, and decode to what is recorded."""
    workers = Workers(EnvConfig(), 4)
    space = workers.first.actions
    policy = load(PolicyConfig(rows=8, temperature=2.0, thought="###"), space.low, space.high)
    alone, guided = (list(collect(policy, workers, [Job(seed, 0, (seed,), foresight=count) for seed in range(8)])) for count in (0, 24))
    assert sum(e.success for e in alone) <= 2 and sum(e.success for e in guided) >= 6
    for episode in guided:
        for tokens, actions in zip(episode.tokens, episode.actions, strict=True):
            np.testing.assert_array_equal(policy.codec.decode(tokens), actions)
    changed = [t for e in guided for t in range(len(e)) if not e.logprobs[t].any()]
    assert len(changed) >= 8, "some decisions were better than the policy's own"
    assert policy.name == guided[0].policy


def test_where_a_guided_take_wanders_the_better_decision_is_told_and_the_policys_own_carried_out() -> None:
    """What is recorded as actions leads to the recorded frames; what is told is what the replies say, and it would have led elsewhere."""
    workers = Workers(EnvConfig(), 4)
    space = workers.first.actions
    policy = load(PolicyConfig(rows=8, temperature=2.0), space.low, space.high)

    def leads_there(take: Episode, actions_THA: np.ndarray) -> bool:
        workers.first.reset(take.seed)
        return np.array_equal([workers.first.step(actions).observation.frames for actions in actions_THA], take.frames[1:])

    for wander, as_told in ((0.0, True), (0.9, False)):
        takes = list(collect(policy, workers, [Job(seed, 0, (seed,), foresight=8, wander=wander) for seed in range(4)]))
        for take in takes:
            assert leads_there(take, take.actions)
            np.testing.assert_array_equal(take.targets, [policy.codec.decode(tokens) for tokens in take.tokens])
            videos.replayed(workers.first, take)
            np.testing.assert_array_equal(workers.first.observe().frames, take.frames[-1])
        told = [take for take in takes if take.taught is not None]
        assert not told if as_told else len(told) >= 2 and not all(leads_there(take, take.targets) for take in told)


gymnasium.register("Test/Scaled-v0", entry_point=lambda **kw: Scaled(gymnasium.make("etude/Reach-v0", **kw)), max_episode_steps=24)


class Scaled(gymnasium.RewardWrapper):
    def reward(self, reward: Any) -> float:
        return 128 * float(reward) - 64


def test_guided_takes_do_not_depend_on_the_scale_of_rewards() -> None:
    takes = []
    for name in ("etude/Reach-v0", "Test/Scaled-v0"):
        workers = Workers(EnvConfig(id=name, cameras=("front", "wrist")), 4)
        space = workers.first.actions
        policy = load(PolicyConfig(rows=8, temperature=5.0), space.low, space.high)
        takes.append(list(collect(policy, workers, [Job(seed, 0, (seed,), foresight=24) for seed in range(4)])))
    for one, other in zip(*takes, strict=True):
        np.testing.assert_array_equal(one.actions, other.actions)


def test_a_success_counts_also_where_the_reward_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[np.ndarray] = []

    def told(adapter: Any, candidates: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        tried.extend(candidates)
        return np.full(len(candidates), -1.0), (np.arange(len(candidates)) == (5 if len(candidates) > 1 else 0)).astype(int)

    monkeypatch.setattr("agent.rollout.lookahead.foresee", told)
    policy = load(PolicyConfig(rows=8), -np.ones(3), np.ones(3))
    own = Decision(np.zeros((1, 3), np.float32), policy.codec.encode(np.zeros((1, 3), np.float32)), np.zeros(3, np.float32))
    chosen, margin = better(Adapter(EnvConfig()), own, policy, np.random.default_rng(0), 24)
    assert margin > 0 and np.abs(chosen.actions - tried[5]).max() < 0.035  # a bin, and what little the others weigh


def test_candidates_lie_evenly_about_the_policys_own_and_always_at_the_same_places() -> None:
    places = _directions(63, 3)
    assert places.shape == (63, 3) and np.isfinite(places).all()
    np.testing.assert_allclose(places.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(np.cov(places.T), np.eye(3), atol=0.12)
    workers = Workers(EnvConfig(), 1)
    policy = load(PolicyConfig(rows=8), workers.first.actions.low, workers.first.actions.high)
    own = Decision(np.zeros((1, 3), np.float32), policy.codec.encode(np.zeros((1, 3), np.float32)), np.zeros(3, np.float32))
    told = []
    for draw in range(2):
        workers.first.reset(3)
        told.append(better(workers.first, own, policy, np.random.default_rng(draw), 24)[0].tokens)
    assert np.array_equal(*told)


def test_a_guided_take_keeps_what_the_policy_wanted_to_do_and_how_much_better_the_other_was() -> None:
    workers = Workers(EnvConfig(), 4)
    space = workers.first.actions
    policy = load(PolicyConfig(rows=8), space.low, space.high)
    found = 0
    for take in list(collect(policy, workers, [Job(seed, 0, (seed,), foresight=24) for seed in range(12)])):
        assert take.rivals is not None and take.margins is not None
        np.testing.assert_array_equal(take.margins > 0, (take.rivals != take.tokens).any(1))
        end = len(take) if take.first_success is None else take.first_success  # from there on success counts, too
        for t in np.flatnonzero(take.margins[:end]):
            workers.first.reset(take.seed)
            for actions in take.actions[:t]:
                workers.first.step(actions)
            outcome = workers.first.step(policy.codec.decode(take.rivals[t]))
            if not outcome.success:
                assert take.margins[t] == pytest.approx(float(np.nanmean(take.rewards[t]) - np.nanmean(outcome.rewards)), abs=1e-5)
                found += 1
    assert found > 5
