"""Looks at all actions of a dataset before any is imitated: ranges, numbers with two values, decisions that do nothing, and what the codec loses.

N = recorded actions of all episodes; T, H, A as in `records`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agent.records import Episode

FEW = 8  # recorded actions from which on it means something that a number has two values only
NEAR = 0.01  # share of a number's range: nearer values are the same (a gripper's 0.998 and 1), and smaller actions do nothing
LOST = 0.25  # share of a standard deviation, from which on a sentence says that the codec loses it
END = 0.1  # share of the environment's range: who comes so near to its end uses all of that half
EPSILON = 1e-9


@dataclass(frozen=True)
class Survey:
    """Of all recorded actions, number by number; each field is float64[A], if nothing else is said."""

    low: np.ndarray
    high: np.ndarray
    q01: np.ndarray
    q99: np.ndarray
    middle: np.ndarray
    """Between the two values of a number that has two only, as that of a gripper; NaN for other numbers."""
    outliers: np.ndarray
    """bool[A], numbers that vary, but of which a few actions lie a hundred times further away than all others; the quantiles leave these out."""

    @classmethod
    def of(cls, actions: Sequence[np.ndarray]) -> "Survey":
        """Return the survey of float[n, A] actions of each episode, at least one of which has a row; all numbers must be finite."""
        actions_NA = np.concatenate(actions).astype(np.float64)
        low, high = actions_NA.min(0), actions_NA.max(0)
        near = NEAR * (high - low)
        # Of fewer than 100 actions too, the smallest and the largest one lie outside of these.
        first, last = np.quantile(actions_NA, 0.01, axis=0, method="higher"), np.quantile(actions_NA, 0.99, axis=0, method="lower")
        outliers = (last - first <= near) & (high > low)
        for i in np.flatnonzero(outliers):  # a gripper that is seldom used has few other values, as 0.998 and 1
            outliers[i] = len(np.unique(actions_NA[:, i].clip(first[i], last[i]))) >= FEW
        q01, q99 = np.where(outliers, (first, last), np.quantile(actions_NA, (0.01, 0.99), axis=0))
        # A constant number is no two-valued one, and a few rows prove nothing.
        two = ((actions_NA <= low + near) | (actions_NA >= high - near)).all(0) & (high > low) & ~outliers & (len(actions_NA) >= FEW)
        return cls(low, high, q01, q99, np.where(two, (low + high) / 2, np.nan), outliers)

    @property
    def two_valued(self) -> np.ndarray:
        """Return bool[A]."""
        return ~np.isnan(self.middle)

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """Return what `env.action_bounds: quantiles` stands for: A pairs of the 1st and the 99th percentile.

        As in OpenVLA and openpi, but with all of the range where that would keep one value alone: two-valued numbers, and rare movements.
        """
        whole = self.two_valued | (self.q99 - self.q01 <= NEAR * (self.high - self.low)) & ~self.outliers
        return tuple(zip(np.where(whole, self.low, self.q01).tolist(), np.where(whole, self.high, self.q99).tolist(), strict=True))

    def used(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return float64[A], the share of each number's range from `low` to `high` that lies between the smallest and the largest action."""
        overlap = np.minimum(self.high, high) - np.maximum(self.low, low)
        return np.clip(overlap / np.maximum(high - low, EPSILON), 0, 1)

    def beyond(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return bool[A], the numbers that leave the range from `low` to `high`, by the quantiles: a few outliers do not mean other units."""
        margin = NEAR * np.maximum(high - low, EPSILON)  # rounding at the border is no other convention
        return (self.q01 < low - margin) | (self.q99 > high + margin)

    def elsewhere(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return bool[A], the two-valued numbers whose values are not the ends of the range from `low` to `high`, as those of a gripper should be."""
        margin = 5 * NEAR * np.maximum(high - low, EPSILON)  # 5 % of the range, since a gripper may stop short of its ends
        return self.two_valued & ((np.abs(self.low - low) > margin) | (np.abs(self.high - high) > margin))

    def held(self, actions_nA: np.ndarray, counts_A: np.ndarray) -> np.ndarray:
        """Return float64[A], the one action that stands for n successive ones.

        The mean is the nearest constant action, and keeps the sum of displacements. Labels have no mean: a discrete number has the first one, which
        was chosen in the state that the frame shows, and a two-valued number has the value of the majority, or of the first in a tie.
        """
        up_nA = actions_nA > self.middle  # False throughout where the middle is NaN
        share_A = up_nA.mean(0)
        side_A = np.where(share_A == 0.5, up_nA[0], share_A > 0.5)
        first_A = actions_nA[(up_nA == side_A).argmax(0), np.arange(actions_nA.shape[1])]  # the first value on the side of the majority
        return np.where(counts_A > 0, actions_nA[0], np.where(self.two_valued, first_A, actions_nA.mean(0)))

    def idle(self, targets_THA: np.ndarray, counts_A: np.ndarray, states: np.ndarray | None) -> np.ndarray:
        """Return bool[T], the decisions that do nothing.

        All continuous numbers are near 0 (measured by the largest of the dataset) and two-valued ones as before, while the state does not move; or
        the action is as before, and so is the state. Without a state that ever changes there are none: absolute targets may be 0 on the way there.

        Args:
            targets_THA: actions to imitate.
            counts_A: number of values of a discrete number, 0 where it is continuous.
            states: float[T + 1, S]; None: not known.
        """
        moving_A = (counts_A == 0) & ~self.two_valued & (self.high > self.low)  # numbers whose 0 may mean rest: neither labels nor constants
        range_S = np.zeros(0) if states is None else states.max(0) - states.min(0)
        if states is None or not range_S.any() or not moving_A.any():  # with labels alone nothing says that the robot rests
            return np.zeros(len(targets_THA), bool)
        low_A, high_A = np.array(self.bounds).T  # by the quantiles, since beside one glitch all other actions are near 0
        size_A = np.maximum(np.abs(low_A), np.abs(high_A))
        before_TA = np.concatenate([targets_THA[:1, 0], targets_THA[:-1, -1]])  # of the first decision: its own
        same_THA = np.abs(targets_THA - before_TA[:, None]) <= NEAR * (high_A - low_A) + EPSILON
        still_T = (np.abs(targets_THA) <= NEAR * size_A)[..., moving_A].all((1, 2)) & same_THA[..., ~moving_A].all((1, 2))
        # Smaller changes are noise: a thousandth of the range in this episode, or less where a number of the state is noise alone.
        near_S = np.maximum(1e-3 * range_S, 1e-4 * range_S.max(initial=0)) + EPSILON
        stays_T = (np.abs(np.diff(states, axis=0)) <= near_S).all(1)
        return np.asarray(stays_T & (still_T | same_THA.all((1, 2))))


def without(episode: Episode, idle_T: np.ndarray) -> Episode:
    """Return an episode without those decisions, and without the observation before each; its success and at least one decision stay."""
    keep = ~idle_T
    keep[len(keep) - 1 if episode.first_success is None else episode.first_success] = True
    if keep.all():
        return episode
    observations = np.concatenate([keep, [True]])  # there is one more observation than decisions, and the last one stays
    cut = {name: getattr(episode, name)[keep] for name in ("actions", "tokens", "logprobs", "rewards")}
    # Their rewards are added to the next decision that is kept, or to the last one: the episode's total stays.
    joined = np.minimum(np.searchsorted(np.flatnonzero(keep), np.flatnonzero(~keep)), int(keep.sum()) - 1)
    cut["rewards"][:, 0] += np.bincount(joined, np.nansum(episode.rewards[~keep], 1), int(keep.sum()))
    cut |= {"target_actions": None if episode.target_actions is None else episode.target_actions[keep]}
    if cut["target_actions"] is not None and cut["target_actions"].tobytes() == cut["actions"].tobytes():
        cut["target_actions"] = None  # as `records` demands where the targets are what was executed
    first = None if episode.first_success is None else int(keep[: episode.first_success].sum())  # its place among the decisions that are kept
    states = None if episode.states is None else episode.states[observations]
    return replace(episode, frames=episode.frames[observations], states=states, first_success=first, **cut)


def codec_loss(targets: Sequence[np.ndarray], codec: Any) -> np.ndarray:
    """Return float64[A] from 0 to 1: the root mean square error of encoded actions as a share of their standard deviation; 0 where nothing varies.

    Both are of the actions within `Survey.bounds`: a single glitch would be most of the standard deviation.

    Args:
        targets: float32[T, H, A] actions of each episode.
        codec: a `policies.codec.Codec`.
    """
    actions_NA = np.concatenate([each.reshape(-1, each.shape[-1]) for each in targets]).astype(np.float64)
    actions_NA = actions_NA.clip(*np.array(Survey.of([actions_NA]).bounds).T)
    error_A = np.sqrt(((codec.nearest(actions_NA) - actions_NA) ** 2).mean(0))
    spread_A = actions_NA.std(0)
    return np.where(spread_A > EPSILON, np.minimum(error_A / np.maximum(spread_A, EPSILON), 1), 0.0)


def numbers(chosen_A: np.ndarray) -> str:
    """Return 'action number 6', or 'action numbers 0, 1 and 2', for bool[A]."""
    *some, last = map(str, np.flatnonzero(chosen_A))
    return f"action number{'s' if some else ''} {', '.join(some)}{' and ' if some else ''}{last}"


def loss_sentences(loss_A: np.ndarray, told_A: np.ndarray) -> list[str]:
    """Return a sentence where the codec loses much of some numbers, else []; `told_A` are those of which `range_sentences` speaks."""
    if not (much := (loss_A > LOST) & ~told_A).any():
        return []
    worst = f"up to {100 * loss_A[much].max():.0f} %" if much.sum() > 1 else f"{100 * loss_A[much].max():.0f} %"
    remedy = "set env.action_bounds to quantiles or to a pair for each number, or raise policy.num_bins"
    return [f"The codec loses {worst} of the standard deviation of {numbers(much)} of the demonstrations; {remedy}."]


def outlier_sentences(survey: Survey) -> list[str]:
    """Return a sentence where a few actions lie far from all others, else []."""
    if not survey.outliers.any():
        return []
    index = int(survey.outliers.argmax())
    far = max(survey.low[index], survey.high[index], key=lambda end: abs(end - (survey.q01[index] + survey.q99[index]) / 2))
    usual = f"{survey.q01[index]:.4g} to {survey.q99[index]:.4g}"
    return [f"A few actions lie far from all others in {numbers(survey.outliers)}: {far:g}, beside {usual}; correct them if they are glitches."]


def range_sentences(survey: Survey, low_A: np.ndarray, high_A: np.ndarray) -> list[str]:
    """Return sentences about numbers whose range is not the environment's, from `low_A` to `high_A`, float64[A]: other units or conventions."""
    said, span_A, middle_A = [], np.maximum(high_A - low_A, EPSILON), (low_A + high_A) / 2
    margin_A = NEAR * span_A
    other = survey.elsewhere(low_A, high_A)
    # A dataset with 0 to 1, for instance, where the environment takes -1 to 1.
    upper = (survey.low >= middle_A - margin_A) & (survey.high >= high_A - END * span_A)
    lower = (survey.high <= middle_A + margin_A) & (survey.low <= low_A + END * span_A)
    half = ~other & (survey.high > survey.low) & (upper | lower)
    beyond = survey.beyond(low_A, high_A)
    for index in np.flatnonzero(other & ~beyond):  # other units would explain it already
        has, wants = f"the values {survey.low[index]:g} and {survey.high[index]:g} alone", f"{low_A[index]:g} to {high_A[index]:g}"
        said.append(f"Action number {index} has {has}, and the environment's range is {wants}; if it is a gripper, convert its values to that range.")
    if (half & ~beyond).any():
        said.append(
            f"Only one half of the environment's range is used by {numbers(half & ~beyond)}; if the convention is another, convert the values."
        )
    if beyond.any():
        said.append(f"The demonstrations go beyond the environment's range in {numbers(beyond)}; perhaps they have other units.")
    return said
