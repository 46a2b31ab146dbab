"""Steps to go: the number of decisions left until success, predicted by the model itself, as a reward where the environment's is absent or poor.

A value function over steps to go, as in RECAP (arXiv 2511.14759). Its output head is the model's own reply: it sees the frames and answers a digit.

T = decisions in an episode.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.label.detector import evenly, with_detector_rewards
from agent.records import Episode, QAExample

DIGITS = tuple("0123456789")  # answers of one token each
FAR = len(DIGITS) - 1  # the answer where success is as far as this or further, and in episodes without success


def pace(shown: Sequence[Episode]) -> int:
    """Return the decisions that one digit stands for: the fewest with which the longest demonstration still fits into nine digits."""
    return max(math.ceil(max((each.first_success + 1 for each in shown if each.first_success is not None), default=1) / FAR), 1)


def to_go(episode: Episode, unit: int) -> list[int]:
    """Return the correct digits before the first decision of an episode and after each, up to its success; `FAR` throughout without success.

    Args:
        episode: an episode whose success is known.
        unit: decisions that a digit stands for.
    """
    if episode.first_success is None:
        return [FAR] * (len(episode) + 1)
    # Rounded up, so that 0 stands for success alone.
    return [min(math.ceil((episode.first_success + 1 - t) / unit), FAR) for t in range(episode.first_success + 2)]


def training_data(episodes: Sequence[Episode], question: str, unit: int, count: int, rng: np.random.Generator) -> list[QAExample]:
    """Return up to `count` observations with the correct digit as the answer, as many of each digit as possible.

    Args:
        episodes: episodes whose success is known.
        question: with `{instruction}`.
        unit: decisions that a digit stands for.
        count: largest number of examples.
        rng: of the choice.
    """
    by_digit: dict[int, list[QAExample]] = {}
    for episode in (each for each in episodes if len(each) and not each.faults):
        asked = question.replace("{instruction}", episode.instruction)
        # Frames after the success get no answer: `to_go` ends there.
        for t, digit in enumerate(to_go(episode, unit)):
            by_digit.setdefault(digit, []).append(QAExample(episode.frames[t], asked, DIGITS[digit]))
    return evenly(by_digit.values(), count, rng)


def predict(policy: Any, episodes: Sequence[Episode], question: str) -> list[np.ndarray]:
    """Return float64[T + 1] an episode: the expected digit before the first decision and after each, a mean over the model's distribution."""
    from policies.scoring import choice_probabilities  # imports torch

    asked = [question.replace("{instruction}", episode.instruction) for episode in episodes for _ in episode.frames]
    # The mean is finer than the most probable digit, so that progress shows within one unit.
    expected = choice_probabilities(policy, [frames for episode in episodes for frames in episode.frames], asked, DIGITS) @ np.arange(len(DIGITS))
    # np.split of nothing is one empty part, not none.
    return np.split(expected, np.cumsum([len(episode.frames) for episode in episodes])[:-1]) if episodes else []


def with_predicted_rewards(episode: Episode, told: np.ndarray) -> Episode:
    """Return an episode with rewards of 1 - digit / 9: 0 where success is far, 1 at success, as predicted. Its success stays as it was.

    Args:
        episode: an episode, perhaps cut at a detected success.
        told: float64[T + 1] or more, as `predict` returns it; what lies after the cut is not used.
    """
    return with_detector_rewards(episode, 1 - told[: len(episode) + 1] / FAR) if len(episode) else episode


def error(episodes: Sequence[Episode], told: Sequence[np.ndarray], unit: int) -> float | None:
    """Return the mean absolute error in decisions over all observations up to a success; None where no episode succeeded.

    Both sides count in digits times `unit`, so an observation that is further from success than the digits reach counts as `FAR` units.

    Args:
        episodes: episodes whose success is known.
        told: float64[T + 1] an episode, as `predict` returns it.
        unit: decisions that a digit stands for.
    """
    # Up to index first_success + 1, the frame after the decision that succeeded.
    gaps = [
        unit * np.abs(own[: episode.first_success + 2] - to_go(episode, unit))
        for episode, own in zip(episodes, told, strict=True)
        if episode.first_success is not None
    ]
    return float(np.concatenate(gaps).mean()) if gaps else None
