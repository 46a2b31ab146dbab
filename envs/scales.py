"""Whether the action box of an environment fits its robot, its expert and the bins of the policy."""

from collections.abc import Iterator, Sequence

import numpy as np

from envs.adapt import Adapter
from envs.spaces import Actions

HUGE = 1e4  # bounds of a real actuator are smaller: they are radians, metres, newtons or shares
WIDER = 1.5  # an actuator's range that is so many times that of the box is said
OUTSIDE = 0.5  # of an expert's actions in a dimension, beyond the box by more than its width: another unit, such as degrees
FEW = 3  # bins: an expert that uses fewer of a dimension cannot be imitated in it


def too_many_values(actions: Actions, num_bins: int) -> str:
    """Return a sentence where a discrete action has more values than the policy has bins; '' where it fits.

    Args:
        actions: of the environment.
        num_bins: of the policy's codec.
    """
    largest = int(actions.counts.max())
    return (
        f"An action has {largest} values, and policy.num_bins is {num_bins}; set it to {largest}, or use another codec." if largest > num_bins else ""
    )


def odd_boxes(adapter: Adapter, seed: int, num_bins: int) -> Iterator[str]:
    """Yield sentences about an action box that is much wider or narrower than what the robot takes.

    Args:
        adapter: the environment.
        seed: of an episode, of which one decision is executed.
        num_bins: of the policy's codec.
    """
    actions = adapter.actions
    huge = np.flatnonzero((actions.counts == 0) & (np.maximum(np.abs(actions.low), np.abs(actions.high)) > HUGE))
    if len(huge):
        low, high = actions.low[huge[0]], actions.high[huge[0]]
        yield (
            f"The action box reaches from {low:.3g} to {high:.3g} in {_places(huge)}: one of {num_bins} bins is {(high - low) / (num_bins - 1):.2g} "
            "wide, so nearly all saturate; set env.action_bounds to what the robot takes."
        )
        return
    yield from _narrow(adapter, seed)


def _narrow(adapter: Adapter, seed: int) -> Iterator[str]:
    """Yield a sentence where actions are passed on to MuJoCo's actuators as they are, and these take a wider range."""
    actions, model = adapter.actions, adapter.model
    if model is None or (actions.counts > 0).any():
        return
    adapter.reset(seed, look=False)
    action = actions.sample(np.random.default_rng(seed))
    adapter.step(action[None], look=False)
    # An action is passed on as it is if some actuator's control equals it; random numbers are never equal by chance.
    equal = np.abs(adapter.data.ctrl[None] - np.asarray(action, np.float64)[:, None]) < 1e-5
    found = [(i, int(np.flatnonzero(row)[0])) for i, row in enumerate(equal) if row.sum() == 1]
    box = WIDER * (actions.high - actions.low)
    wide = [(i, j) for i, j in found if model.actuator_ctrllimited[j] and np.ptp(model.actuator_ctrlrange[j]) > box[i]]
    if wide:
        i, j = wide[0]
        low, high = model.actuator_ctrlrange[j]
        yield (
            f"The action box states {actions.low[i]:.3g} to {actions.high[i]:.3g} in {_places([i for i, _ in wide])}, and the robot's actuators take "
            f"more ({low:.3g} to {high:.3g} in dimension {i}); set wider env.action_bounds if the task needs them."
        )


def unused(actions: Actions, given: Sequence[np.ndarray], num_bins: int) -> str:
    """Return a sentence where an expert's actions fill only a few bins of a dimension; '' where they do not.

    Args:
        actions: of the environment.
        given: float32[A] each, the expert's.
        num_bins: of the policy's codec.
    """
    if len(given) < 20:
        return ""
    low, high = np.quantile(np.stack(given), [0.01, 0.99], axis=0)
    bins = (high - low) / np.maximum(actions.high - actions.low, 1e-12) * (num_bins - 1)
    narrow = np.flatnonzero((actions.counts == 0) & (bins < FEW) & (np.ptp(np.stack(given), axis=0) > 0))
    if not len(narrow):
        return ""
    i = narrow[0]
    return (
        f"The expert uses {low[i]:.2g} to {high[i]:.2g} of {actions.low[i]:.3g} to {actions.high[i]:.3g} in {_places(narrow)}: fewer than {FEW} of "
        f"{num_bins} bins, so its actions cannot be told apart; set narrower env.action_bounds."
    )


def outside(actions: Actions, given: Sequence[np.ndarray]) -> str:
    """Return a sentence where most of an expert's actions lie far outside of the box; '' where they do not.

    Args:
        actions: of the environment.
        given: float32[A] each, the expert's.
    """
    if not given:
        return ""
    given_NA = np.stack(given)
    width = actions.high - actions.low
    far = (given_NA < actions.low - width) | (given_NA > actions.high + width)
    places = np.flatnonzero((actions.counts == 0) & (far.mean(0) > OUTSIDE))
    if not len(places):
        return ""
    i = places[0]
    return (
        f"The expert asks for {given_NA[:, i].min():.3g} to {given_NA[:, i].max():.3g} in {_places(places)}, and the action box reaches from "
        f"{actions.low[i]:.3g} to {actions.high[i]:.3g}; what lies beyond is cut off. Does the expert use another unit?"
    )


def _places(dimensions: Sequence[int] | np.ndarray) -> str:
    numbers = [str(each) for each in dimensions]
    return f"dimension{'s' if len(numbers) > 1 else ''} {', '.join(numbers[:6])}{', ...' if len(numbers) > 6 else ''}"
