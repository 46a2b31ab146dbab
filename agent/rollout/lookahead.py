"""Trying actions in a copy of the moment: what would have been better than the policy's own decision."""

import functools
import warnings
from typing import Any

import numpy as np
from scipy.stats import norm
from scipy.stats.qmc import Sobol

from envs.simulate.lookahead import appraise, blend, foresee
from policies.policy import Decision

NEARLY = 0.2  # of the spread of the candidates' worth: the policy's own decision stands where the better one is better by no more
AROUND = 0.4  # of half the action box: standard deviation of the candidates about the policy's own decision


def better(adapter: Any, decision: Decision, policy: Any, rng: np.random.Generator, count: int) -> tuple[Decision, float]:
    """Return a better decision than the policy's, if there is one, and by how much: a blend of `count` candidates, itself and others around it.

    Near the policy's own a blend is a step that it can learn; from anywhere in the box it would be another's habit. Discrete numbers have no
    neighbours, and are drawn from all there are. What is written before the actions stays.
    """
    low, high, own = policy.codec.low, policy.codec.high, decision.actions
    around = own + AROUND * (high - low) / 2 * _directions(count - 1, own.size).reshape(count - 1, *own.shape)
    if (discrete := adapter.actions.counts > 0).any():
        around[..., discrete] = rng.uniform(low, high, around.shape)[..., discrete]
    candidates = [own, *np.clip(around, low, high).astype(np.float32)]
    worth, span, spread = appraise(*foresee(adapter, candidates))
    if not spread:  # nothing to choose between
        return decision, 0.0
    told = policy.codec.encode(blend(candidates, worth, spread, adapter.actions.counts))
    tokens = np.concatenate([decision.tokens[: policy.codec.thought_length], told])
    actions = policy.codec.decode(tokens)
    (reward,), (end,) = foresee(adapter, [actions])
    if (gained := reward + span * end - worth[0]) < NEARLY * spread:
        return decision, 0.0
    return Decision(actions, tokens, np.zeros(len(tokens), np.float32)), float(gained)


@functools.cache
def _directions(count: int, dimensions: int) -> np.ndarray:
    """Return float64[count, dimensions], Gaussian and evenly spread: always the same, for what is learnt from must not depend on a draw."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a power of two would be balanced better
        return norm.ppf(Sobol(dimensions, rng=np.random.default_rng(0)).random(count))
