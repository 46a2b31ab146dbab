"""The policy's own thoughts before actions that somebody else chose."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from agent.records import Episode


def ponder(policy: Any, episodes: Iterable[Episode], at_a_time: int = 16) -> Iterator[Episode]:
    """Yield demonstrations with the policy's own greedy thought before each action: an expert shows what to do, not what to think."""
    waiting = iter(episodes)
    while some := list(itertools.islice(waiting, at_a_time)):
        thoughts = iter(policy.think([episode.situation(t) for episode in some for t in range(len(episode))]))
        for episode in some:
            tokens = np.stack([np.concatenate([next(thoughts), action]) for action in episode.tokens])
            yield replace(episode, tokens=tokens, logprobs=np.zeros(tokens.shape, np.float32))
