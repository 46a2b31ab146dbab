"""Thoughts of the policy before the actions of an expert."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from agent.records import Episode


def ponder(policy: Any, episodes: Iterable[Episode], at_a_time: int = 16) -> Iterator[Episode]:
    """Yield demonstrations with the policy's own greedy thought before the action tokens of each decision.

    An expert demonstrates actions, not thoughts. The warm start then teaches the actions, and leaves the thoughts as they are.

    Args:
        policy: a `Vlm` with a thought (`policy.thought`).
        episodes: whose tokens are those of actions alone.
        at_a_time: episodes whose thoughts are generated together.
    """
    waiting = iter(episodes)
    while batch := list(itertools.islice(waiting, at_a_time)):
        # One flat batch of all decisions; the iterator hands its thoughts back in the same order.
        thoughts = iter(policy.think([episode.situation(t) for episode in batch for t in range(len(episode))]))
        for episode in batch:
            tokens = np.stack([np.concatenate([next(thoughts), action]) for action in episode.tokens])
            yield replace(episode, tokens=tokens, logprobs=np.zeros(tokens.shape, np.float32))
