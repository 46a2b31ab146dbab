"""Looking ahead: actions are tried in a copy of the moment before one is carried out, as only a simulation allows."""

from collections.abc import Sequence

import numpy as np

from envs.adapt import Adapter
from envs.moments import Outcome
from envs.simulate.replay import restore, snapshot

FOCUS = 0.35  # of the spread of the candidates' worth: one that is worth so much less than the best weighs 1 / e


def foresee(adapter: Adapter, candidates: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return what each of N candidates would lead to.

    Args:
        adapter: stays at its moment.
        candidates: N times float32[H, A] actions.

    Returns:
        float64[N] and int64[N], rewards and ends as `came_to` tells them; a reward of -inf for a candidate that raises an error: it was only tried.
    """
    moment, rewards, ends = snapshot(adapter), [], []
    for actions in candidates:
        try:
            reward, end = came_to(adapter.step(actions, look=False))
            rewards.append(reward)
            ends.append(end)
        except (Exception, SystemExit):  # an environment may raise anything
            rewards.append(-np.inf)
            ends.append(0)
        restore(adapter, moment)
    return np.array(rewards), np.array(ends)


def came_to(outcome: Outcome) -> tuple[float, int]:
    """Return the mean of a decision's rewards, so that the way counts and not its end alone; and 1 for success, -1 for an end without, else 0."""
    return float(np.nanmean(outcome.rewards)), 1 if outcome.success else -1 if outcome.terminated else 0


def appraise(rewards: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return what candidates are worth: their rewards, higher by the range of these where they succeed, lower by it where they end in vain.

    Args:
        rewards: float64[N], of `foresee`.
        ends: int64[N], of `foresee`.

    Returns:
        float64[N], worth; by how much success adds to it; and the spread, its standard deviation, in which differences of worth are measured
        because rewards may have any scale. Where there is nothing to choose between the spread is 0.
    """
    there = np.isfinite(rewards)
    if not there.any():
        return rewards, 0.0, 0.0
    span = float(np.ptp(rewards[there])) or 1.0
    worth = rewards + span * ends
    return worth, span, float(np.std(worth[there]))


def blend(candidates: Sequence[np.ndarray], worth: np.ndarray, spread: float, counts: np.ndarray) -> np.ndarray:
    """Return the mean of the candidates, float64[H, A], each weighted by exp(worth / (`FOCUS` x spread)).

    Model-predictive path integral control (arXiv 1509.01149), one decision deep. A mean changes smoothly from state to state, and so can be learnt;
    the best of all candidates does not. Of discrete numbers there is no mean: these are the best candidate's.

    Args:
        candidates: N times float[H, A].
        worth: float64[N], of `appraise`.
        spread: of `appraise`, more than 0.
        counts: int64[A], number of values of a discrete action, 0 where it is continuous.
    """
    weights = np.exp((worth - worth.max()) / (FOCUS * spread))
    mean = np.tensordot(weights / weights.sum(), np.stack(candidates), 1)
    return np.where(counts > 0, candidates[int(worth.argmax())], mean)
