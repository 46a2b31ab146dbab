"""Guards of the labels: sentences that name why they are incredible; none means all is well."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from scipy.stats import mannwhitneyu

from agent.records import Episode, Label

FEW = 5  # takes of each outcome, without which labels and rewards are not compared
CHANCE = 0.05  # what chance explains with more than this is no contradiction
AGREEMENT = 0.4  # chance that a success ends with more reward than a failure: with less a success expression is the wrong way round
AUROC = 0.6  # of a critic that labels alone, on demonstrations that it has not learnt from; 0.5 is a coin, or one that says yes to everything


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
