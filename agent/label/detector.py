"""The model's own verdict on takes, and how far it can be trusted. It looks at frames and the instruction, never at reward or success.

T = decisions in an episode.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
from scipy.stats import rankdata

from agent.records import Answer, Episode, Verdict
from agent.run.labels import judged
from policies.codec import NUMBERS, REACH

CLOSE = 0.01  # metres, within which one way is as short as another
SURE = 1e-6  # opinions nearer to 0 or 1 than this count as this


@dataclass(frozen=True)
class Calibration:
    """What an opinion is worth: P(fulfilled) = sigmoid(slope x logit(opinion) + offset) (Platt, "Probabilistic outputs for SVMs", 1999)."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, opinions: np.ndarray) -> np.ndarray:
        """Return float64 probabilities of the same shape."""
        return expit(self.slope * _logit(opinions) + self.offset)


def opine(policy: Any, episodes: Sequence[Episode], question: str) -> list[np.ndarray]:
    """Return float64[T + 1] a take: how sure the policy is of its success, before the first decision and after each; not calibrated.

    Args:
        policy: a `Vlm`.
        episodes: takes.
        question: with `{instruction}`; to be answered by yes or no. A take without a decision is asked nothing, and has float64[0].
    """
    from policies.scoring import believe

    moments = [episode.frames for episode in episodes if len(episode)]
    asked = [question.replace("{instruction}", episode.instruction) for episode in episodes if len(episode)]
    told = believe(policy, [frames for own in moments for frames in own], [q for q, own in zip(asked, moments, strict=True) for _ in own])
    parts = iter(np.split(told[:, 0], np.cumsum([len(own) for own in moments])[:-1]))
    return [next(parts) if len(episode) else np.zeros(0) for episode in episodes]


@dataclass(frozen=True)
class Sight:
    """What two answers about a moment are worth together: sigmoid(word x logit(yes) + near x nearness + offset)."""

    word: float
    near: float
    offset: float

    def __call__(self, opinions: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Return float64 opinions of the same shape."""
        return expit(self.word * _logit(opinions) + self.near * near + self.offset)


def nearness(policy: Any, episodes: Sequence[Episode], question: str) -> list[np.ndarray]:
    """Return how near the policy says it is, before the first decision of each take and after each: float64[T + 1], 0 at 40 cm, 1 at it, by the log.

    Args:
        policy: a `Vlm` with number tokens.
        episodes: takes.
        question: with `{instruction}`; to be answered by a way, in three numbers as `ground` has them.
    """
    from policies.scoring import tell

    asked = [question.replace("{instruction}", episode.instruction) for episode in episodes if len(episode) for _ in episode.frames]
    told = tell(policy, [frames for episode in episodes if len(episode) for frames in episode.frames], asked, 3)
    way = np.linalg.norm(2 * REACH * (told / (NUMBERS - 1) - 0.5), axis=1)
    near = 1 - np.log1p(way / CLOSE) / np.log1p(REACH / CLOSE)
    parts = iter(np.split(near, np.cumsum([len(episode.frames) for episode in episodes if len(episode)])[:-1]))
    return [next(parts) if len(episode) else np.zeros(0) for episode in episodes]


def sight(opinions: Sequence[np.ndarray], near: Sequence[np.ndarray], episodes: Sequence[Episode]) -> Sight:
    """Return the most likely weights of both answers: a logistic regression on all moments of demonstrations, yes and no weighing alike.

    Args:
        opinions: N of float64[T + 1], of yes.
        near: N of float64[T + 1].
        episodes: N takes whose success is known; of one that lost it again, what comes after that moment is left out. Where all moments are alike
            nearness counts nothing.
    """
    first = [len(e.frames) if e.first_success is None else e.first_success + 1 for e in episodes]
    known = np.concatenate([(np.arange(len(e.frames)) <= hit) | e.success_at_end for e, hit in zip(episodes, first, strict=True)])
    fulfilled = np.concatenate([np.arange(len(e.frames)) >= hit for e, hit in zip(episodes, first, strict=True)])[known]
    if fulfilled.all() or not fulfilled.any():
        return Sight(1.0, 0.0, 0.0)
    answers_M2 = np.stack([_logit(np.concatenate(opinions)), np.concatenate(near)], axis=1)[known]
    middle, spread = answers_M2.mean(0), answers_M2.std(0) + 1e-9
    x_M3 = np.c_[(answers_M2 - middle) / spread, np.ones(len(fulfilled))]
    weight = np.where(fulfilled, 0.5 / fulfilled.sum(), 0.5 / (~fulfilled).sum())

    def cost(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = x_M3 @ weights
        ridge = 1e-3 * np.array([weights[0], weights[1], 0.0])  # keeps what tells all moments apart finite
        return float(weight @ (np.logaddexp(0, z) - fulfilled * z) + ridge @ weights), x_M3.T @ (weight * (expit(z) - fulfilled)) + 2 * ridge

    word, close, offset = minimize(cost, np.zeros(3), jac=True, method="BFGS").x
    return Sight(word / spread[0], close / spread[1], offset - word * middle[0] / spread[0] - close * middle[1] / spread[1])


def _logit(opinions: np.ndarray) -> np.ndarray:
    return logit(np.clip(opinions, SURE, 1 - SURE))


def calibrate(opinions: np.ndarray, truth: np.ndarray) -> Calibration:
    """Return the most likely calibration, with Platt's targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2), which keep it finite.

    Args:
        opinions: float64[N].
        truth: bool[N]; where all are alike nothing can be learnt, and opinions are taken as they are.
    """
    if truth.all() or not truth.any():
        return Calibration()
    right, wrong = int(truth.sum()), int((~truth).sum())
    target, x = np.where(truth, (right + 1) / (right + 2), 1 / (wrong + 2)), _logit(opinions)

    def cost(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = weights[0] * x + weights[1]
        error = expit(z) - target
        return -float(np.mean(target * log_expit(z) + (1 - target) * log_expit(-z))), np.array([np.mean(error * x), np.mean(error)])

    slope, offset = minimize(cost, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return Calibration(float(slope), float(offset))


def peaks(told: Sequence[np.ndarray], episodes: Sequence[Episode], lasting: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest opinion of each take before its success, if it has one, and the highest from there on: what a verdict goes by.

    One moment that says yes is enough for a whole take, so that what is calibrated on single moments believes too many takes.

    Args:
        told: N of float64[T + 1], before the first decision and after each.
        episodes: N takes whose success is known.
        lasting: False: not the highest from the success on, but the opinion at it. An oracle that stays where it is done is nearer there than a
            policy that passes by.

    Returns:
        float64[M] opinions, and bool[M], which of them are of a success.
    """
    ends = [len(each) if e.first_success is None else e.first_success + 1 for e, each in zip(episodes, told, strict=True)]
    no = [each[:end].max() for each, end in zip(told, ends, strict=True)]
    yes = [each[end:].max() if lasting else each[end] for each, end in zip(told, ends, strict=True) if end < len(each)]
    return np.array(no + yes), np.arange(len(no) + len(yes)) >= len(no)


def quality(probability: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return how good a critic is, on takes that it was not calibrated on.

    Returns:
        `balanced_accuracy` at 0.5; `auroc`, the chance that a fulfilled take is rated above one that is not (ties count half); `brier`, the mean
        squared error; `calibration_error`, the mean gap between rate and probability over ten bins, weighted by their takes; and the confusion
        matrix as counts. What a class is needed for and is not there is left out.
    """
    yes, right, wrong = probability >= 0.5, int(truth.sum()), int((~truth).sum())
    counts = {"true_yes": yes & truth, "false_yes": yes & ~truth, "true_no": ~yes & ~truth, "false_no": ~yes & truth}
    figures = {name: float(each.sum()) for name, each in counts.items()}
    figures["brier"] = float(((probability - truth) ** 2).mean())
    bins = np.minimum((probability * 10).astype(int), 9)
    gaps = [abs(float((probability[bins == i] - truth[bins == i]).sum())) for i in range(10)]
    figures["calibration_error"] = sum(gaps) / len(truth)
    if right and wrong:
        figures["balanced_accuracy"] = (figures["true_yes"] / right + figures["true_no"] / wrong) / 2
        figures["auroc"] = float((rankdata(probability)[truth].sum() - right * (right + 1) / 2) / (right * wrong))
    return figures


def verdict(probability_T: np.ndarray) -> Verdict:
    """Return what is to be said of a take, from the calibrated probability after each decision (or at the end alone)."""
    best, count = int(probability_T.argmax()), len(probability_T)
    chance = float(probability_T[best])
    if count == 1:
        return Verdict(chance, f"{'fulfilled' if chance >= 0.5 else 'not fulfilled'} at the end ({chance:.0%})")
    if chance >= 0.5:
        return Verdict(chance, f"fulfilled at decision {int((probability_T >= 0.5).argmax()) + 1} of {count} ({chance:.0%})")
    lost = ", lost again after that" if best + 1 < count and probability_T[-1] < 0.5 * chance else ""
    return Verdict(chance, f"not fulfilled; nearest to it at decision {best + 1} of {count} ({chance:.0%}){lost}")


def as_judged(episode: Episode, probability_T1: np.ndarray, reward_T1: np.ndarray | None = None) -> Episode:
    """Return a take as the critic sees it: it succeeded and ended where the probability reaches one half; its rewards are that, or what is given.

    Nothing of the environment's reward or success is left in it, so nothing of that can reach a lesson. The take on disk stays as it was.

    Args:
        episode: at least one decision.
        probability_T1: float64[T + 1], calibrated, before the first decision and after each.
        reward_T1: float64[T + 1], where a probability says too little of how near to success a moment is.
    """
    reward_T1 = probability_T1 if reward_T1 is None else reward_T1
    reached = np.flatnonzero(probability_T1[1:] >= 0.5)
    hit = int(reached[0]) if len(reached) else None
    return judged(episode, np.stack([reward_T1[:-1], reward_T1[1:]], axis=1).astype(np.float32), hit)


def as_seen(episode: Episode, probability_T1: np.ndarray) -> Episode:
    """Return a take with the critic's probabilities for rewards; success stays the environment's.

    Args:
        episode: at least one decision.
        probability_T1: float64[T + 1], calibrated, before the first decision and after each.
    """
    return replace(episode, rewards=np.stack([probability_T1[:-1], probability_T1[1:]], axis=1).astype(np.float32))


def num_rewards(episode: Episode) -> int:
    """Return how many different rewards a take met, but for that of success, which says no more than success does."""
    rewards = episode.rewards[~np.isnan(episode.rewards)]
    return len(set((rewards[:-1] if episode.success else rewards).tolist()))


def answers(episodes: Sequence[Episode], question: str, count: int, rng: np.random.Generator) -> list[Answer]:
    """Return lessons for the critic itself, as many yes as no.

    Yes: a success, and what follows where a take goes on and is successful at its end. No, a third each as far as there are so many: moments before
    a success; moments of takes without one; and, where the environment says what has been achieved, successes of which something else is asked that
    has not, namely what another take was told to do.

    Args:
        episodes: takes whose success is known.
        question: with `{instruction}`.
        count: of lessons at most.
        rng: of the draws.
    """
    yes, before, failed, other = [], [], [], []
    instructions = sorted({episode.instruction for episode in episodes})
    for episode in (each for each in episodes if len(each) and not each.faults):
        asked, hit, frames = question.replace("{instruction}", episode.instruction), episode.first_success, episode.frames
        if hit is None:
            failed += [Answer(each, asked, "no") for each in frames]
            continue
        done = frames[hit + 1 :] if episode.success_at_end else frames[hit + 1 : hit + 2]
        before += [Answer(each, asked, "no") for each in frames[: hit + 1]]
        yes += [Answer(each, asked, "yes") for each in done]
        unasked = [each for each in instructions if each not in (episode.instruction, *episode.achieved)]
        if unasked and episode.achieved:  # else another wording of the same may be among them
            drawn = rng.integers(len(unasked), size=len(done))
            other += [Answer(each, question.replace("{instruction}", unasked[i]), "no") for each, i in zip(done, drawn, strict=True)]
    few = min(len(yes), len(before) + len(failed) + len(other), count // 2)
    no = evenly((before, failed, other), few, rng)
    return evenly((yes,), few, rng) + no


def evenly(kinds: Collection[Sequence[Answer]], count: int, rng: np.random.Generator) -> list[Answer]:
    """Return up to `count` lessons, as many of each kind as can be: what the rarer ones leave is shared by the others."""
    told: list[Answer] = []
    for left, own in zip(range(len(kinds), 0, -1), sorted(kinds, key=len), strict=True):
        told += [own[i] for i in sorted(rng.permutation(len(own))[: (count - len(told)) // left])]
    return told
