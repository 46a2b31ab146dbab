"""From the raw scores of a success detector to probabilities, and how good these probabilities are.

T = decisions in an episode, N = rows of a regression, D = its columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import rankdata

from agent.records import Episode

EPSILON = 1e-6  # scores are clipped to [EPSILON, 1 - EPSILON]: the logit of 0 or 1 is infinite


@dataclass(frozen=True)
class Calibration:
    """A map from scores to probabilities: P(success) = sigmoid(slope x logit(score) + offset).

    Platt scaling ("Probabilistic outputs for support vector machines", 1999), with the logit of the score in place of a margin.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return float64 probabilities of the same shape."""
        return expit(self.slope * _logit(scores) + self.offset)


def calibrate(scores: np.ndarray, truth: np.ndarray) -> Calibration:
    """Return the maximum-likelihood calibration; the identity where `truth` has one class only, of which nothing can be fitted.

    Args:
        scores: float64[N].
        truth: bool[N], which of them are of a success.
    """
    if truth.all() or not truth.any():
        return Calibration()
    positives, negatives = int(truth.sum()), int((~truth).sum())
    # Platt's targets, the means of a uniform prior updated by the counts. With targets 0 and 1 separable scores would have an infinite slope.
    targets = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x_N2 = np.stack([_logit(scores), np.ones(len(scores))], axis=1)
    slope, offset = logistic_regression(x_N2, targets, np.full(len(scores), 1 / len(scores)), np.array([1.0, 0.0]), np.zeros(2))  # from the identity
    return Calibration(float(slope), float(offset))


@dataclass(frozen=True)
class CombinedScore:
    """One score of two answers about the same frames: sigmoid(word x logit(score) + proximity x (proximity answer) + offset)."""

    word: float  # coefficient of the yes-or-no answer
    proximity: float  # coefficient of the answer to the distance question (`detector.proximity`)
    offset: float

    def __call__(self, scores: np.ndarray, proximity: np.ndarray) -> np.ndarray:
        """Return float64 scores of the same shape."""
        return expit(self.word * _logit(scores) + self.proximity * proximity + self.offset)


def combine(scores: Sequence[np.ndarray], proximity: Sequence[np.ndarray], episodes: Sequence[Episode]) -> CombinedScore:
    """Return the combination that best separates success from its absence: a logistic regression on all frames, both classes weighing alike.

    Args:
        scores: N of float64[T + 1], P(yes) before the first decision and after each.
        proximity: N of float64[T + 1], as `detector.proximity` returns it.
        episodes: N episodes whose success is known. Frames after a success that did not last are left out: their class is not known.

    Returns:
        The combination; the scores alone where all frames are of one class.
    """
    first = [len(e.frames) if e.first_success is None else e.first_success + 1 for e in episodes]  # index of the first frame of success
    known = np.concatenate([(np.arange(len(e.frames)) <= start) | e.success_at_end for e, start in zip(episodes, first, strict=True)])
    # `known` leaves out what follows a success that was lost: when it was lost is not recorded.
    fulfilled = np.concatenate([np.arange(len(e.frames)) >= start for e, start in zip(episodes, first, strict=True)])[known]
    if fulfilled.all() or not fulfilled.any():
        return CombinedScore(1.0, 0.0, 0.0)
    answers_M2 = np.stack([_logit(np.concatenate(scores)), np.concatenate(proximity)], axis=1)[known]
    mean, spread = answers_M2.mean(0), answers_M2.std(0) + 1e-9  # standardised, so that the ridge shrinks both coefficients alike
    x_M3 = np.c_[(answers_M2 - mean) / spread, np.ones(len(fulfilled))]
    weights = np.where(fulfilled, 0.5 / fulfilled.sum(), 0.5 / (~fulfilled).sum())  # frames of success are far fewer than others
    ridge = np.array([1e-3, 1e-3, 0.0])  # none on the offset; keeps the coefficients of separable answers finite
    yes, near, offset = logistic_regression(x_M3, fulfilled, weights, np.zeros(3), ridge)
    # Coefficients of the answers as they are, no longer standardised.
    return CombinedScore(yes / spread[0], near / spread[1], offset - yes * mean[0] / spread[0] - near * mean[1] / spread[1])


def logistic_regression(x_ND: np.ndarray, targets: np.ndarray, weights: np.ndarray, start: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """Return float64[D] coefficients w: the minimum of the weighted cross-entropy of sigmoid(x w) plus sum_d ridge_d w_d^2, found by BFGS.

    Args:
        x_ND: float64[N, D]; a column of ones gives an offset.
        targets: float[N] in [0, 1], or bool[N].
        weights: float64[N], adding up to 1, so that BFGS's tolerance means the same for any N.
        start: float64[D], where the search begins.
        ridge: float64[D], not negative; 0 leaves a coefficient free.
    """

    def cost(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x_ND @ w
        # -t log sigmoid(z) - (1 - t) log sigmoid(-z) = log(1 + e^z) - t z, which does not overflow; and its gradient.
        entropy = weights @ (np.logaddexp(0, z) - targets * z)
        return float(entropy + (ridge * w) @ w), x_ND.T @ (weights * (expit(z) - targets)) + 2 * ridge * w

    # The cost is convex: the start decides how many iterations it takes, not where it ends.
    return minimize(cost, start, jac=True, method="BFGS").x


def _logit(scores: np.ndarray) -> np.ndarray:
    return logit(np.clip(scores, EPSILON, 1 - EPSILON))


def peaks(told: Sequence[np.ndarray], episodes: Sequence[Episode], lasting: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest score of each episode without success so far, and the highest from its success on, with the class of each.

    A detector calls an episode successful as soon as one frame is, so it decides by maxima. Maxima of many frames are higher than single scores:
    calibrated on single frames, it would call too many episodes successful.

    Args:
        told: N of float64[T + 1], scores before the first decision and after each.
        episodes: N episodes whose success is known.
        lasting: True: the highest score from the success on. False: the score at the success. An oracle that stays at the goal comes nearer to it
            than a policy that passes by, so with distances the later frames of a demonstration would set the bar too high.

    Returns:
        float64[M] scores, N of them without success, and bool[M], which of them are of a success.
    """
    # Frame t + 1 is the one after decision t. All frames of a failed episode count as before a success.
    first = [len(each) if e.first_success is None else e.first_success + 1 for e, each in zip(episodes, told, strict=True)]
    without = [each[:start].max() for each, start in zip(told, first, strict=True)]
    success = [each[start:].max() if lasting else each[start] for each, start in zip(told, first, strict=True) if start < len(each)]
    return np.array(without + success), np.arange(len(without) + len(success)) >= len(without)


def quality(probability: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return how good a detector is on episodes that it was not calibrated on.

    Args:
        probability: float64[N], of success.
        truth: bool[N].

    Returns:
        `true_yes`, `false_yes`, `true_no`, `false_no`: the confusion matrix at 0.5, as counts. `brier`: the mean squared error. `calibration_error`:
        the mean gap between success rate and probability over ten bins, weighted by their counts. Where both classes occur also
        `balanced_accuracy`, and `auroc`, the probability that a success is rated above a failure (ties count half).
    """
    yes, positives, negatives = probability >= 0.5, int(truth.sum()), int((~truth).sum())
    counts = {"true_yes": yes & truth, "false_yes": yes & ~truth, "true_no": ~yes & ~truth, "false_no": ~yes & truth}
    figures = {name: float(each.sum()) for name, each in counts.items()}
    figures["brier"] = float(((probability - truth) ** 2).mean())
    bins = np.minimum((probability * 10).astype(int), 9)  # a probability of 1 belongs to the last bin
    gaps = [abs(float((probability[bins == i] - truth[bins == i]).sum())) for i in range(10)]
    figures["calibration_error"] = sum(gaps) / len(truth)  # a sum over a bin is its mean gap times its count
    if positives and negatives:
        figures["balanced_accuracy"] = (figures["true_yes"] / positives + figures["true_no"] / negatives) / 2
        # The Mann-Whitney U statistic over the number of pairs; ranks of ties are averaged.
        figures["auroc"] = float((rankdata(probability)[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))
    return figures
