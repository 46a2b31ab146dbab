"""Guards of the labels. Each returns alarms, sentences that name why a cycle's labels cannot be trusted; an empty list means that none was found."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from scipy.stats import mannwhitneyu

from agent.records import Episode, Label

FEW = 5  # successes and failures, each, that a task needs before its labels are compared with its rewards
CHANCE = 0.05  # largest p-value that counts as a contradiction
AGREEMENT = (
    0.4  # probability that a success ends with more reward than a failure; below 0.5 the labels contradict the rewards, with a margin for noise
)
AUROC = 0.6  # of a detector that labels alone, on held-out demonstrations; 0.5 is chance, or a detector that says yes to everything


def labels_contradict(episodes: Sequence[Episode], labels: Sequence[Label]) -> list[str]:
    """Return an alarm for each task whose successful episodes, by their labels, end with less reward than the others.

    Args:
        episodes: practice episodes, with the environment's rewards.
        labels: one an episode.
    """
    ends: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    for e, each in zip(episodes, labels, strict=True):
        if len(e) and not e.faults:
            ends[e.task][each.success].append(float(e.last_rewards[-1]))
    alarms = []
    for task, rewards in ends.items():  # one by one: tasks may have rewards of different scales
        won, lost = rewards[True], rewards[False]
        if min(len(won), len(lost)) < FEW:
            continue
        # One-sided rank test: rewards may be on any scale. U / (n1 n2) is the share of pairs that the success wins; ties count half.
        test = mannwhitneyu(won, lost, alternative="less")
        agreement = float(test.statistic) / (len(won) * len(lost))
        if agreement < AGREEMENT and test.pvalue <= CHANCE:  # both: large practice makes a tiny difference significant
            finding = f"episodes labelled successful end with less reward than the others (they have more in {agreement:.0%} of all comparisons)"
            alarms.append(f"labels contradict rewards in {task}: {finding}")
    return alarms


def detector_fails(figures: Mapping[str, float]) -> list[str]:
    """Return an alarm where a detector that labels alone cannot tell a demonstration's success from the frames before it, or was not measured.

    Args:
        figures: of the detector; `demonstration_auroc` is absent where no demonstration succeeded.
    """
    auroc = figures.get("demonstration_auroc")
    if auroc is not None and auroc >= AUROC:
        return []
    if auroc is None:
        return ["the detector could not be measured: there was no demonstration of a success to measure it on"]
    return [f"the detector cannot tell a success: it scores a demonstration's success above the frames before it in {auroc:.0%} of all comparisons"]
