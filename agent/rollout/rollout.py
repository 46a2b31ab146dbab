"""Rollouts: policy x environments x seeds -> episodes.

A fixed number of environments step side by side; where an episode ends, the next one begins. All random numbers belong to an episode, not to
its place in the batch, so the episodes are the same for any number of environments.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from agent.records import Episode, Job
from agent.rollout.environments import Environments
from agent.rollout.lookahead import better
from envs.adapt import Adapter
from envs.faults import in_words
from envs.host import Proxy
from envs.moments import Observation
from policies.policy import Decision, Policy, Situation

MAX_FAULT_SHARE = 0.2  # of episodes that faults of the environment may cost before a run stops


@dataclass
class _Live:
    """An episode while it is made."""

    job: Job
    adapter: Adapter | Proxy
    rng: np.random.Generator
    observations: list[Observation] = field(default_factory=list)
    """One more than decisions."""
    decisions: list[Decision] = field(default_factory=list)
    """What is recorded as the target; in a look-ahead episode the better decision that was found."""
    executed: list[np.ndarray] = field(default_factory=list)
    """float32[H, A] each, the executed actions; in a look-ahead episode at times the policy's own instead of the target (DAgger)."""
    rewards: list[np.ndarray] = field(default_factory=list)
    alternatives: list[tuple[Decision, float]] = field(default_factory=list)
    """Of a look-ahead episode: the policy's own decision, and the gain of the better one."""
    first_success: int | None = None
    success_at_end: bool = False
    terminated: bool = False
    truncated: bool = False
    achieved: tuple[str, ...] = ()
    hindsight: tuple[str, int] | None = None
    faults: tuple[str, ...] = ()

    @property
    def situation(self) -> Situation:
        observation = self.observations[-1]
        return Situation(observation.instruction, observation.frames, observation.state)

    @property
    def over(self) -> bool:
        return self.terminated or self.truncated or bool(self.faults)

    def begin(self) -> None:
        try:
            self.observations = [self.adapter.reset(self.job.seed)]
        except (Exception, SystemExit) as error:  # a third-party environment may raise anything; this costs its episode, not the run
            self.faults = (f"reset: {in_words(error)}",)

    def go_on(self, wanted: Decision, policy: Policy) -> None:
        """Execute one decision; `wanted` is the policy's own."""
        target, gain, executed = wanted, 0.0, wanted.actions
        try:
            if self.job.lookahead_candidates:
                target, gain = better(self.adapter, wanted, policy, self.rng, self.job.lookahead_candidates)
                # The target is recorded either way. With the policy's own actions the episode also visits states to which its mistakes lead.
                executed = executed if self.rng.random() < self.job.lookahead_policy_share else target.actions
            outcome = self.adapter.step(executed)
        except (Exception, SystemExit) as error:  # nothing of this decision is recorded, so the lists stay of matching lengths
            self.faults = (f"decision {len(self.decisions)}: {in_words(error)}",)
            return
        self.decisions.append(target)
        self.executed.append(executed)
        if self.job.lookahead_candidates:
            self.alternatives.append((wanted, gain))
        self.observations.append(outcome.observation)
        self.rewards.append(outcome.rewards)
        if outcome.success and self.first_success is None:
            self.first_success = len(self.decisions) - 1  # index of the decision that was appended above
        self.success_at_end, self.achieved = outcome.success_at_end, outcome.achieved
        self.terminated, self.truncated = outcome.terminated, outcome.truncated
        other = next((each for each in outcome.achieved if each != outcome.observation.instruction), None)
        if self.hindsight is None and other is not None:  # the first other instruction that was fulfilled, for relabelling (HER)
            self.hindsight = (other, len(self.decisions) - 1)

    def episode(self, policy: Policy) -> Episode:
        """Return the record of the episode, also of one that a fault ended."""
        actions = len(self.adapter.actions)
        # After a faulty reset there is no decision and no observation. Such an episode has arrays of length 0, and one black observation.
        shape = {
            "actions": (0, policy.chunk, actions),
            "tokens": (0, policy.reply_length),
            "rewards": (0, policy.chunk * self.adapter.config.action_repeat),
        }
        blank = np.zeros((1, len(self.adapter.config.frame_names), self.adapter.config.size, self.adapter.config.size, 3), np.uint8)
        states = [o.state for o in self.observations]
        return Episode(
            task=self.adapter.config.title,
            seed=self.job.seed,
            attempt=self.job.attempt,
            policy=policy.name,
            instruction=self.observations[0].instruction if self.observations else "",
            frames=np.stack([o.frames for o in self.observations]) if self.observations else blank,
            actions=np.stack(self.executed) if self.executed else np.zeros(shape["actions"], np.float32),
            tokens=np.stack([d.tokens for d in self.decisions]) if self.decisions else np.zeros(shape["tokens"], np.int64),
            logprobs=np.stack([d.logprobs for d in self.decisions]) if self.decisions else np.zeros(shape["tokens"], np.float32),
            rewards=np.stack(self.rewards) if self.rewards else np.zeros(shape["rewards"], np.float32),
            # Of any decision: an episode that loses its success again is still a success (`success_at_end` tells the difference).
            success=self.first_success is not None,
            first_success=self.first_success,
            success_at_end=self.success_at_end,
            terminated=self.terminated,
            truncated=self.truncated,
            achieved=self.achieved,
            hindsight=self.hindsight,
            policy_tokens=np.stack([own.tokens for own, _ in self.alternatives]) if self.alternatives else None,
            lookahead_gains=np.array([gain for _, gain in self.alternatives], np.float32) if self.alternatives else None,
            states=np.stack(states) if states and states[0] is not None else None,  # type: ignore[arg-type]
            faults=self.faults,
            target_actions=unlike([d.actions for d in self.decisions], self.executed),
        )


def unlike(meant: Sequence[np.ndarray], executed: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return the target actions, float32[T, H, A], where they differ from the executed ones; else None, so that they are not stored twice.

    Args:
        meant: T times float32[H, A], the actions to imitate.
        executed: T times float32[H, A].
    """
    return None if np.array_equal(meant, executed, equal_nan=True) else np.stack(meant)


def rollout(
    policy: Policy,
    environments: Environments,
    jobs: Sequence[Job],
) -> Iterator[Episode]:
    """Yield one episode a job, in the order of the jobs.

    Args:
        policy: acts in all of them.
        environments: how many episodes are made side by side, and in what.
        jobs: seed, sampling noise and kind of environment of each episode.
    """
    # Jobs by their index. `waiting` is reversed, as `pop` takes the next job from the end of a list.
    waiting, live, done, sent = list(enumerate(jobs))[::-1], {}, {}, 0
    try:
        while sent < len(jobs):
            # A job whose kind has no free place waits, and so do the jobs behind it.
            while waiting and (adapter := environments.acquire(waiting[-1][1].kind)) is not None:
                index, job = waiting.pop()
                live[index] = _Live(job, adapter, np.random.default_rng(job.noise))  # noise None: an unseeded generator, never used
                live[index].begin()
            playing = [each for each in live.values() if not each.over]  # a faulty reset ends an episode before its first decision
            for each, decision in zip(playing, _decide(policy, playing), strict=True):
                each.go_on(decision, policy)
            for index in [index for index, each in live.items() if each.over]:
                each = live.pop(index)
                done[index] = each.episode(policy)
                environments.release(each.adapter, broken=bool(each.faults))
            while sent in done:  # an episode that ended early waits for those of the jobs before it
                yield done.pop(sent)
                sent += 1
    finally:  # also where the caller stops iterating, or the policy raises: the next reset ends an episode that was broken off
        for each in live.values():
            environments.release(each.adapter)


def tolerate(episodes: Iterable[Episode], count: int, spoilt: int = 0) -> Iterator[Episode]:
    """Yield the episodes, as long as not too many of them are faulty.

    Args:
        episodes: as they are made.
        count: number of all episodes of the stage, also of those that were made before a kill.
        spoilt: number of faulty episodes among those that were made before a kill.

    Raises:
        ValueError: more than `MAX_FAULT_SHARE` are faulty; the message names environment, seed and decision of the last one.
    """
    num_faults = spoilt
    for episode in episodes:
        num_faults += bool(episode.faults)
        if num_faults > MAX_FAULT_SHARE * count:  # of `count`, not of those so far: one fault in the first episodes does not stop a run
            raise ValueError(
                f"{episode.task}: {num_faults} of {count} episodes were faulty, more than {100 * MAX_FAULT_SHARE:g} %; "
                f"the last at seed {episode.seed}, {episode.faults[0]}."
            )
        yield episode


def _decide(policy: Policy, playing: Sequence[_Live]) -> list[Decision]:
    """Return the policy's decision for each live episode: sampled with the episode's own noise, or greedy.

    Look-ahead episodes decide greedily although they have noise: their candidates lie around the policy's most probable action.
    """
    replies: dict[int, Decision] = {}  # by place in `playing`
    for greedy in (True, False):  # two batches, since `act` takes noise for all situations or for none
        chosen = [i for i, each in enumerate(playing) if (each.job.noise is None or each.job.lookahead_candidates > 0) == greedy]
        if chosen:
            # One uniform number a token, from each episode's own generator: neighbours in the batch have no influence.
            noise = None if greedy else np.stack([playing[i].rng.random(policy.reply_length) for i in chosen])
            replies |= zip(chosen, policy.act([playing[i].situation for i in chosen], noise), strict=True)
    return [replies[i] for i in range(len(playing))]
