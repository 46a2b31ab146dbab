"""Guided practice: takes succeed that the policy alone does not bring about, and what they teach is a step that it can learn."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.collect import Job, collect
from agent.guided import _directions, better, contest
from agent.workers import Workers
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
    workers = Workers(EnvConfig(), 4)
    space = workers.first.actions
    policy = load(PolicyConfig(rows=8, temperature=2.0), space.low, space.high)
    for wander, as_told in ((0.0, True), (0.9, False)):
        takes = list(collect(policy, workers, [Job(seed, 0, (seed,), foresight=8, wander=wander) for seed in range(4)]))
        same = []
        for take in takes:
            workers.first.reset(take.seed)
            frames = [workers.first.step(actions).observation.frames for actions in take.actions]
            same.append(np.array_equal(frames, take.frames[1:]))
        assert all(same) if as_told else not all(same)


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

    monkeypatch.setattr("agent.guided.foresee", told)
    policy = load(PolicyConfig(rows=8), -np.ones(3), np.ones(3))
    own = Decision(np.zeros((1, 3), np.float32), policy.codec.encode(np.zeros((1, 3), np.float32)), np.zeros(3, np.float32))
    chosen = better(Adapter(EnvConfig()), own, policy, np.random.default_rng(0), 24)
    assert np.abs(chosen.actions - tried[5]).max() < 0.035  # a bin, and what little the others weigh


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
        told.append(better(workers.first, own, policy, np.random.default_rng(draw), 24).tokens)
    assert np.array_equal(*told)


def test_a_rival_is_the_reply_that_differs_most_and_its_margin_is_what_a_copy_of_the_moment_says() -> None:
    """Practice goes on as it would without; and the same seed gives the same rivals for any number of environments."""
    workers, alone = Workers(EnvConfig(), 4), Workers(EnvConfig(), 1)
    space = workers.first.actions
    policy = load(PolicyConfig(rows=8, temperature=2.0), space.low, space.high)
    jobs = [Job(seed, 0, (seed,), rivals=3) for seed in range(6)]
    takes, again = (list(collect(policy, where, jobs)) for where in (workers, alone))
    tried = 0
    for take, other in zip(takes, again, strict=True):
        assert take.rivals is not None and take.margins is not None and other.rivals is not None
        np.testing.assert_array_equal(take.rivals, other.rivals)
        np.testing.assert_array_equal(take.actions, other.actions)
        for t in range(len(take)):
            earned = []
            for tokens in (take.tokens[t], take.rivals[t]):
                workers.first.reset(take.seed)
                for actions in take.actions[:t]:
                    workers.first.step(actions)
                outcome = workers.first.step(policy.codec.decode(tokens))
                earned.append((outcome.success, np.nanmean(outcome.rewards)))
            if take.margins[t]:
                assert (earned[0] > earned[1]) == (take.margins[t] > 0)
                tried += 1
    assert tried > 10
    assert all(take.rivals is None for take in collect(policy, workers, [Job(0, 0, (0,)), Job(0)]))


def test_nothing_is_tried_where_all_replies_act_alike() -> None:
    policy = load(PolicyConfig(rows=8), -np.ones(3), np.ones(3))
    draws = [Decision(np.zeros((1, 3), np.float32), np.array([k]), np.zeros(1, np.float32)) for k in range(3)]
    assert contest(None, draws, policy) == (draws[0], 0.0)
