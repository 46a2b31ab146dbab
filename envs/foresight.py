"""Looking ahead: actions are tried in a copy of the moment before one is carried out, as only a simulation allows."""

from collections.abc import Sequence

import numpy as np

from envs.adapt import Adapter
from envs.replay import restore, snapshot


def foresee(adapter: Adapter, candidates: Sequence[np.ndarray]) -> np.ndarray:
    """Return float64[N]: the reward that each of N candidates would end with, 1 more where it would succeed, 1 less where it would end the episode.

    Rewards should lie in [0, 1], so that success counts for most. What raises an error is worth -inf: it was only tried.

    Args:
        adapter: stays at its moment.
        candidates: N times float32[H, A] actions.
    """
    moment, worth = snapshot(adapter), []
    for actions in candidates:
        try:
            outcome = adapter.step(actions, look=False)
            last = float(outcome.rewards[~np.isnan(outcome.rewards)][-1])
            worth.append(last + (1.0 if outcome.success else -1.0 if outcome.terminated else 0.0))
        except Exception:  # an environment may raise anything
            worth.append(-np.inf)
        restore(adapter, moment)
    return np.array(worth)
