"""Practice: the same episodes for any number of environments, and an environment that breaks costs only its episode."""

import itertools
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.demonstrate.stage import FaultBudget, record
from agent.records import Episode, Job
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout, tolerate
from agent.rollout.thoughts import ponder
from envs import EnvConfig
from envs.adapt import Adapter
from policies import PolicyConfig, load
from policies.scripted import Random

JOBS = [Job(seed, episode, (0, 1, seed, episode)) for seed in range(3) for episode in range(3)]


def random_policy(environments: Environments, chunk: int = 4) -> Random:
    space = environments.first.actions
    return Random(space.low, space.high, chunk)


def same(one: Sequence[Episode], other: Sequence[Episode]) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a.id, a.success, a.first_success, a.instruction, a.achieved) == (b.id, b.success, b.first_success, b.instruction, b.achieved)
        for name in ("frames", "actions", "tokens", "logprobs", "rewards"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("greedy", [False, True])
def test_the_same_episodes_for_1_4_and_32_environments(greedy: bool) -> None:
    jobs = [Job(job.seed, job.attempt, None if greedy else job.noise) for job in JOBS]
    runs = []
    for count in (1, 4, 32):
        environments = Environments(EnvConfig(action_repeat=1), count)
        space = environments.first.actions
        runs.append(list(rollout(load(PolicyConfig(batch_size=8, chunk_size=4), space.low, space.high), environments, jobs)))
    same(runs[0], runs[1])
    same(runs[0], runs[2])


def test_episodes_of_a_seed_differ_and_begin_alike() -> None:
    environments = Environments(EnvConfig(action_repeat=1), 8)
    one, two, three = list(rollout(random_policy(environments), environments, JOBS))[:3]
    np.testing.assert_array_equal(one.frames[0], two.frames[0])
    assert one.instruction == two.instruction == three.instruction
    assert not np.array_equal(one.actions[0], two.actions[0])


def test_episodes_come_in_the_order_of_the_jobs() -> None:
    environments = Environments(EnvConfig(action_repeat=1), 4)
    assert [(e.seed, e.attempt) for e in rollout(random_policy(environments), environments, JOBS)] == [(j.seed, j.attempt) for j in JOBS]


class Fragile(gymnasium.Wrapper):
    """Breaks on odd seeds, each in its own way."""

    closed = False

    def close(self) -> None:
        self.closed = True
        self.env.close()

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        self.seed, self.steps = seed or 0, 0
        if self.seed == 1:
            raise RuntimeError("no such scene")
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        if self.seed == 3 and self.steps > 6:
            raise OSError("the simulator died")
        if self.seed == 5:
            reward = float("nan")
        if self.seed == 7:
            info = {}
        return observation, reward, terminated, truncated, info


gymnasium.register("Test/Fragile-v0", entry_point=lambda **kw: Fragile(gymnasium.make("etude/Reach-v0", **kw)), max_episode_steps=24)


def test_a_bad_environment_costs_its_episode_and_is_named() -> None:
    environments = Environments(EnvConfig(id="Test/Fragile-v0", cameras=("front", "wrist"), action_repeat=1, kwargs={"cameras": ()}), 3)
    episodes = list(rollout(random_policy(environments), environments, [Job(seed, 0, (seed,)) for seed in range(9)]))
    faults = {e.seed: e.faults[0] for e in episodes if e.faults}
    assert set(faults) == {1, 3, 5, 7}
    assert "no such scene" in faults[1] and "the simulator died" in faults[3] and "nan" in faults[5] and "no success" in faults[7]
    assert len(next(e for e in episodes if e.seed == 3)) >= 1  # what happened before the fault is kept
    whole = Environments(EnvConfig(action_repeat=1), 3)
    fine = [Job(seed, 0, (seed,)) for seed in (0, 2, 4, 6, 8)]
    for a, b in zip([e for e in episodes if not e.faults], rollout(random_policy(whole), whole, fine), strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)


@pytest.mark.parametrize("ends", ["the caller stops", "the policy raises"])
def test_a_rollout_that_is_broken_off_gives_its_environments_back(ends: str) -> None:
    """The next rollout finds places, and its episodes are those of a rollout that was not preceded by another."""

    class Tired(Random):
        def act(self, situations: Any, noise: Any) -> Any:
            raise RuntimeError("out of memory")

    config = EnvConfig(id="Test/Fragile-v0", cameras=("front", "wrist"), action_repeat=1, kwargs={"cameras": ()})
    environments, fresh, jobs = Environments(config, 2), Environments(config, 2), [Job(seed, 0, (seed,)) for seed in (1, 0, 2)]
    space = environments.first.actions
    if ends == "the caller stops":
        broken_off: Any = rollout(random_policy(environments), environments, jobs)
        assert next(broken_off).faults, "seed 1 ended at its reset, and seed 0 has begun"
        broken_off.close()
    else:
        with pytest.raises(RuntimeError, match="out of memory"):
            next(rollout(Tired(space.low, space.high, 4), environments, jobs[1:]))
    places = [environments.acquire() for _ in range(2)]
    assert None not in places and environments.acquire() is None
    for each in places:
        environments.release(each)  # type: ignore[arg-type]
    same(list(rollout(random_policy(environments), environments, jobs)), list(rollout(random_policy(fresh), fresh, jobs)))


def test_environments_in_use_are_closed_too() -> None:
    """A rollout that an error elsewhere has interrupted still holds some."""
    environments = Environments(EnvConfig(id="Test/Fragile-v0", cameras=("front", "wrist"), kwargs={"cameras": ()}), 3)
    broken_off = rollout(random_policy(environments), environments, [Job(seed, 0, (seed,)) for seed in (1, 0, 2)])
    next(broken_off)
    used: list[Any] = environments._busy
    environments.close()
    assert len(used) == 2 and all(each.env.get_wrapper_attr("closed") for each in used)


class Fulfilling(gymnasium.Wrapper):
    """Fulfils more than it was asked, from the sixth step on."""

    def reset(self, **kwargs: Any) -> Any:
        self.steps = 0
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        *outcome, info = self.env.step(action)
        self.steps += 1
        return *outcome, {**info, "achieved": [*info["achieved"], *(["touch the moon"] if self.steps >= 6 else [])]}


gymnasium.register("Test/Fulfilling-v0", entry_point=lambda **kw: Fulfilling(gymnasium.make("etude/Reach-v0", **kw)), max_episode_steps=24)


def test_what_is_fulfilled_unasked_is_kept_with_its_decision() -> None:
    environments = Environments(EnvConfig(id="Test/Fulfilling-v0", cameras=("front", "wrist"), action_repeat=1, kwargs={"cameras": ()}), 2)
    episodes = list(rollout(random_policy(environments), environments, [Job(seed, 0, (seed,)) for seed in range(3)]))
    assert all(len(e) > 2 for e in episodes)
    assert all(e.hindsight is not None and (e.hindsight == ("touch the moon", 1) or e.hindsight[0].endswith("ball")) for e in episodes)
    assert any(e.hindsight == ("touch the moon", 1) for e in episodes), "the sixth step is in the second decision of four"


def test_too_many_faults_stop_with_a_sentence() -> None:
    environments = Environments(EnvConfig(id="Test/Fragile-v0", cameras=("front", "wrist"), action_repeat=1, kwargs={"cameras": ()}), 2)
    with pytest.raises(ValueError, match=r"1 of 4 episodes were faulty, more than 20 %; the last at seed 1, reset: RuntimeError"):
        list(tolerate(rollout(random_policy(environments), environments, [Job(seed, 0, (seed,)) for seed in range(4)]), 4))


def test_faults_from_before_a_stop_count_towards_the_whole() -> None:
    environments = Environments(EnvConfig(id="Test/Fragile-v0", cameras=("front", "wrist"), action_repeat=1, kwargs={"cameras": ()}), 2)
    episodes = list(rollout(random_policy(environments), environments, [Job(seed, 0, (seed,)) for seed in range(3)]))  # seed 1 is spoilt
    assert list(tolerate(episodes, 10, spoilt=1)) == episodes
    with pytest.raises(ValueError, match="3 of 10 episodes were faulty"):
        list(tolerate(episodes, 10, spoilt=2))


def test_demonstrations_are_written_in_the_policys_tokens() -> None:
    environments = Environments(EnvConfig(action_repeat=1), 1)
    codec = load(PolicyConfig(chunk_size=4), environments.first.actions.low, environments.first.actions.high).codec
    for episode in record(environments, codec, [Job(10_000_000 + i) for i in range(5)]):
        assert episode.success and episode.policy == "oracle"
        for actions, tokens in zip(episode.actions, episode.tokens, strict=True):
            assert np.abs(codec.decode(tokens) - actions).max() <= 1 / 32 + 1e-6


def test_a_demonstration_that_fails_says_where() -> None:
    environments = Environments(EnvConfig(action_repeat=1), 1)
    codec = load(PolicyConfig(chunk_size=4), environments.first.actions.low, environments.first.actions.high).codec

    def tired(adapter: Any) -> np.ndarray:
        raise KeyError("no plan")

    with pytest.raises(ValueError, match=r"etude/Reach-v0, seed 10000000, decision 0: KeyError: 'no plan'\."):
        next(iter(record(environments, codec, [Job(10_000_000)], expert=tired)))


@pytest.mark.parametrize("given", [np.zeros(5), None, [0.0, np.nan, 0.0], "left", np.array([0, 1e300, 0])])
def test_an_expert_whose_action_is_none_is_named(given: Any) -> None:
    environments = Environments(EnvConfig(action_repeat=1), 1)
    codec = load(PolicyConfig(), environments.first.actions.low, environments.first.actions.high).codec
    moments = itertools.count()

    def expert(adapter: Adapter) -> Any:
        return given if next(moments) == 2 else np.zeros(3)

    with pytest.raises(ValueError, match=r"Reach-v0, seed 7, decision 2: ValueError: the expert gave .*, and an action is 3 finite numbers\."):
        list(record(environments, codec, [Job(7)], expert=expert))


def test_spoilt_demonstrations_are_left_out_as_long_as_they_are_few() -> None:
    """The others are as they would have been, and the environment is made anew after each fault."""
    environments, jobs = Environments(EnvConfig(), 1), [Job(10_000_000 + i) for i in range(5)]
    codec = load(PolicyConfig(), environments.first.actions.low, environments.first.actions.high).codec
    sound = list(record(environments, codec, jobs))

    def tired(adapter: Adapter) -> np.ndarray:
        if adapter.seed in (10_000_001, 10_000_003):
            adapter.env.unwrapped.data.qpos[:] = 7  # what it leaves behind must not matter
            raise SystemExit
        return adapter.oracle()

    leave_out = FaultBudget(of=5, share=0.4)
    left = list(record(environments, codec, jobs, expert=tired, leave_out=leave_out))
    assert leave_out.count == 2 and leave_out.first == "etude/Reach-v0, seed 10000001, decision 0: SystemExit"
    for one, other in zip([sound[i] for i in (0, 2, 4)], left, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.tokens, other.tokens)
    for share, says in ((0.2, "20"), (0.25, "25"), (0.0, "0")):
        with pytest.raises(ValueError, match=rf"of 5 demonstrations were faulty, more than {says} %; the last: .*seed 1000000[13]"):
            list(record(environments, codec, jobs, expert=tired, leave_out=FaultBudget(of=5, share=share)))
    with pytest.raises(ValueError, match="3 of 5 demonstrations were faulty"):  # those of before a stop count
        list(record(environments, codec, jobs, expert=tired, leave_out=FaultBudget(of=5, share=0.4, count=1)))


def test_noise_disturbs_what_is_done_and_not_what_is_taught() -> None:
    environments = Environments(EnvConfig(action_repeat=1), 1)
    codec = load(PolicyConfig(chunk_size=4), environments.first.actions.low, environments.first.actions.high).codec
    clean, noisy = (next(iter(record(environments, codec, [Job(10_000_000, 0, (1,))], noise))) for noise in (0.0, 0.5))
    assert clean.target_actions is None
    np.testing.assert_array_equal(clean.actions[0, 0], noisy.targets[0, 0])
    assert not np.array_equal(clean.frames[1], noisy.frames[1])
    np.testing.assert_array_equal(noisy.tokens, [codec.encode(each) for each in noisy.targets])
    environments.first.reset(noisy.seed)
    for t, actions in enumerate(noisy.actions):
        np.testing.assert_array_equal(environments.first.step(actions).observation.frames, noisy.frames[t + 1])


def test_demonstrations_get_the_policys_own_thoughts() -> None:
    environments = Environments(EnvConfig(action_repeat=4), 1)
    policy = load(PolicyConfig(thought="##far#"), environments.first.actions.low, environments.first.actions.high)
    shown = list(record(environments, policy.codec, [Job(10_000_000 + i) for i in range(3)]))
    thoughtful = list(ponder(policy, shown, at_a_time=2))
    assert [e.id for e in thoughtful] == [e.id for e in shown]
    for plain, episode in zip(shown, thoughtful, strict=True):
        situations = [episode.situation(t) for t in range(len(episode))]
        np.testing.assert_array_equal(episode.tokens[:, :3], policy.think(situations))
        np.testing.assert_array_equal(episode.tokens[:, 3:], plain.tokens)
        assert episode.logprobs.shape == episode.tokens.shape


class Kept(gymnasium.Env):
    """From the second step on "tidy up" is fulfilled, whatever is done; from the sixth "wait", too."""

    action_space = gymnasium.spaces.Box(-1, 1, (2,))
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.steps = 0
        return {"eye": np.zeros((16, 16, 3), np.uint8)}, {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        achieved = [words for words, when in (("tidy up", 2), ("wait", 6)) if self.steps >= when]
        return {"eye": np.zeros((16, 16, 3), np.uint8)}, 0.0, False, False, {"success": False, "achieved": achieved}


def test_what_is_fulfilled_without_having_been_asked_for_is_kept_with_its_decision() -> None:
    environments = Environments(EnvConfig(id=f"{__name__}:Kept", cameras=("eye",), instruction="go", max_episode_steps=8, action_repeat=1), 2)
    policy = random_policy(environments, 1)
    (whole,) = rollout(policy, environments, [Job(5, 0, (1,))])
    assert whole.hindsight == ("tidy up", 1)
