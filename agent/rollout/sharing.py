"""Episodes are shared among the environments of a run, and their outcomes are grouped by environment."""

import re
from collections.abc import Sequence

import numpy as np

from agent.records import Scorecard
from envs import EnvConfig


def share(count: int, weights: Sequence[float]) -> list[int]:
    """Return whole numbers that add up to `count`, as nearly in proportion to the weights as possible; at least 1 each where `count` allows it."""
    exact = np.array(weights, np.float64) / sum(weights) * count
    least = min(1, count // len(exact))  # 0 where there are fewer episodes than environments
    whole = np.maximum(np.floor(exact).astype(int), least)
    while whole.sum() < count:  # what rounding down left over goes to the largest remainders; the first of equal ones gets it
        whole[np.argmax(exact - whole)] += 1
    while whole.sum() > count:  # small weights were raised to `least`, at the expense of those that are most above their exact share
        whole[np.argmax(np.where(whole > least, whole - exact, -np.inf))] -= 1
    return whole.tolist()


def spread(count: int, weights: Sequence[float]) -> list[int]:
    """Return the kind (index of the environment) of each of `count` episodes: all of the first environment, then all of the next one, ..."""
    return [kind for kind, number in enumerate(share(count, weights)) for _ in range(number)]


def by_task(envs: Sequence[EnvConfig], outcomes: dict[str, bool]) -> dict[str, float]:
    """Return the success rate of each environment that has outcomes; nothing where a run has one environment, whose rate is that of the run.

    Args:
        envs: of the run.
        outcomes: success by 'task/seed' or 'task/seed/attempt'.
    """
    successes = {env.title: list(_of(env, outcomes).values()) for env in envs}
    return {task: float(np.mean(passed)) for task, passed in successes.items() if passed} if len(envs) > 1 else {}


def by_env(envs: Sequence[EnvConfig], card: Scorecard) -> dict[str, Scorecard]:
    """Return the scorecard of each environment of which `card` has seeds; nothing where a run has one environment."""
    parts = {env.title: card.part(_of(env, card.outcomes)) for env in envs}
    return {title: part for title, part in parts.items() if part.outcomes} if len(envs) > 1 else {}


def _of(env: EnvConfig, outcomes: dict[str, bool]) -> dict[str, bool]:
    """Return the outcomes of one environment, by its title in the keys."""
    # The whole key is matched: a title may hold slashes, and one may begin with another ('etude/Push-v0', 'etude/Push-v0/far').
    return {key: passed for key, passed in outcomes.items() if re.fullmatch(rf"{re.escape(env.title)}/\d+(/\d+)?", key)}
