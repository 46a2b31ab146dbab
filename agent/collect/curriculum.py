"""What is practised: which environment deserves how much, whether more seeds are needed, and whether fewer of them are ever solved."""

from collections.abc import Iterable, Sequence

import numpy as np

from agent.records import Episode
from envs import EnvConfig

SHRUNK = 0.5  # share of the practice seeds ever solved, of the best earlier cycle's


def attention(envs: Sequence[EnvConfig], success: Sequence[float | None], temperature: float) -> list[float]:
    """Return how much practice each environment deserves: its weight times exp((0.5 - success) / temperature).

    What succeeds seldom gets more practice than what succeeds often.

    Args:
        envs: all of the run.
        success: of each in its last practice, in [0, 1]; None where it has had none yet, which counts as one half.
        temperature: tau; large spreads practice evenly.
    """
    need = np.array([0.0 if rate is None else 0.5 - rate for rate in success]) / temperature
    return [env.weight * float(part) for env, part in zip(envs, np.exp(need - need.max()), strict=True)]  # in proportion: the largest may be 1


def lacking(episodes: Iterable[Episode], wanted: int, limit: int) -> tuple[int, int]:
    """Return how many further seeds were practised, and how many should be next, until takes of enough seeds ended differently.

    Args:
        episodes: of the cycle.
        wanted: seeds that should tell something; also how many are practised at a time, the first time among them.
        limit: further seeds at most.
    """
    takes = list(episodes)
    done = len({(episode.task, episode.seed) for episode in takes}) - wanted
    mixed = sum(0 < rate < 1 for seeds in by_seed(takes).values() for rate in seeds.values())
    return done, min(wanted, limit - done) if mixed < wanted else 0


def by_seed(episodes: Iterable[Episode]) -> dict[str, dict[str, float]]:
    """Return for each task and seed (as text) the share of takes that succeeded; takes that the environment spoilt do not count."""
    found: dict[str, dict[str, list[bool]]] = {}
    for episode in episodes:
        if not episode.faults:
            found.setdefault(episode.task, {}).setdefault(str(episode.seed), []).append(episode.success)
    return {task: {seed: float(np.mean(takes)) for seed, takes in seeds.items()} for task, seeds in found.items()}


def exploration_shrinks(found: Sequence[float]) -> list[str]:
    """Look whether far fewer practice seeds are ever solved than in the best earlier cycle.

    Args:
        found: `pass_at_k` of each cycle, the present one last.
    """
    best = max(found[:-1], default=0.0)
    if not found or found[-1] >= SHRUNK * best:
        return []
    return [f"exploration shrinks: {found[-1]:.0%} of the practice seeds were solved at least once, {best:.0%} in the best earlier cycle"]
