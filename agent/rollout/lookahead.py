"""One decision of look-ahead: candidate actions are tried in a copy of the simulator, to find a better decision than the policy's own."""

import functools
import warnings
from typing import Any

import numpy as np
from scipy.stats import norm
from scipy.stats.qmc import Sobol

from envs.simulate.lookahead import appraise, blend, try_candidates
from policies.policy import Decision

NEARLY = 0.2  # in standard deviations of the candidates' worth: with a smaller gain the policy's own decision is kept
AROUND = 0.4  # in halves of the action box: standard deviation of the candidates around the policy's own decision


def better(adapter: Any, decision: Decision, policy: Any, rng: np.random.Generator, count: int) -> tuple[Decision, float]:
    """Return a better decision than the policy's own, and its gain; where there is none, the policy's own decision and 0.

    The better decision is a weighted mean (`blend`) of candidates: the policy's own actions, and others at fixed offsets around them. Candidates
    stay near the policy's own actions, because a mean of actions from the whole box is often too improbable for the policy to learn.

    Args:
        adapter: the environment; it is in the same state afterwards.
        decision: the policy's own.
        policy: whose codec translates actions.
        rng: draws discrete candidates; continuous ones use no random numbers.
        count: N, number of candidates, the policy's own among them.

    Returns:
        The decision, and its gain: how much more it is worth than the policy's own, in units of the environment's reward.
    """
    low, high, own = policy.codec.low, policy.codec.high, decision.actions
    around = own + AROUND * (high - low) / 2 * _directions(count - 1, own.size).reshape(count - 1, *own.shape)  # float64[N - 1, H, A]
    if (discrete := adapter.actions.counts > 0).any():
        # A discrete action has no neighbours, so its candidates come from all of its values.
        around[..., discrete] = rng.uniform(low, high, around.shape)[..., discrete]
    candidates = [own, *np.clip(around, low, high).astype(np.float32)]
    worth, span, spread = appraise(*try_candidates(adapter, candidates))
    if not spread:  # all candidates are worth the same
        return decision, 0.0
    # The policy's own thought stays before the actions.
    tokens = np.concatenate(
        [decision.tokens[: policy.codec.thought_length], policy.codec.encode(blend(candidates, worth, spread, adapter.actions.counts))]
    )
    actions = policy.codec.decode(tokens)  # rounded to the codec's bins: what is tried, executed and taught is the same
    (reward,), (end,) = try_candidates(adapter, [actions])  # a mean of good candidates may itself be bad, so it is tried too
    own_worth = max(worth[0], worth[np.isfinite(worth)].min() - spread)  # finite also where the policy's own decision raised an error
    if not (gain := reward + span * end - own_worth) >= NEARLY * spread:  # -inf, too, where the mean raised one
        return decision, 0.0
    return Decision(actions, tokens, np.zeros(len(tokens), np.float32)), float(gain)  # log-probabilities: zeros, since it was not sampled


@functools.cache
def _directions(count: int, dimensions: int) -> np.ndarray:
    """Return float64[count, dimensions], a Gaussian sample from a Sobol sequence. It is always the same, so that targets do not depend on a draw."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # SciPy warns that a Sobol sequence is balanced only for powers of two
        return norm.ppf(Sobol(dimensions, rng=np.random.default_rng(0)).random(count))
