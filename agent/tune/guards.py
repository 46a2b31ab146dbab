"""Guard of a training. It returns alarms, sentences that name what is wrong at the end of training; an empty list means that nothing was found."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

END = 0.1  # share of the steps that count as the end of training
ENTROPY = 0.05  # nats a token, least entropy; policies that learnt well have 0.6 to 1.6
CLIPPED = 0.8  # largest share of tokens outside the clip range; policies that learnt well have 0.1 to 0.6
UNLEARNT = 1.0  # nats a token, largest rise of the loss of demonstrations; in good training less than 0.2


def training_collapses(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Return an alarm for each: figures that are not finite, entropy near 0, a policy far from its champion, demonstrations that were unlearnt.

    Args:
        rows: the figures of every step; a figure is absent in steps in which its term of the loss had no data.
    """
    alarms = []
    if not all(math.isfinite(value) for row in rows for value in row.values()):
        alarms.append("training broke down: a figure is not finite")

    def at_the_end(name: str, neutral: float) -> float:
        # A mean over several steps: one batch alone is noisy. `neutral` raises no alarm where the figure never occurs.
        known = [row[name] for row in rows if name in row]
        return float(np.mean(known[-max(int(END * len(known)), 1) :] or [neutral]))

    if (entropy := at_the_end("entropy", np.inf)) < ENTROPY:
        alarms.append(f"the policy collapsed onto one reply: its entropy is {entropy:.3f} nats a token")
    if (clipped := at_the_end("clip_fraction", 0.0)) > CLIPPED:
        alarms.append(f"the policy is too far from its champion: {clipped:.0%} of its tokens' ratios are outside the clip range")
    first = next((row["bc_loss"] for row in rows if "bc_loss" in row), np.inf)
    if (lost := at_the_end("bc_loss", first) - first) > UNLEARNT:
        alarms.append(f"the policy unlearnt its demonstrations: they are {lost:.1f} nats a token less probable")
    return alarms
