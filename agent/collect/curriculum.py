"""What is practised: how demonstrations, exams and practice are shared among several environments, and whether more seeds are needed."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from agent.records import Episode, Scorecard
from agent.rollout.rollout import Job
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


def exam_jobs(envs: Sequence[EnvConfig], count: int, first: int) -> list[Job]:
    """Return greedy attempts at `count` seeds, from `first` on in each environment, shared by weight."""
    counts = share(count, [env.weight for env in envs])
    return [Job(first + i, kind=kind) for kind, own in enumerate(counts) for i in range(own)]


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
