"""An expert without a human: each action is planned in copies of the simulator, by the environment's own reward.

H = actions of a plan, A = numbers of an action, N = plans tried before each action.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.adapt import Adapter
from envs.simulate.lookahead import appraise, blend, try_candidates

SPREAD = 0.5  # in halves of the action box: standard deviation of the plans around the last one
SHARPER = 0.4  # than a decision of look-ahead: the mean of many plans is none of them, so the best ones count for more
KNOTS = 4  # random points of a plan, between which its actions are interpolated: white noise would cancel itself


@dataclass
class Planner:
    """Model-predictive path integral control (MPPI, arXiv 1509.01149): N plans are tried in copies, and their weighted mean is carried out.

    The reward must say what comes nearer to success: with a reward of 0 and 1 alone all plans look the same. The same state of the same episode
    gives the same action.

    Args:
        horizon: H; each action is held for `env.action_repeat` steps.
        candidates: N. A plan costs as much as the H actions that it tries.

    Raises:
        ValueError: the horizon is no positive number, or there are fewer than two candidates.
    """

    horizon: int = 12
    candidates: int = 64
    _plan: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)), init=False)  # float64[H, A]
    _next: tuple[int, int] = field(default=(-1, -1), init=False)  # seed and environment step at which `_plan` begins

    def __post_init__(self) -> None:
        for name, least in (("horizon", 1), ("candidates", 2)):
            if not (isinstance(value := getattr(self, name), int) and value >= least):
                raise ValueError(f"{name} is {value!r}; give a whole number, {least} or more.")

    def __call__(self, adapter: Adapter) -> np.ndarray:
        """Return the action for the present state, float32[A]; the environment is in the same state afterwards."""
        low, high, counts = adapter.actions.low, adapter.actions.high, adapter.actions.counts
        rng = np.random.default_rng([adapter.seed, adapter.steps])
        goes_on = (adapter.seed, adapter.steps) == self._next  # otherwise this is a new episode, or another one acted in between
        plan = self._plan if goes_on else np.tile((low + high) / 2, (self.horizon, 1))
        around = plan + SPREAD * (high - low) / 2 * _smooth(rng, self.candidates - 1, *plan.shape)
        if (discrete := counts > 0).any():
            around[..., discrete] = low[discrete] + np.floor(rng.random((*around.shape[:2], int(discrete.sum()))) * counts[discrete])
        plans: list[Any] = [plan, *np.clip(around, low, high)]
        worth, _, spread = appraise(*try_candidates(adapter, [each.astype(np.float32) for each in plans]))
        if spread:  # otherwise nothing tells one plan from another
            plan = blend(plans, worth, SHARPER * spread, counts)
        self._plan, self._next = np.concatenate([plan[1:], plan[-1:]]), (adapter.seed, adapter.steps + adapter.config.action_repeat)
        return plan[0].astype(np.float32)


def _smooth(rng: np.random.Generator, count: int, horizon: int, size: int) -> np.ndarray:
    """Return float64[count, horizon, size]: noise of standard deviation 1 at its knots, and straight lines between these."""
    knots = rng.standard_normal((count, KNOTS, size))
    places = np.linspace(0, KNOTS - 1, horizon)
    before = np.minimum(places.astype(int), KNOTS - 2)
    share = (places - before)[:, None]
    return (1 - share) * knots[:, before] + share * knots[:, before + 1]
