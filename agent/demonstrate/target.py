"""What the episodes of a dataset must suit, as the environment has it; and the count of those that do not."""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.adapt import Adapter
from envs.rate import control_rate
from envs.spaces import WIDEST, Actions
from envs.state import state_box


@dataclass(frozen=True)
class Target:
    """The environment of the run, as far as a dataset must fit it."""

    actions: Actions
    """With the bounds of `env.action_bounds`, which the codec covers."""
    box: tuple[np.ndarray, np.ndarray]
    """float64[A] low and high of the environment's own action space; those of `actions` where its own are not finite."""
    rate: float | None = None
    """Environment steps a second, where the environment declares it."""
    state_size: int = 0
    """S; 0: it has no state, or does not tell its size."""
    state_box: tuple[np.ndarray, np.ndarray] | None = None
    """float64[S] low and high of the state, infinite where the environment does not tell."""

    @classmethod
    def of(cls, adapter: Any) -> "Target":
        """Return the target that an `Adapter` is, or the one behind a `Proxy`."""
        (low, high), rate, state = adapter.apply(_declared)
        actions = adapter.actions
        # Number by number: a box may be finite in some only. Another length: the space is no box.
        known = (np.abs(low) <= WIDEST) & (np.abs(high) <= WIDEST) if len(low) == len(actions) else np.zeros(len(actions), bool)
        low, high = (low, high) if known.any() else (actions.low, actions.high)
        return cls(actions, (np.where(known, low, actions.low), np.where(known, high, actions.high)), rate, adapter.state_size, state)

    def unknown(self, actions: np.ndarray) -> str:
        """Return 'row 3 has 4, and 0 to 3 are allowed' for the first label of float[n, A] that a discrete action cannot have; '' without one."""
        low, high = self.actions.low, self.actions.high
        wrong = np.argwhere((self.actions.counts > 0) & ((actions < low) | (actions > high) | (actions != np.rint(actions))))
        if not len(wrong):
            return ""
        t, i = wrong[0]
        return f"row {t} has {actions[t, i]:g}, and {low[i]:g} to {high[i]:g} are allowed"


def _declared(adapter: Adapter) -> tuple[tuple[np.ndarray, np.ndarray], float | None, tuple[np.ndarray, np.ndarray]]:
    """Return low and high of the environment's own box, both empty where it has none, its control rate, and low and high of its state."""
    state = state_box(adapter.env.observation_space, adapter.config.state)
    space, box = adapter.env.action_space, (np.zeros(0), np.zeros(0))
    if isinstance(space, spaces.Box):
        box = space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
    with contextlib.suppress(Exception):  # of somebody else's environment
        return box, control_rate(adapter.env), state
    return box, None, state


@dataclass
class Tally:
    """Counts what is left out while a dataset is read."""

    reasons: Counter[str] = field(default_factory=Counter)
    """Episodes that are left out, by the reason, which continues "3 episodes ..."."""
    places: dict[str, str] = field(default_factory=dict)
    """The first episode of each reason, and what it holds."""
    idle: int = 0
    """Decisions that do nothing, and are left out."""
    decisions: int = 0
    """All decisions of the episodes that are used, idle ones among them."""

    def leave_out(self, why: str, where: str) -> None:
        """Count an episode."""
        self.reasons[why] += 1
        self.places.setdefault(why, where)

    def lines(self, most: int | None = None) -> list[str]:
        """Return '3 were faulty, the first: episode 0' for each reason, the most frequent ones first."""
        return [f"{count} {why}" + (f", the first: {self.places[why]}" if self.places[why] else "") for why, count in self.reasons.most_common(most)]
