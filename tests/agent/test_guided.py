"""Guided practice: takes succeed that the policy alone does not bring about, and what they teach is a step that it can learn."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent import film
from agent.collect import Job, collect
from agent.guided import _directions, ahead, better, farthest
from agent.records import Episode
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
            film.replayed(workers.first, take)
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

    monkeypatch.setattr("agent.guided.foresee", told)
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


def test_a_rival_is_tried_beside_what_is_done_which_stays_as_it_would_be_without() -> None:
    """Its margin is what carrying it out instead would have cost or earned; and it is the same for any number of environments."""
    workers, alone = Workers(EnvConfig(), 4), Workers(EnvConfig(), 1)
    space = workers.first.actions
    policy = load(PolicyConfig(rows=8, temperature=2.0), space.low, space.high)
    plain, jobs = ([Job(seed, 0, (seed,), rivals=count) for seed in range(6)] for count in (0, 3))
    without, takes, again = (list(collect(policy, *each)) for each in ((workers, plain), (workers, jobs), (alone, jobs)))
    tried = 0
    for bare, take, other in zip(without, takes, again, strict=True):
        assert bare.rivals is None and take.rivals is not None and take.margins is not None and other.rivals is not None
        np.testing.assert_array_equal(take.rivals, other.rivals)
        for one in (bare, other):
            np.testing.assert_array_equal(take.actions, one.actions)
            np.testing.assert_array_equal(take.rewards, one.rewards)
        for t in range(len(take)):
            workers.first.reset(take.seed)
            for actions in take.actions[:t]:
                workers.first.step(actions)
            outcome = workers.first.step(policy.codec.decode(take.rivals[t]))
            own = float(np.nanmean(take.rewards[t])), int(t == take.first_success)
            assert take.margins[t] == pytest.approx(ahead(own, (float(np.nanmean(outcome.rewards)), int(outcome.success))), abs=1e-5)
            tried += take.margins[t] != 0
    assert tried > 10


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


def test_the_rival_is_the_reply_that_acts_most_unlike_the_first() -> None:
    actions: Any = SimpleNamespace(low=np.array([-1, -1, 0]), high=np.array([1, 1, 5]), counts=np.array([0, 0, 6]))

    def reply(*numbers: float) -> Decision:
        return Decision(np.array([numbers], np.float32), np.zeros(3, np.int64), np.zeros(3, np.float32))

    own, near, far, other = reply(0, 0, 2), reply(0.1, 0, 2), reply(0.9, 0, 2), reply(0, 0, 3)
    assert farthest([own, near, far], actions) is far
    assert farthest([own, far, other], actions) is other, "a discrete number that differs is as far as half the box, however near it is"
    assert farthest([own, reply(0, 0, 2)], actions) is own
    narrow: Any = SimpleNamespace(low=np.zeros(3), high=np.array([1, 0, 5]), counts=actions.counts)
    assert farthest([own, near, far], narrow) is far, "also where a number can have but one value"


@pytest.mark.parametrize(
    ("own", "other", "says"),
    [((0.2, 0), (0.1, 0), 1), ((0.1, 0), (0.2, 0), -1), ((0.1, 1), (0.9, 0), 1), ((0.9, 0), (0.1, 1), -1), ((0.9, -1), (0.1, 0), -1)],
)
def test_a_better_end_is_more_than_any_reward(own: tuple[float, int], other: tuple[float, int], says: int) -> None:
    assert np.sign(ahead(own, other)) == says == -np.sign(ahead(other, own))


def test_there_is_nothing_to_choose_where_rewards_differ_by_rounding_or_one_could_not_be_tried() -> None:
    assert ahead((0.3, 0), (0.1 + 0.2, 0)) == 0 == ahead((0.5, 1), (0.5, 1)) == ahead((0.5, 0), (-np.inf, 0))
    assert ahead((0.5, 1), (0.5, 0)) > 0
