"""What passes between the stages: plain frozen records.

T = decisions in an episode, H = actions per decision (chunk), A = action dimensions, L = tokens of a reply, F = frames of a
moment (cameras x history), h and w = height and width in pixels, S = size of the proprioceptive state.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

from policies.policy import Situation

SEEDS = {"practice": 0, "demonstrations": 10_000_000, "gate": 20_000_000, "final": 30_000_000, "ground": 40_000_000}  # ranges of 10 million


@dataclass(frozen=True)
class Job:
    """One attempt to make."""

    seed: int
    take: int = 0
    noise: tuple[int, ...] | None = None
    """Seed of the sampling noise; None decides greedily. A guided take decides greedily, too, and wanders by it."""
    kind: int = 0
    """Which of the run's environments."""
    foresight: int = 0
    """Candidates that are tried before each decision of a guided take; 0: the policy's own decision is carried out."""
    wander: float = 0.0
    """Share of a guided take's decisions at which the policy's own is carried out all the same."""


@dataclass(frozen=True)
class Episode:
    """One take: what was seen, decided and reported. Observations have T + 1 entries, the rest T (as in Minari)."""

    task: str
    """Environment id."""
    seed: int
    """Of the environment's reset; -1 where a stored dataset does not say it."""
    take: int
    """Which attempt at this seed, counted from 0, on in later cycles; a greedy or scripted attempt is take 0."""
    policy: str
    """Who acted: 'oracle', or the hash of the weights."""
    instruction: str
    frames: np.ndarray
    """uint8[T + 1, F, h, w, 3], RGB; the last is what was seen in the end."""
    actions: np.ndarray
    """float32[T, H, A], as executed, in the environment's units: frames and rewards are what came of these."""
    tokens: np.ndarray
    """int64[T, L], the replies exactly as sampled; of a guided or disturbed take those that are taught."""
    logprobs: np.ndarray
    """float32[T, L], nats, at the sampling temperature; zeros for a scripted policy."""
    rewards: np.ndarray
    """float32[T, H x action_repeat], one an environment step; NaN for steps that the episode's end cut off."""
    success: bool
    """Whether the environment reported success at any moment; never overwritten by a critic."""
    first_success: int | None
    """Decision at which it did first."""
    success_at_end: bool
    """Whether it did so in the last state too; not so where a thing was reached and lost again."""
    terminated: bool
    truncated: bool
    achieved: tuple[str, ...] = ()
    """Instructions that the last state fulfils, where the environment names them."""
    unasked: tuple[str, int] | None = None
    """The first instruction but its own that it fulfilled on the way, and the decision at which it did, where the environment names them."""
    states: np.ndarray | None = None
    """float32[T + 1, S], proprioception."""
    rivals: np.ndarray | None = None
    """int64[T, L], of a guided take: what the policy wanted to do at each moment."""
    margins: np.ndarray | None = None
    """float32[T], how much more would be earned by what is taught than by that, one decision deep; 0: both are the same."""
    faults: tuple[str, ...] = ()
    """What went wrong in the environment, in words; such an episode teaches nothing."""
    taught: np.ndarray | None = None
    """float32[T, H, A], what `tokens` say, where other actions were executed at some decision: guided takes that wander, disturbed experts."""

    def __post_init__(self) -> None:
        count = len(self.actions)
        assert len(self.frames) == count + 1, f"{len(self.frames)} frames for {count} decisions"
        assert len(self.tokens) == len(self.logprobs) == len(self.rewards) == count, "one entry a decision"
        assert self.rivals is None or (self.margins is not None and len(self.rivals) == len(self.margins) == count), "and one rival"
        assert self.taught is None or self.taught.tobytes() != self.actions.tobytes(), "taught is None where it is what was executed"
        assert (self.first_success is not None) == self.success, "first_success goes with success"

    def __len__(self) -> int:
        return len(self.actions)

    def __repr__(self) -> str:
        end = "success" if self.success else "failure"
        return f"Episode({self.id}, {end}, {len(self)} decisions, frames{self.frames.shape})"

    @property
    def id(self) -> str:
        """Return a name that no other episode of the same policy has: task/seed/take."""
        return f"{self.task}/{self.seed}/{self.take}"

    @property
    def total_reward(self) -> float:
        """Return the sum of the rewards of all executed steps."""
        return float(np.nansum(self.rewards))

    @property
    def closing(self) -> np.ndarray:
        """Return float32[T]: the reward of the last executed step of each decision."""
        last = (~np.isnan(self.rewards)).sum(1) - 1
        return self.rewards[np.arange(len(self)), last]

    @property
    def targets(self) -> np.ndarray:
        """Return float32[T, H, A]: the actions to imitate, `taught` or else those executed."""
        return self.actions if self.taught is None else self.taught

    @property
    def end(self) -> int:
        """Return the number of its decisions up to its success, or of all, if it has none."""
        return len(self) if self.first_success is None else self.first_success + 1

    def situation(self, t: int) -> Situation:
        """Return what the policy saw at decision `t`."""
        return Situation(self.instruction, self.frames[t], None if self.states is None else self.states[t])


@dataclass(frozen=True)
class Verdict:
    """What a critic thinks of an episode."""

    probability: float
    """That the instruction was fulfilled."""
    critique: str
    """Why, in words."""


@dataclass(frozen=True)
class Label:
    """What an episode is worth."""

    total_reward: float
    success: bool
    by: Literal["env", "critic"] = "env"
    """Whose word `success` is."""
    verdict: Verdict | None = None
    hindsight: str | None = None
    """An instruction that the episode fulfilled without having been asked to."""

    @classmethod
    def of(cls, episode: Episode, by: Literal["env", "critic"] = "env", verdict: Verdict | None = None) -> "Label":
        """Return the label of an episode, as the environment reported it or as the critic sees it (`by` says which)."""
        return cls(episode.total_reward, episode.success, by, verdict, episode.unasked and episode.unasked[0])


@dataclass(frozen=True)
class Demonstration:
    """A reply to be imitated: a good one, or one that is told to be bad (`Situation.advantage`)."""

    situation: Situation
    tokens: np.ndarray
    """int64[L]."""
    weight: float = 1.0
    """Of its log-likelihood in the loss."""


def decisions(episode: Episode) -> list[Demonstration]:
    """Return an episode's decisions up to its success (all, if it has none) as demonstrations."""
    return [Demonstration(episode.situation(t), episode.tokens[t]) for t in range(episode.end)]


@dataclass(frozen=True)
class PreferencePair:
    """Two replies to one situation, one better; or all that two takes replied from the decision on at which they part."""

    chosen: tuple[Demonstration, ...]
    rejected: tuple[Demonstration, ...]
    """One reply each, to one situation; or one a decision."""
    kind: Literal["fork", "hindsight", "trajectory", "lookahead"]
    """Where it comes from: the fork of two takes, a relabelled take, two whole takes, what a guided take found better than the policy's own."""
    provenance: tuple[str, str, int]
    """Ids of the two episodes, and the decision."""

    @classmethod
    def of(cls, situation: Situation, chosen: np.ndarray, rejected: np.ndarray, kind: Any, provenance: tuple[str, str, int]) -> "PreferencePair":
        """Return a pair of two replies, int64[L] each, to one situation."""
        return cls((Demonstration(situation, chosen),), (Demonstration(situation, rejected),), kind, provenance)

    def __post_init__(self) -> None:
        assert not np.array_equal(self.chosen[0].tokens, self.rejected[0].tokens), "chosen and rejected begin with the same reply"


@dataclass(frozen=True)
class Trial:
    """A sampled reply and how much better it turned out than expected: food of the policy gradient."""

    situation: Situation
    tokens: np.ndarray
    """int64[L]."""
    logprobs: np.ndarray
    """float32[L], nats, when it was sampled."""
    advantage: float
    """In units of the batch's standard deviation."""


@dataclass(frozen=True)
class Answer:
    """What should be said of a moment: food of the critic."""

    frames: np.ndarray
    """uint8[F, h, w, 3], RGB."""
    question: str
    answer: str


@dataclass(frozen=True)
class Lessons:
    """All that a cycle has to teach."""

    demonstrations: tuple[Demonstration, ...] = ()
    pairs: tuple[PreferencePair, ...] = ()
    trials: tuple[Trial, ...] = ()
    answers: tuple[Answer, ...] = ()
    notes: dict[str, float] = field(default_factory=dict)
    """Figures about how they were made, for the records."""

    def __bool__(self) -> bool:
        return bool(self.pairs or self.trials or any(d.weight for d in self.demonstrations))

    def __repr__(self) -> str:
        counts = f"{len(self.demonstrations)} demonstrations, {len(self.pairs)} pairs, {len(self.trials)} trials, {len(self.answers)} answers"
        return f"Lessons({counts})"


@dataclass(frozen=True)
class Rate:
    """A success rate that never goes without its n and its interval."""

    rate: float
    low: float
    high: float
    """95 % Wilson interval (Wilson 1927)."""
    n: int

    @classmethod
    def of(cls, successes: int, n: int) -> "Rate":
        """Return the rate of `successes` out of `n`."""
        interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
        return cls(successes / n, float(interval.low), float(interval.high), n)

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Rate":
        """Return the rate that a part of `summary.json` holds."""
        return cls(**{name: content[name] for name in ("rate", "low", "high", "n")})

    def __str__(self) -> str:
        return f"{100 * self.rate:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}], n = {self.n}"


@dataclass(frozen=True)
class Player:
    """A policy on disk."""

    weights: Path
    name: str
    """Fingerprint of these weights; empty: none was recorded, and any are taken."""


@dataclass(frozen=True)
class Scorecard:
    """How a policy did at an exam."""

    policy: str
    outcomes: dict[str, bool]
    """Success by 'task/seed'."""
    effort: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Decisions and environment steps up to the success, or to the end, by 'task/seed'; older evaluations did not keep it."""

    @property
    def success(self) -> Rate:
        """Return the success rate over all seeds."""
        return Rate.of(sum(self.outcomes.values()), len(self.outcomes))

    def and_also(self, other: "Scorecard") -> "Scorecard":
        """Return the scorecard of both evaluations of one policy together."""
        return Scorecard(self.policy, {**self.outcomes, **other.outcomes}, {**self.effort, **other.effort})

    def part(self, keys: Iterable[str]) -> "Scorecard":
        """Return the scorecard of these seeds alone."""
        return Scorecard(self.policy, {key: self.outcomes[key] for key in keys}, {key: self.effort[key] for key in keys if key in self.effort})
