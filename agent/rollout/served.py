"""One model decides for the environments of several processes, which ask it and wait for its decisions.

A decision depends on its own situation alone, as `policies.policy.Policy` demands, so it is the same whoever asks at the same time.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from policies.policy import Decision, Policy, Situation

Question = tuple[Sequence[Situation], np.ndarray | None]  # the arguments of `Policy.act`


@dataclass(frozen=True)
class Told:
    """What a process with environments needs to know of the policy that decides for it."""

    name: str
    chunk: int
    reply_length: int
    codec: Any
    """A `policies.codec.Codec`, by which look-ahead translates actions."""


def tell(policy: Any) -> Told:
    """Return what a process needs to know of a policy."""
    return Told(policy.name, policy.chunk, policy.reply_length, policy.codec)


class Asking:
    """A policy whose decisions are made in another process.

    Args:
        line: connection to that process.
        told: about its policy.
    """

    def __init__(self, line: Connection, told: Told) -> None:
        self._line, self.name, self.chunk, self.reply_length, self.codec = line, told.name, told.chunk, told.reply_length, told.codec

    def act(self, situations: Sequence[Situation], noise: np.ndarray | None) -> list[Decision]:
        """Decide for each situation; see `policies.policy.Policy`."""
        self._line.send(("asked", (situations, noise)))  # the kind by which `pool` tells a question from an episode
        return self._line.recv()


def decide(policy: Policy, asked: Sequence[Question]) -> list[list[Decision]]:
    """Return the decisions for each of several processes, made together: the greedy ones, and those with noise."""
    replies: list[list[Decision]] = [[] for _ in asked]
    # In two calls, because `Policy.act` takes noise for all of its situations or for none.
    for greedy in (True, False):
        chosen = [i for i, (_, noise) in enumerate(asked) if (noise is None) == greedy]
        noises = [noise for _, noise in asked if noise is not None]  # in the order of `chosen` of the second round
        if chosen:
            situations = [situation for i in chosen for situation in asked[i][0]]
            made = iter(policy.act(situations, None if greedy else np.concatenate(noises)))  # one list for all processes, dealt out again below
            for i in chosen:
                replies[i] = list(itertools.islice(made, len(asked[i][0])))
    return replies
