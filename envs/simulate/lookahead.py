"""Look-ahead: candidate actions are tried from a snapshot of the simulation before one of them is executed.

Every candidate is one chunk of actions. `try_candidates` gives a reward and an end for each, `appraise` turns these into worth, `blend` into actions.
"""

from collections.abc import Sequence

import numpy as np

from envs.adapt import Adapter
from envs.moments import Outcome
from envs.simulate.replay import restore, snapshot

FOCUS = 0.35  # in standard deviations of the candidates' worth: a candidate that is so much worse than the best has 1 / e of its weight


def try_candidates(adapter: Adapter, candidates: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the result of each of N candidates from the present state.

    Args:
        adapter: the environment; it is in the same state afterwards.
        candidates: N times float32[H, A] actions.

    Returns:
        float64[N] rewards and int64[N] ends, as in `reward_and_end`. A candidate that raises an error has reward -inf and end 0; the episode
        continues, because the candidate was not executed in it.
    """
    moment, rewards, ends = snapshot(adapter), [], []
    for actions in candidates:
        try:
            reward, end = reward_and_end(adapter.step(actions, look=False))
            rewards.append(reward)
            ends.append(end)
        except (Exception, SystemExit):  # an environment may raise anything
            rewards.append(-np.inf)
            ends.append(0)
        restore(adapter, moment)
    return np.array(rewards), np.array(ends)


def reward_and_end(outcome: Outcome) -> tuple[float, int]:
    """Return the mean reward of a decision's executed steps, and 1 for success, -1 for termination without success, 0 otherwise."""
    # The mean, not the last reward: states on the way count too. Steps that were not executed are NaN.
    return float(np.nanmean(outcome.rewards)), 1 if outcome.success else -1 if outcome.terminated else 0


def appraise(rewards: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return the worth of candidates: worth = reward + span x end, where span is the range of the rewards.

    So a candidate that succeeds is worth at least as much as any that does not, and one that ends without success at most as much.

    Args:
        rewards: float64[N], of `try_candidates`.
        ends: int64[N], of `try_candidates`.

    Returns:
        float64[N], worth; the span, in units of the reward; and the spread, the standard deviation of the worth. Differences of worth are compared
        with the spread, because rewards may have any scale. The spread is 0 where all candidates are worth the same, or all raised errors.
    """
    finite = np.isfinite(rewards)
    if not finite.any():
        return rewards, 0.0, 0.0
    span = float(np.ptp(rewards[finite])) or 1.0  # equal rewards: success must still count
    worth = rewards + span * ends
    return worth, span, float(np.std(worth[finite]))


def blend(candidates: Sequence[np.ndarray], worth: np.ndarray, spread: float, counts: np.ndarray) -> np.ndarray:
    """Return the mean of the candidates, float64[H, A], each weighted by exp(worth / (`FOCUS` x spread)).

    This is model-predictive path integral control (MPPI, arXiv 1509.01149) with a horizon of one decision. A mean changes smoothly from state to
    state, so a policy can learn it; the best candidate does not. Discrete numbers have no mean, so they are those of the best candidate.

    Args:
        candidates: N times float[H, A].
        worth: float64[N], of `appraise`.
        spread: of `appraise`, more than 0.
        counts: int64[A], number of values of a discrete action, 0 where it is continuous.
    """
    weights = np.exp((worth - worth.max()) / (FOCUS * spread))  # 0 for a worth of -inf
    mean = np.tensordot(weights / weights.sum(), np.stack(candidates), 1)
    return np.where(counts > 0, candidates[int(worth.argmax())], mean)
