"""Guard of the gate: sentences that name a task which is forgotten; none means all is well."""

from collections.abc import Sequence

from agent.evaluate.statistics import compare
from agent.records import Scorecard

FORGETTING = 0.1  # fall of success in one of several environments
CHANCE = 0.05  # what chance explains with more than this is no forgetting


def tasks_forgotten(titles: Sequence[str], before: Scorecard, after: Scorecard) -> list[str]:
    """Look whether one of several environments is done much worse than before.

    Args:
        titles: of the environments; outcomes are named 'title/seed'.
        before: the champion's scorecard.
        after: the challenger's.
    """
    told = []
    for title in titles if len(titles) > 1 else ():
        old, new = (
            Scorecard(card.policy, {key: won for key, won in card.outcomes.items() if key.rpartition("/")[0] == title}) for card in (before, after)
        )
        if old.outcomes:
            change = compare(new, old)
            if change.gain < -FORGETTING and change.p_value <= CHANCE:
                told.append(f"{title} is forgotten: {change}")
    return told
