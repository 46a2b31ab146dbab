"""How many decisions it is to success, told by the model itself in words: a reward where the environment has none, or a poor one.

A value function over steps to go, as in RECAP (arXiv 2511.14759), with the model's own reply for a head: it looks at the frames and says a digit.

T = decisions in an episode.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.label.detector import as_seen, evenly
from agent.records import Answer, Episode

DIGITS = tuple("0123456789")
FAR = len(DIGITS) - 1  # is said where it is as far or further, and of takes that do not get there


def pace(shown: Sequence[Episode]) -> int:
    """Return how many decisions a digit stands for: as few as the longest of these demonstrations can be told with."""
    return max(math.ceil(max((each.first_success + 1 for each in shown if each.first_success is not None), default=1) / FAR), 1)


def to_go(episode: Episode, unit: int) -> list[int]:
    """Return the digits that are right before the first decision of a take and after each, up to its success."""
    if episode.first_success is None:
        return [FAR] * (len(episode) + 1)
    return [min(math.ceil((episode.first_success + 1 - t) / unit), FAR) for t in range(episode.first_success + 2)]


def lessons(episodes: Sequence[Episode], question: str, unit: int, count: int, rng: np.random.Generator) -> list[Answer]:
    """Return up to `count` moments of takes whose success is known, as many of each digit as can be, with the digit that should be said.

    Args:
        episodes: takes.
        question: with `{instruction}`.
        unit: decisions that a digit stands for.
        count: of lessons.
        rng: of the draws.
    """
    moments: dict[int, list[Answer]] = {}
    for episode in (each for each in episodes if len(each) and not each.faults):
        asked = question.replace("{instruction}", episode.instruction)
        for t, digit in enumerate(to_go(episode, unit)):
            moments.setdefault(digit, []).append(Answer(episode.frames[t], asked, DIGITS[digit]))
    return evenly(moments.values(), count, rng)


def foretell(policy: Any, episodes: Sequence[Episode], question: str) -> list[np.ndarray]:
    """Return the digit that the policy expects before the first decision of each take and after each, float64[T + 1]: a mean over its replies."""
    from policies.scoring import believe

    asked = [question.replace("{instruction}", episode.instruction) for episode in episodes for _ in episode.frames]
    told = believe(policy, [frames for episode in episodes for frames in episode.frames], asked, DIGITS) @ np.arange(len(DIGITS))
    return np.split(told, np.cumsum([len(episode.frames) for episode in episodes])[:-1]) if episodes else []


def paced(episode: Episode, told: np.ndarray) -> Episode:
    """Return a take whose rewards say how near to success the model believed it to be, 0 to 1; success stays as it was.

    Args:
        episode: a take, perhaps cut short.
        told: float64[T + 1] or more, as `foretell` returns it.
    """
    return as_seen(episode, 1 - told[: len(episode) + 1] / FAR) if len(episode) else episode


def error(episodes: Sequence[Episode], told: Sequence[np.ndarray], unit: int) -> float | None:
    """Return the mean absolute error, decisions, over the moments of takes that succeed within reach of the digits; None where none does."""
    gaps = [
        unit * np.abs(own[: episode.first_success + 2] - to_go(episode, unit))
        for episode, own in zip(episodes, told, strict=True)
        if episode.first_success is not None
    ]
    return float(np.concatenate(gaps).mean()) if gaps else None
