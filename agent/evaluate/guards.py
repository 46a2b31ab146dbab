"""Guard of the gate. It returns alarms, sentences that name a forgotten task; an empty list means that none was found."""

from collections.abc import Sequence

from agent.evaluate.statistics import compare
from agent.records import Scorecard

FORGETTING = 0.1  # largest fall of the success rate in one of several environments
CHANCE = 0.05  # largest p-value that counts as a fall


def tasks_forgotten(titles: Sequence[str], before: Scorecard, after: Scorecard) -> list[str]:
    """Return an alarm for each of several environments in which the candidate succeeds much less often than the champion.

    Args:
        titles: of the environments; outcomes have keys 'title/seed'. One environment alone is left to the gate.
        before: the champion's scorecard.
        after: the candidate's.
    """
    alarms = []
    for title in titles if len(titles) > 1 else ():
        # From the right: a title may hold slashes itself, as in etude/Reach-v0.
        old, new = (
            Scorecard(card.policy, {key: won for key, won in card.outcomes.items() if key.rpartition("/")[0] == title}) for card in (before, after)
        )
        if old.outcomes:  # few gate seeds may leave an environment without one
            change = compare(new, old)
            if change.gain < -FORGETTING and change.p_value <= CHANCE:
                alarms.append(f"{title} is forgotten: {change}")
    return alarms
