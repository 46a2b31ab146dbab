"""Credit: what each decision brought the episode, and how much better that is than was to be expected there (advantage)."""

from collections.abc import Sequence

import numpy as np

from agent.config.keys import CurateConfig
from agent.records import Episode, Label, Trial

LINE, CURVE = 6, 60  # episodes from which on what is expected is a line, and a quadratic, in the reward at that moment; fewer draw a mean

Take = tuple[Episode, Label]
Start = tuple[str, int]  # what episodes of one group share: task and seed


def start_of(episode: Episode) -> Start:
    """Return what an episode has in common with all that began at the same state."""
    return episode.task, episode.seed


def advantages(takes: Sequence[Take], config: CurateConfig) -> list[Trial]:
    """Return every decision with its advantage: discounted progress that followed, less what was to be expected, over the deviation.

    Expected of a first decision is the mean over the other episodes of its seed, which all begin alike. Expected of a later one is a quadratic in
    the reward at that moment (a line or a mean where episodes are few), fitted to the task's other episodes for each decision index: far from the
    goal there is more progress to be made.
    """
    returns = [credit_to_go(episode, label, config) for episode, label in takes]
    if not returns:
        return []
    surprise = [row.copy() for row in returns]
    for task in dict.fromkeys(episode.task for episode, _ in takes):  # each by itself: tasks may have rewards of different scales
        own = [i for i, (episode, _) in enumerate(takes) if episode.task == task]
        for t in range(max(len(returns[i]) for i in own)):
            rows = [i for i in own if len(returns[i]) > t]
            gained = np.array([returns[i][t] for i in rows])
            for i, value in zip(rows, _surprise(gained, [takes[i][0] for i in rows], t), strict=True):
                surprise[i][t] = value
        spread = float(np.std(np.concatenate([surprise[i] for i in own]))) + 1e-6
        for i in own:
            surprise[i] /= spread
    return [
        Trial(episode.situation(t), episode.tokens[t], episode.logprobs[t], float(row[t]))
        for (episode, _), row in zip(takes, surprise, strict=True)
        for t in range(len(episode))
    ]


def _surprise(gained: np.ndarray, episodes: Sequence[Episode], t: int) -> np.ndarray:
    """Return float64[N]: how much more each of N episodes gained from decision `t` on than the others of its kind let expect."""
    if t == 0:
        starts, surprise = np.array([str(start_of(episode)) for episode in episodes]), np.empty(len(gained))
        for start in np.unique(starts):
            same = starts == start
            surprise[same] = _beyond_the_others(gained[same], np.ones((np.count_nonzero(same), 1)))
        return surprise
    return _beyond_the_others(gained, _design(np.array([episode.closing[t - 1] for episode in episodes], np.float64)))


def _design(near: np.ndarray) -> np.ndarray:
    """Return float64[N, 1 to 3]: the columns of a mean, a line or a quadratic in N rewards, by how many they are."""
    columns = 1 + (len(near) >= LINE) + (len(near) >= CURVE)
    return np.vander((near - near.mean()) / (near.std() + 1e-9), columns, increasing=True)


def _beyond_the_others(gained: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Return float64[N]: each gain less what least squares through all the others predicts for it; 0 where the others say nothing.

    Leave-one-out, because a curve through few points would explain each of them away. Its residual is r / (1 - h), with r the residual of the fit
    through all points and h the diagonal of its hat matrix (Allen, Technometrics 16, 1974). It is at most 2 r: one episode that stands far from all
    others bends the curve alone, and what the others predict for it is a guess.

    Args:
        gained: float64[N].
        design: float64[N, D], whose first column is 1.
    """
    hat = design @ np.linalg.pinv(design)
    return (gained - hat @ gained) / np.maximum(1 - np.diagonal(hat), 0.5)


def credit_to_go(episode: Episode, label: Label, config: CurateConfig) -> np.ndarray:
    """Return float64[T]: discounted sum of the credit from each decision on.

    Progress of a decision is how much the reward of its last action exceeds that of the one before. The reward before the first decision is
    not known; it counts as 0, for it is the same in all takes of a seed and cancels in their advantage. With rewards that say how near the goal
    is, the sum of progress does not favour slow takes, as the sum of rewards does. Success adds a bonus.
    """
    if config.credit in ("progress", "steps"):  # with `steps` the rewards are the model's own word, the first of them on the beginning
        before = float(episode.rewards[0, 0]) if config.credit == "steps" else 0.0
        credit = np.diff(episode.closing.astype(np.float64), prepend=before)
    else:
        credit = np.nanmean(episode.rewards.astype(np.float64), axis=1) * (config.credit == "reward")
    if label.success and episode.first_success is not None:
        credit[episode.first_success] += config.success_bonus
    for t in range(len(credit) - 2, -1, -1):
        credit[t] += config.discount * credit[t + 1]
    return credit
