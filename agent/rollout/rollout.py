"""Practice: policy x environments x seeds -> episodes.

Episodes stream through a fixed number of environments; only live ones step, draw or decide. Randomness belongs to the episode, not
to its place in the batch, so the episodes are the same for any number of environments.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from agent.records import Episode, Job
from agent.rollout.environments import Workers
from agent.rollout.lookahead import better
from envs.adapt import Adapter
from envs.faults import in_words
from envs.host import Remote
from envs.moments import Observation
from policies.policy import Decision, Policy, Situation


@dataclass
class _Live:
    """An episode in the making."""

    job: Job
    adapter: Adapter | Remote
    rng: np.random.Generator
    observations: list[Observation] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    executed: list[np.ndarray] = field(default_factory=list)
    """float32[H, A] each: what was carried out, in a guided take that wanders not always what is decided."""
    rewards: list[np.ndarray] = field(default_factory=list)
    contests: list[tuple[Decision, float]] = field(default_factory=list)
    """Of a guided take: what the policy wanted to do, and how much more the better decision earned."""
    first_success: int | None = None
    success_at_end: bool = False
    terminated: bool = False
    truncated: bool = False
    achieved: tuple[str, ...] = ()
    unasked: tuple[str, int] | None = None
    faults: tuple[str, ...] = ()

    @property
    def situation(self) -> Situation:
        now = self.observations[-1]
        return Situation(now.instruction, now.frames, now.state)

    @property
    def over(self) -> bool:
        return self.terminated or self.truncated or bool(self.faults)

    def begin(self) -> None:
        try:
            self.observations = [self.adapter.reset(self.job.seed)]
        except (Exception, SystemExit) as error:  # an environment may raise anything; it costs its episode, not the run
            self.faults = (f"reset: {in_words(error)}",)

    def go_on(self, wanted: Decision, policy: Policy) -> None:
        decision, margin, done = wanted, 0.0, wanted.actions
        try:
            if self.job.foresight:
                decision, margin = better(self.adapter, wanted, policy, self.rng, self.job.foresight)
                done = done if self.rng.random() < self.job.wander else decision.actions
            outcome = self.adapter.step(done)
        except (Exception, SystemExit) as error:
            self.faults = (f"decision {len(self.decisions)}: {in_words(error)}",)
            return
        self.decisions.append(decision)
        self.executed.append(done)
        if self.job.foresight:
            self.contests.append((wanted, margin))
        self.observations.append(outcome.observation)
        self.rewards.append(outcome.rewards)
        if outcome.success and self.first_success is None:
            self.first_success = len(self.decisions) - 1
        self.success_at_end, self.achieved = outcome.success_at_end, outcome.achieved
        self.terminated, self.truncated = outcome.terminated, outcome.truncated
        other = next((each for each in outcome.achieved if each != outcome.observation.instruction), None)
        if self.unasked is None and other is not None:
            self.unasked = (other, len(self.decisions) - 1)

    def episode(self, policy: Policy) -> Episode:
        actions = len(self.adapter.actions)
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
            take=self.job.take,
            policy=policy.name,
            instruction=self.observations[0].instruction if self.observations else "",
            frames=np.stack([o.frames for o in self.observations]) if self.observations else blank,
            actions=np.stack(self.executed) if self.executed else np.zeros(shape["actions"], np.float32),
            tokens=np.stack([d.tokens for d in self.decisions]) if self.decisions else np.zeros(shape["tokens"], np.int64),
            logprobs=np.stack([d.logprobs for d in self.decisions]) if self.decisions else np.zeros(shape["tokens"], np.float32),
            rewards=np.stack(self.rewards) if self.rewards else np.zeros(shape["rewards"], np.float32),
            success=self.first_success is not None,
            first_success=self.first_success,
            success_at_end=self.success_at_end,
            terminated=self.terminated,
            truncated=self.truncated,
            achieved=self.achieved,
            unasked=self.unasked,
            rivals=np.stack([wanted.tokens for wanted, _ in self.contests]) if self.contests else None,
            margins=np.array([margin for _, margin in self.contests], np.float32) if self.contests else None,
            states=np.stack(states) if states and states[0] is not None else None,  # type: ignore[arg-type]
            faults=self.faults,
            taught=unlike([d.actions for d in self.decisions], self.executed),
        )


def unlike(meant: Sequence[np.ndarray], executed: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return float32[T, H, A], the actions that were meant, or None where they were executed."""
    return None if np.array_equal(meant, executed, equal_nan=True) else np.stack(meant)


def collect(
    policy: Policy,
    workers: Workers,
    jobs: Sequence[Job],
) -> Iterator[Episode]:
    """Yield one episode a job, in the order of the jobs.

    Args:
        policy: who acts.
        workers: where.
        jobs: what to attempt.
    """
    waiting, live, done, sent = list(enumerate(jobs))[::-1], {}, {}, 0
    while sent < len(jobs):
        while waiting and (adapter := workers.take(waiting[-1][1].kind)) is not None:
            index, job = waiting.pop()
            live[index] = _Live(job, adapter, np.random.default_rng(job.noise))
            live[index].begin()
        playing = [each for each in live.values() if not each.over]
        for each, decision in zip(playing, _decide(policy, playing), strict=True):
            each.go_on(decision, policy)
        for index in [index for index, each in live.items() if each.over]:
            each = live.pop(index)
            done[index] = each.episode(policy)
            workers.give_back(each.adapter, broken=bool(each.faults))
        while sent in done:
            yield done.pop(sent)
            sent += 1


def tolerate(episodes: Iterable[Episode], count: int, max_fault_share: float, spoilt: int = 0) -> Iterator[Episode]:
    """Yield the episodes as long as not too many are spoilt.

    Args:
        episodes: as they come.
        count: how many there will have been in the end, with those of before a stop.
        max_fault_share: of `count`.
        spoilt: of those of before a stop.

    Raises:
        ValueError: more were spoilt by the environment; says which, at which seed and decision.
    """
    num_faults = spoilt
    for episode in episodes:
        num_faults += bool(episode.faults)
        if num_faults > max_fault_share * count:
            raise ValueError(
                f"{episode.task} spoilt {num_faults} of {count} episodes, more than collect.max_fault_share allows; "
                f"the last at seed {episode.seed}, {episode.faults[0]}."
            )
        yield episode


def _decide(policy: Policy, playing: Sequence[_Live]) -> list[Decision]:
    """Return the reply for each live episode. Those that sample use their own noise; guided takes begin from what the policy holds most probable."""
    replies: dict[int, Decision] = {}
    for greedy in (True, False):
        chosen = [i for i, each in enumerate(playing) if (each.job.noise is None or each.job.foresight > 0) == greedy]
        if chosen:
            noise = None if greedy else np.stack([playing[i].rng.random(policy.reply_length) for i in chosen])
            replies |= zip(chosen, policy.act([playing[i].situation for i in chosen], noise), strict=True)
    return [replies[i] for i in range(len(playing))]
