"""Looking ahead: actions are tried in a copy of the moment before one is carried out, as only a simulation allows."""

from collections.abc import Sequence

import numpy as np

from envs.adapt import Adapter
from envs.replay import restore, snapshot


def foresee(adapter: Adapter, candidates: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return what each of N candidates would lead to.

    Args:
        adapter: stays at its moment.
        candidates: N times float32[H, A] actions.

    Returns:
        float64[N], the reward that each would end with, -inf for one that raises an error: it was only tried; and int64[N], 1 where it would
        succeed, -1 where it would end the episode without, else 0.
    """
    moment, rewards, ends = snapshot(adapter), [], []
    for actions in candidates:
        try:
            outcome = adapter.step(actions, look=False)
            rewards.append(float(outcome.rewards[~np.isnan(outcome.rewards)][-1]))
            ends.append(1 if outcome.success else -1 if outcome.terminated else 0)
        except Exception:  # an environment may raise anything
            rewards.append(-np.inf)
            ends.append(0)
        restore(adapter, moment)
    return np.array(rewards), np.array(ends)
