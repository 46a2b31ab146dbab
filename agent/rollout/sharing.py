"""How attempts are shared among several environments, and outcomes told apart by environment."""

import re
from collections.abc import Sequence

import numpy as np

from agent.records import Scorecard
from envs import EnvConfig


def share(count: int, weights: Sequence[float]) -> list[int]:
    """Return whole numbers that add up to `count`, in proportion to the weights as nearly as can be; at least 1 each where `count` allows it."""
    exact = np.array(weights, np.float64) / sum(weights) * count
    least = min(1, count // len(exact))
    whole = np.maximum(np.floor(exact).astype(int), least)
    while whole.sum() < count:
        whole[np.argmax(exact - whole)] += 1
    while whole.sum() > count:
        whole[np.argmax(np.where(whole > least, whole - exact, -np.inf))] -= 1
    return whole.tolist()


def spread(count: int, weights: Sequence[float]) -> list[int]:
    """Return, for each of `count` attempts, which environment it goes to: shares by weight, one environment after the other."""
    return [kind for kind, own in enumerate(share(count, weights)) for _ in range(own)]


def by_task(envs: Sequence[EnvConfig], outcomes: dict[str, bool]) -> dict[str, float]:
    """Return the success rate of each of several environments, from outcomes under 'task/...'; nothing where there is but one."""
    own = {env.title: list(_of(env, outcomes).values()) for env in envs}
    return {task: float(np.mean(passed)) for task, passed in own.items() if passed} if len(envs) > 1 else {}


def by_env(envs: Sequence[EnvConfig], card: Scorecard) -> dict[str, Scorecard]:
    """Return the scorecard of each of several environments, where it has seeds of it; nothing where there is but one."""
    own = {env.title: card.part(_of(env, card.outcomes)) for env in envs}
    return {title: part for title, part in own.items() if part.outcomes} if len(envs) > 1 else {}


def _of(env: EnvConfig, outcomes: dict[str, bool]) -> dict[str, bool]:
    """Return the outcomes of one environment: its title stands before the seed (and the take)."""
    return {key: passed for key, passed in outcomes.items() if re.fullmatch(rf"{re.escape(env.title)}/\d+(/\d+)?", key)}
