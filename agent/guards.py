"""Guards: figures that a healthy cycle keeps within bounds. Each returns sentences that name what is outside; none means all is well."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from agent.critic import quality
from agent.evaluate import compare
from agent.records import Episode, Label, Scorecard
from agent.settings import GuardConfig

FEW = 5  # takes of each outcome, without which labels and rewards are not compared
CHANCE = 0.05  # a task's loss counts as forgetting if chance explains it with less than this
END = 0.1  # share of the steps that count as the end of training


def labels_contradict(episodes: Sequence[Episode], labels: Sequence[Label], config: GuardConfig) -> list[str]:
    """Look whether takes that are labelled successful end with the higher rewards.

    Args:
        episodes: practised, with the environment's rewards.
        labels: one an episode.
        config: its bounds.
    """
    whole = [(e.closing[-1], each.success) for e, each in zip(episodes, labels, strict=True) if len(e) and not e.faults]
    success = np.array([won for _, won in whole], bool)
    if min(success.sum(), (~success).sum()) < FEW:
        return []
    agreement = quality(np.array([reward for reward, _ in whole], np.float64), success)["auroc"]
    if agreement >= config.labels:
        return []
    return [f"labels contradict rewards: takes called successful end with less reward than others (they win {agreement:.0%} of all comparisons)"]


def critic_drifts(figures: Mapping[str, float], config: GuardConfig) -> list[str]:
    """Look whether a critic that labels alone still knows a finished demonstration from an unfinished one."""
    auroc = figures.get("demonstration_auroc", 1.0)
    if auroc >= config.critic:
        return []
    return [f"the critic is no judge: it rates the end of a demonstration above its other moments in {auroc:.0%} of all comparisons"]


def training_collapses(rows: Sequence[Mapping[str, float]], config: GuardConfig) -> list[str]:
    """Look at how training ended: numbers that are none, one reply for everything, a policy torn off from its champion.

    Args:
        rows: the figures of every step.
        config: its bounds.
    """
    told = []
    if not all(math.isfinite(value) for row in rows for value in row.values()):
        told.append("training broke down: a figure is not finite")
    last = rows[-max(int(END * len(rows)), 1) :]

    def at_the_end(name: str, neutral: float) -> float:
        return float(np.mean([row[name] for row in last if name in row] or [neutral]))

    if (entropy := at_the_end("entropy", np.inf)) < config.entropy:
        told.append(f"the policy collapsed onto one reply: entropy {entropy:.3f} nats a token")
    if (clipped := at_the_end("clipped", 0.0)) > config.clipped:
        told.append(f"the policy was torn off from its champion: {clipped:.0%} of its tokens' ratios are outside the clip range")
    first = next((row["imitation"] for row in rows if "imitation" in row), np.inf)
    if (lost := at_the_end("imitation", first) - first) > config.unlearnt:
        told.append(f"the policy unlearnt its demonstrations: {lost:.1f} nats a token less probable")
    return told


def tasks_forgotten(titles: Sequence[str], before: Scorecard, after: Scorecard, config: GuardConfig) -> list[str]:
    """Look whether one of several environments is done much worse than before.

    Args:
        titles: of the environments; outcomes are named 'title/seed'.
        before: the champion's scorecard.
        after: the challenger's.
        config: its bounds.
    """
    told = []
    for title in titles if len(titles) > 1 else ():
        old, new = (
            Scorecard(card.policy, {key: won for key, won in card.outcomes.items() if key.rpartition("/")[0] == title}) for card in (before, after)
        )
        if old.outcomes:
            change = compare(new, old)
            if change.gain < -config.forgetting and change.p_value <= CHANCE:
                told.append(f"{title} is forgotten: {change}")
    return told


def exploration_shrinks(found: Sequence[float], config: GuardConfig) -> list[str]:
    """Look whether far fewer practice seeds are ever solved than in the best earlier cycle.

    Args:
        found: `pass_at_k` of each cycle, the present one last.
        config: its bounds.
    """
    best = max(found[:-1], default=0.0)
    if not found or found[-1] >= config.pass_at_k * best:
        return []
    return [f"exploration shrinks: {found[-1]:.0%} of the practice seeds were solved at least once, {best:.0%} in the best earlier cycle"]
