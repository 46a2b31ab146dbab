"""What a success detector's word is worth: probabilities from its opinions, and how often it is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
from scipy.stats import rankdata

from agent.records import Episode

SURE = 1e-6  # opinions nearer to 0 or 1 than this count as this


@dataclass(frozen=True)
class Calibration:
    """What an opinion is worth: P(fulfilled) = sigmoid(slope x logit(opinion) + offset) (Platt, "Probabilistic outputs for SVMs", 1999)."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, opinions: np.ndarray) -> np.ndarray:
        """Return float64 probabilities of the same shape."""
        return expit(self.slope * _logit(opinions) + self.offset)


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


@dataclass(frozen=True)
class Sight:
    """What two answers about a moment are worth together: sigmoid(word x logit(yes) + near x nearness + offset)."""

    word: float
    near: float
    offset: float

    def __call__(self, opinions: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Return float64 opinions of the same shape."""
        return expit(self.word * _logit(opinions) + self.near * near + self.offset)


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
