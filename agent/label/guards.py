"""Guards: figures that a healthy cycle keeps within bounds. Each returns sentences that name what is outside; none means all is well."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import mannwhitneyu

from agent.evaluate.statistics import compare
from agent.records import Episode, Label, Scorecard

FEW = 5  # takes of each outcome, without which labels and rewards are not compared
CHANCE = 0.05  # what chance explains with more than this is no contradiction, and no forgetting
END = 0.1  # share of the steps that count as the end of training
AGREEMENT = 0.4  # chance that a success ends with more reward than a failure: with less a success expression is the wrong way round
AUROC = 0.6  # of a critic that labels alone, on demonstrations that it has not learnt from; 0.5 is a coin, or one that says yes to everything
ENTROPY = 0.05  # nats a token at the end of training: policies that learnt well have 0.6 to 1.6
CLIPPED = 0.8  # share of tokens outside the clip range at the end of training: policies that learnt well have 0.1 to 0.6
UNLEARNT = 1.0  # nats a token by which demonstrations became less probable: where it went well, less than 0.2
FORGETTING = 0.1  # fall of success in one of several environments
SHRUNK = 0.5  # share of the practice seeds ever solved, of the best earlier cycle's


def labels_contradict(episodes: Sequence[Episode], labels: Sequence[Label]) -> list[str]:
    """Look whether takes that are labelled successful end with the higher rewards.

    Args:
        episodes: practised, with the environment's rewards.
        labels: one an episode.
    """
    ends: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    for e, each in zip(episodes, labels, strict=True):
        if len(e) and not e.faults:
            ends[e.task][each.success].append(float(e.closing[-1]))
    told = []
    for task, rewards in ends.items():  # each by itself: tasks may have rewards of different scales
        won, lost = rewards[True], rewards[False]
        if min(len(won), len(lost)) < FEW:
            continue
        test = mannwhitneyu(won, lost, alternative="less")
        agreement = float(test.statistic) / (len(won) * len(lost))
        if agreement < AGREEMENT and test.pvalue <= CHANCE:
            less = f"takes called successful end with less reward than others (they win {agreement:.0%} of all comparisons)"
            told.append(f"labels contradict rewards in {task}: {less}")
    return told


def critic_drifts(figures: Mapping[str, float]) -> list[str]:
    """Look whether a critic that labels alone still knows a finished demonstration from an unfinished one; one that nothing was measured of does not.

    Args:
        figures: of the critic; `demonstration_auroc` is not there where no demonstration could be rated.
    """
    auroc = figures.get("demonstration_auroc")
    if auroc is not None and auroc >= AUROC:
        return []
    if auroc is None:
        return ["nobody knows whether the critic is a judge: there was no demonstration of a success to measure it on"]
    return [f"the critic is no judge: it rates the success of a demonstration above what was before one in {auroc:.0%} of all comparisons"]


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


def exploration_shrinks(found: Sequence[float]) -> list[str]:
    """Look whether far fewer practice seeds are ever solved than in the best earlier cycle.

    Args:
        found: `pass_at_k` of each cycle, the present one last.
    """
    best = max(found[:-1], default=0.0)
    if not found or found[-1] >= SHRUNK * best:
        return []
    return [f"exploration shrinks: {found[-1]:.0%} of the practice seeds were solved at least once, {best:.0%} in the best earlier cycle"]
