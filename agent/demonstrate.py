"""Demonstrations: an expert x environments x seeds -> episodes in the policy's own action tokens."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agent.collect import Job, unlike
from agent.records import Episode
from agent.workers import Workers
from envs.adapt import Adapter


def demonstrate(
    workers: Workers, codec: Any, jobs: Sequence[Job], noise: float = 0.0, expert: Callable[[Adapter], np.ndarray] = Adapter.oracle
) -> Iterator[Episode]:
    """Yield an expert's episodes, written in the policy's own action tokens; the expert looks at every action, also within a chunk.

    Args:
        workers: where.
        codec: a `policies.codec.Codec`: H, and actions to tokens.
        jobs: seeds; the noise seed of a job draws the disturbance.
        noise: standard deviation of a Gaussian added to executed, not to taught, actions.
        expert: the present moment of an environment -> float32[A].

    Raises:
        ValueError: an environment or its expert failed; says at which seed. A warm start does not go on without what it was to imitate.
    """
    for job in jobs:
        adapter = workers.firsts[job.kind]
        try:
            episode = _demonstrated(adapter, codec, job, noise, expert)
        except ValueError:
            raise  # a sentence for the user already
        except (Exception, SystemExit) as error:  # an environment and an expert may raise anything
            raise ValueError(f"{adapter.config.title}, demonstration of seed {job.seed}: {type(error).__name__}: {error}.") from error
        yield episode


def _demonstrated(adapter: Adapter, codec: Any, job: Job, noise: float, expert: Callable[[Adapter], np.ndarray]) -> Episode:
    rng, over, success, outcome = np.random.default_rng(job.noise), False, None, None
    observations, actions, executed, rewards = [adapter.reset(job.seed)], [], [], []
    while not over:
        held = adapter.config.action_repeat
        meant, done, earned = [], [], np.full(codec.chunk * held, np.nan, np.float32)
        for h in range(codec.chunk):
            if not over:
                meant.append(expert(adapter))
                done.append(np.clip(meant[-1] + rng.normal(0, noise, len(meant[-1])), codec.low, codec.high).astype(np.float32))
                outcome = adapter.step(done[-1][None], look=False)
                over, earned[h * held : (h + 1) * held] = outcome.terminated or outcome.truncated, outcome.rewards
                success = len(actions) if outcome.success and success is None else success
        for all_of, some in ((actions, meant), (executed, done)):
            all_of.append(np.stack([*some, *[some[-1]] * (codec.chunk - len(some))]).astype(np.float32))
        rewards.append(earned)
        observations.append(adapter.observe())
    tokens = np.stack([codec.encode(each) for each in actions])
    assert outcome is not None, "an episode lasts at least one step"
    return Episode(
        task=adapter.config.title,
        seed=job.seed,
        take=job.take,
        policy="oracle",
        instruction=observations[0].instruction,
        frames=np.stack([o.frames for o in observations]),
        actions=np.stack(executed),
        tokens=tokens,
        logprobs=np.zeros(tokens.shape, np.float32),
        rewards=np.stack(rewards),
        success=success is not None,
        first_success=success,
        success_at_end=outcome.success_at_end,
        terminated=outcome.terminated,
        truncated=outcome.truncated,
        achieved=outcome.achieved,
        states=None if observations[0].state is None else np.stack([o.state for o in observations]),  # type: ignore[arg-type]
        taught=unlike(actions, executed),
    )


def ponder(policy: Any, episodes: Iterable[Episode], at_a_time: int = 16) -> Iterator[Episode]:
    """Yield demonstrations with the policy's own greedy thought before each action: an expert shows what to do, not what to think."""
    waiting = iter(episodes)
    while some := list(itertools.islice(waiting, at_a_time)):
        thoughts = iter(policy.think([episode.situation(t) for episode in some for t in range(len(episode))]))
        for episode in some:
            tokens = np.stack([np.concatenate([next(thoughts), action]) for action in episode.tokens])
            yield replace(episode, tokens=tokens, logprobs=np.zeros(tokens.shape, np.float32))
