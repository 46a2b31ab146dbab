"""Guard of a training: sentences that name what is sick at its end; none means all is well."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

END = 0.1  # share of the steps that count as the end of training
ENTROPY = 0.05  # nats a token at the end of training: policies that learnt well have 0.6 to 1.6
CLIPPED = 0.8  # share of tokens outside the clip range at the end of training: policies that learnt well have 0.1 to 0.6
UNLEARNT = 1.0  # nats a token by which demonstrations became less probable: where it went well, less than 0.2


def training_collapses(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Look at how training ended: numbers that are none, one reply for everything, a policy torn off from its champion.

    Args:
        rows: the figures of every step.
    """
    told = []
    if not all(math.isfinite(value) for row in rows for value in row.values()):
        told.append("training broke down: a figure is not finite")

    def at_the_end(name: str, neutral: float) -> float:
        known = [row[name] for row in rows if name in row]
        return float(np.mean(known[-max(int(END * len(known)), 1) :] or [neutral]))

    if (entropy := at_the_end("entropy", np.inf)) < ENTROPY:
        told.append(f"the policy collapsed onto one reply: entropy {entropy:.3f} nats a token")
    if (clipped := at_the_end("clipped", 0.0)) > CLIPPED:
        told.append(f"the policy was torn off from its champion: {clipped:.0%} of its tokens' ratios are outside the clip range")
    first = next((row["imitation"] for row in rows if "imitation" in row), np.inf)
    if (lost := at_the_end("imitation", first) - first) > UNLEARNT:
        told.append(f"the policy unlearnt its demonstrations: {lost:.1f} nats a token less probable")
    return told
