"""The curriculum of practice: shares of the environments, further seeds for dynamic sampling, and a guard against shrinking exploration."""

from collections.abc import Iterable, Sequence

import numpy as np

from agent.records import Episode
from envs import EnvConfig

TEMPERATURE = 0.3  # of `practice_shares`: between success rates of 0 and 1 the shares differ by a factor of exp(1 / 0.3) = 28
SHRUNK = 0.5  # exploration shrinks where `pass_at_k` is less than this share of the best earlier cycle's


def practice_shares(envs: Sequence[EnvConfig], success: Sequence[float | None], temperature: float = TEMPERATURE) -> list[float]:
    """Return each environment's share of practice: its weight times exp((0.5 - success) / temperature), up to a common factor.

    Environments with little success get more practice.

    Args:
        envs: of the run.
        success: success rate of each in its last practice; None, where there was none yet, counts as 0.5.
        temperature: the larger, the less the shares depend on success.
    """
    need = np.array([0.0 if rate is None else 0.5 - rate for rate in success]) / temperature
    # The largest exponent becomes 0: shares matter only in proportion, and a low temperature cannot overflow.
    return [env.weight * float(factor) for env, factor in zip(envs, np.exp(need - need.max()), strict=True)]


def lacking(episodes: Iterable[Episode], wanted: int, limit: int) -> tuple[int, int]:
    """Return how many further seeds dynamic sampling has added so far, and how many it should add next; 0, when it is finished.

    Args:
        episodes: of the cycle so far.
        wanted: number of mixed seeds to reach, with successes and failures; also the number of seeds in the first round and in each further one.
        limit: largest number of further seeds.
    """
    attempts = list(episodes)
    done = len({(episode.task, episode.seed) for episode in attempts}) - wanted  # the first `wanted` seeds are the cycle's regular ones
    mixed = sum(0 < rate < 1 for seeds in by_seed(attempts).values() for rate in seeds.values())
    return done, min(wanted, limit - done) if mixed < wanted else 0


def by_seed(episodes: Iterable[Episode]) -> dict[str, dict[str, float]]:
    """Return the success rate by task and seed, without faulty episodes. Seeds are texts, as JSON has no other keys."""
    found: dict[str, dict[str, list[bool]]] = {}
    for episode in episodes:
        if not episode.faults:  # a fault says nothing about the policy; a seed with faulty episodes alone is not mentioned
            found.setdefault(episode.task, {}).setdefault(str(episode.seed), []).append(episode.success)
    return {task: {seed: float(np.mean(attempts)) for seed, attempts in seeds.items()} for task, seeds in found.items()}


def exploration_shrinks(found: Sequence[float]) -> list[str]:
    """Return a warning where far fewer practice seeds are ever solved than in the best earlier cycle; else nothing.

    Args:
        found: `pass_at_k` of each cycle, the present one last: share of the practice seeds that at least one episode solved.
    """
    best = max(found[:-1], default=0.0)  # the first cycle has nothing to be compared with
    if not found or found[-1] >= SHRUNK * best:
        return []
    return [f"exploration shrinks: {found[-1]:.0%} of the practice seeds were solved at least once, {best:.0%} in the best earlier cycle"]
