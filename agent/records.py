"""Frozen records that the stages of a run pass to one another.

Shapes: T = decisions of an episode, H = actions of a decision (chunk), A = dimensions of an action, L = tokens of a reply, F = frames of an
observation (cameras x history), h and w = height and width of a frame in pixels, S = size of the proprioceptive state.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

from policies.policy import Situation

# First environment seed of each range of 10 million. The ranges are disjoint, so no evaluation uses a seed of practice or of a demonstration.
SEEDS = {"practice": 0, "demonstrations": 10_000_000, "gate": 20_000_000, "test": 30_000_000, "ground": 40_000_000}

# Last number of the seed of numpy generators before the first cycle, whose seeds are (run seed, 0, 0, 0, this). Numpy fills up shorter seeds with
# zeros to four numbers, so (s, 0, 1) and (s, 0, 1, 0) are the same. A fifth number sets these apart from the noise of demonstrations, (s, 0, i).
# Generators of the shipped recipes that begin alike stay, since published results rest on them: the noise of demonstrations 1 and 3, for example, and
# the first order of the warm start's demonstrations and QA examples.
DRAWS = {"steps_to_go": 1, "base_detector": 2, "pairs": 3}


@dataclass(frozen=True)
class Job:
    """An episode to roll out."""

    seed: int  # of the environment's reset
    attempt: int = 0  # which of the episodes of this seed
    noise: tuple[int, ...] | None = None
    """Seed of the episode's own random generator: sampling noise, or the disturbance of an expert. None: greedy decisions. A look-ahead episode
    decides greedily too; its generator draws which decisions execute the policy's own action."""
    kind: int = 0  # index of the environment in `Config.envs`
    lookahead_candidates: int = 0
    """Candidate actions tried before each decision of a look-ahead episode; 0: no look-ahead, the policy's own action is executed."""
    lookahead_policy_share: float = 0.0
    """Share of a look-ahead episode's decisions that execute the policy's own action all the same (`collect.lookahead_policy_share`)."""


@dataclass(frozen=True)
class Episode:
    """One rollout: observations, decisions, rewards and success. Observations have T + 1 entries, all else T (as in Minari).

    An episode that lost its reset to a fault has T = 0, one black frame and no instruction.
    """

    task: str  # title of the environment: `env.name`, or else its id
    seed: int  # of the environment's reset; -1 where a stored dataset does not give it
    attempt: int  # counts the episodes of a seed from 0; greedy and scripted episodes have 0
    policy: str  # 'oracle' for an expert or a dataset, else the fingerprint of the weights
    instruction: str
    frames: np.ndarray  # uint8[T + 1, F, h, w, 3], RGB; the last is the observation after the last decision
    actions: np.ndarray
    """float32[T, H, A], as executed, in the environment's units; frames and rewards result from these."""
    tokens: np.ndarray
    """int64[T, L], replies exactly as sampled. In a look-ahead episode or a disturbed demonstration: the replies to imitate (`targets`)."""
    logprobs: np.ndarray  # float32[T, L], nats, at the sampling temperature; zeros where the policy did not sample the reply
    rewards: np.ndarray
    """float32[T, H x action_repeat], one per environment step; NaN for steps that the end of the episode cut off. Where a detector or the prediction
    of steps to go replaces the environment's reward: float32[T, 2], before and after each decision (`agent.run.labels`)."""
    success: bool
    """Whether the environment reported success at any step. Stored episodes keep this; a detector's success is in copies alone."""
    first_success: int | None  # index of the first decision with success; None exactly where `success` is false
    success_at_end: bool  # whether the last state is a success too; false where an object was reached and lost again
    terminated: bool
    truncated: bool
    achieved: tuple[str, ...] = ()  # instructions that the last state fulfils, where the environment lists them
    hindsight: tuple[str, int] | None = None
    """The first instruction other than its own that the episode fulfilled, and the decision at which it did; where the environment lists them."""
    states: np.ndarray | None = None  # float32[T + 1, S], proprioception
    policy_tokens: np.ndarray | None = None  # int64[T, L], the policy's own replies in a look-ahead episode
    lookahead_gains: np.ndarray | None = None
    """float32[T], how much more `tokens` are worth than `policy_tokens`, one decision ahead, in units of reward; 0 where they are the same."""
    faults: tuple[str, ...] = ()
    """Errors of the environment that ended the episode. An episode with a fault gives no training data, and fails in an evaluation."""
    target_actions: np.ndarray | None = None
    """float32[T, H, A], the actions that `tokens` encode, where some decision executed others: look-ahead with `lookahead_policy_share`, disturbed
    experts. None: the executed actions are the targets."""

    def __post_init__(self) -> None:
        count = len(self.actions)
        assert len(self.frames) == count + 1, f"{len(self.frames)} observations for {count} decisions; there must be one more"
        assert len(self.tokens) == len(self.logprobs) == len(self.rewards) == count, "tokens, logprobs and rewards need one entry per decision"
        assert self.policy_tokens is None or (self.lookahead_gains is not None and len(self.policy_tokens) == len(self.lookahead_gains) == count), (
            "policy_tokens and lookahead_gains need one entry per decision"
        )
        # Compared as bytes, so that NaN equals itself.
        assert self.target_actions is None or self.target_actions.tobytes() != self.actions.tobytes(), (
            "target_actions must be None where the executed actions are the targets"
        )
        assert (self.first_success is not None) == self.success, "first_success must be given exactly where success is true"

    def __len__(self) -> int:
        return len(self.actions)

    def __repr__(self) -> str:
        end = "success" if self.success else "failure"
        return f"Episode({self.id}, {end}, {len(self)} decisions, frames{self.frames.shape})"

    @property
    def id(self) -> str:
        """Return 'task/seed/attempt', which no other episode of the same policy has."""
        return f"{self.task}/{self.seed}/{self.attempt}"

    @property
    def total_reward(self) -> float:
        """Return the sum of the rewards of all executed steps."""
        return float(np.nansum(self.rewards))  # NaN marks steps that were not executed

    @property
    def last_rewards(self) -> np.ndarray:
        """Return float32[T]: the reward of the last executed step of each decision."""
        last = (~np.isnan(self.rewards)).sum(1) - 1  # NaN only follows the executed steps, and every decision has one
        return self.rewards[np.arange(len(self)), last]

    @property
    def targets(self) -> np.ndarray:
        """Return float32[T, H, A]: the actions to imitate, which are `target_actions` or, without these, the executed ones."""
        return self.actions if self.target_actions is None else self.target_actions

    @property
    def end(self) -> int:
        """Return the number of decisions up to and with the first success, or of all decisions without one."""
        return len(self) if self.first_success is None else self.first_success + 1

    def situation(self, t: int) -> Situation:
        """Return the input of the policy at decision `t`."""
        return Situation(self.instruction, self.frames[t], None if self.states is None else self.states[t])


def num_env_steps(episodes: Iterable[Episode]) -> int:
    """Return the environment steps that episodes executed."""
    return sum(int((~np.isnan(episode.rewards)).sum()) for episode in episodes)  # NaN: steps that the end of an episode cut off


def success_rate(episodes: Iterable[Episode]) -> float:
    """Return the share of the episodes without a fault that succeeded, 0 where there is none: a fault says nothing about the policy."""
    outcomes = [episode.success for episode in episodes if not episode.faults]
    return float(np.mean(outcomes)) if outcomes else 0.0


@dataclass(frozen=True)
class DetectorScore:
    """A success detector's score on one episode."""

    probability: float  # that the instruction was fulfilled; calibrated
    critique: str  # the reason, one sentence


@dataclass(frozen=True)
class Label:
    """The outcome of an episode, as training data are made from it."""

    total_reward: float
    success: bool
    by: Literal["env", "detector"] = "env"  # source of `success`
    detector_score: DetectorScore | None = None  # None: no detector scored this episode
    hindsight: str | None = None  # another instruction that the episode fulfilled

    @classmethod
    def of(cls, episode: Episode, by: Literal["env", "detector"] = "env", detector_score: DetectorScore | None = None) -> "Label":
        """Return the label of an episode, whose reward and success come from the environment or from the detector, as `by` says."""
        return cls(episode.total_reward, episode.success, by, detector_score, episode.hindsight and episode.hindsight[0])


@dataclass(frozen=True)
class Demonstration:
    """A reply to imitate. A worse reply than expected is marked as one in its prompt (`Situation.advantage`)."""

    situation: Situation
    tokens: np.ndarray  # int64[L]
    weight: float = 1.0  # of its log-likelihood in the loss


def decisions(episode: Episode) -> list[Demonstration]:
    """Return the decisions of an episode, up to its first success if there is one, as demonstrations."""
    return [Demonstration(episode.situation(t), episode.tokens[t]) for t in range(episode.end)]


@dataclass(frozen=True)
class PreferencePair:
    """Two replies to one situation, the better one first; or the replies of two episodes from the decision on at which they part.

    Kinds: `decision` (two episodes of one seed at their first difference), `trajectory` (all their replies from there on), `hindsight` (a relabelled
    episode against one that fulfilled the original instruction), `lookahead` (the reply that look-ahead found against the policy's own).
    """

    chosen: tuple[Demonstration, ...]
    rejected: tuple[Demonstration, ...]  # as `chosen`: one reply, or for `trajectory` one per decision, whose numbers may differ
    kind: Literal["decision", "hindsight", "trajectory", "lookahead"]
    provenance: tuple[str, str, int]  # ids of the two episodes, and the decision; for the records only

    @classmethod
    def of(cls, situation: Situation, chosen: np.ndarray, rejected: np.ndarray, kind: Any, provenance: tuple[str, str, int]) -> "PreferencePair":
        """Return a pair of two replies, int64[L] each, to one situation."""
        return cls((Demonstration(situation, chosen),), (Demonstration(situation, rejected),), kind, provenance)

    def __post_init__(self) -> None:
        # Equal first replies would mean that the pair begins before the decision at which the episodes part.
        assert not np.array_equal(self.chosen[0].tokens, self.rejected[0].tokens), "chosen and rejected begin with the same reply"


@dataclass(frozen=True)
class PolicySample:
    """A sampled reply with its advantage, for the policy gradient."""

    situation: Situation
    tokens: np.ndarray  # int64[L]
    logprobs: np.ndarray  # float32[L], nats, as sampled: the denominator of PPO's ratio
    advantage: float  # in units of the standard deviation over the task's samples


@dataclass(frozen=True)
class QAExample:
    """A question about one observation and the right answer, for the success detector and for the prediction of steps to go."""

    frames: np.ndarray  # uint8[F, h, w, 3], RGB
    question: str
    answer: str


@dataclass(frozen=True)
class TrainingData:
    """Everything that one cycle, or the warm start, trains on."""

    demonstrations: tuple[Demonstration, ...] = ()
    pairs: tuple[PreferencePair, ...] = ()
    samples: tuple[PolicySample, ...] = ()
    qa_examples: tuple[QAExample, ...] = ()
    notes: dict[str, float] = field(default_factory=dict)  # figures about the cycle's episodes, for `curate.json`

    def __bool__(self) -> bool:
        # QA examples alone would train the detector and leave the policy as it is, so they make no candidate.
        return bool(self.pairs or self.samples or any(d.weight for d in self.demonstrations))

    def __repr__(self) -> str:
        counts = (
            f"{len(self.demonstrations)} demonstrations, {len(self.pairs)} pairs, {len(self.samples)} samples, {len(self.qa_examples)} QA examples"
        )
        return f"TrainingData({counts})"


@dataclass(frozen=True)
class Rate:
    """A success rate with its interval and the number of episodes behind it."""

    rate: float  # in [0, 1], as are its limits
    low: float
    high: float  # limits of the 95 % Wilson interval (Wilson, J. Am. Stat. Assoc. 22, 1927)
    n: int

    @classmethod
    def of(cls, successes: int, n: int) -> "Rate":
        """Return the rate of `successes` out of `n` episodes, `n` at least 1."""
        interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
        return cls(successes / n, float(interval.low), float(interval.high), n)

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Rate":
        """Return the rate in a section of `summary.json`, which has further keys."""
        return cls(**{name: content[name] for name in ("rate", "low", "high", "n")})

    def __str__(self) -> str:
        return f"{100 * self.rate:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}], n = {self.n}"


@dataclass(frozen=True)
class Checkpoint:
    """The trained weights of a policy, as a file."""

    weights: Path  # safetensors: the trained tensors only, to be put into the run's base model
    name: str  # fingerprint of the weights; empty: none was recorded, and any weights are accepted


@dataclass(frozen=True)
class Scorecard:
    """The outcome of an evaluation of one policy, seed by seed."""

    policy: str  # fingerprint of its weights
    outcomes: dict[str, bool]  # success by 'task/seed'; a seed that was lost to a fault counts as failed
    effort: dict[str, tuple[int, int]] = field(default_factory=dict)  # decisions and environment steps up to the success, or to the end

    @property
    def success(self) -> Rate:
        """Return the success rate over all seeds."""
        return Rate.of(sum(self.outcomes.values()), len(self.outcomes))

    def and_also(self, other: "Scorecard") -> "Scorecard":
        """Return the joint scorecard of two evaluations of one policy; where both have a seed, that of `other` counts."""
        return Scorecard(self.policy, {**self.outcomes, **other.outcomes}, {**self.effort, **other.effort})

    def part(self, keys: Iterable[str]) -> "Scorecard":
        """Return the scorecard of some seeds, given as 'task/seed'."""
        return Scorecard(self.policy, {key: self.outcomes[key] for key in keys}, {key: self.effort[key] for key in keys if key in self.effort})
