"""Credit assignment: the return of each decision, and its advantage, how much better it turned out than expected.

T = decisions in an episode, N = episodes that are compared at one decision index.
"""

from collections.abc import Sequence

import numpy as np

from agent.config.keys import CurateConfig
from agent.records import Episode, Label, PolicySample

SUCCESS_BONUS = 1.0  # added to the credit of the decision that succeeds
LINE, CURVE = 6, 60  # episodes from which on the baseline is linear, and quadratic, in the reward before the decision; with fewer it is a mean

LabelledEpisode = tuple[Episode, Label]
Start = tuple[str, int]  # task and seed


def start_of(episode: Episode) -> Start:
    """Return task and seed of an episode: episodes that share them began in the same state."""
    return episode.task, episode.seed


def advantages(attempts: Sequence[LabelledEpisode], config: CurateConfig) -> list[PolicySample]:
    """Return every decision as a policy sample with its advantage: its return (`credit_to_go`) minus a baseline, over the task's standard deviation.

    The baseline of a first decision is the mean return of the other episodes of its seed, which begin in the same state. That of a later one is a
    regression on the reward before the decision (mean, line or quadratic), fitted for each decision index to the task's other episodes: far from the
    goal more progress is left to make, and to be expected.

    Args:
        attempts: episodes with their labels, of any tasks.
        config: kind of credit, and discount.
    """
    returns = [credit_to_go(episode, label, config) for episode, label in attempts]
    if not returns:
        return []
    advantage = [row.copy() for row in returns]
    for task in dict.fromkeys(episode.task for episode, _ in attempts):  # each by itself: tasks may have rewards of different scales
        own = [i for i, (episode, _) in enumerate(attempts) if episode.task == task]
        for t in range(max(len(returns[i]) for i in own)):
            rows = [i for i in own if len(returns[i]) > t]  # episodes that are still going on
            returns_N = np.array([returns[i][t] for i in rows])
            for i, value in zip(rows, _beyond_expected(returns_N, [attempts[i][0] for i in rows], t), strict=True):
                advantage[i][t] = value
        # Scaled, not centred: the baselines have done that. With 1e-6 advantages stay 0 where all returns are alike.
        spread = float(np.std(np.concatenate([advantage[i] for i in own]))) + 1e-6
        for i in own:
            advantage[i] /= spread
    return [
        PolicySample(episode.situation(t), episode.tokens[t], episode.logprobs[t], float(row[t]))
        for (episode, _), row in zip(attempts, advantage, strict=True)
        for t in range(len(episode))
    ]


def _beyond_expected(gained: np.ndarray, episodes: Sequence[Episode], t: int) -> np.ndarray:
    """Return float64[N]: the return of decision `t` in each of N episodes of a task, minus its baseline.

    Args:
        gained: float64[N], returns.
        episodes: N episodes, each with more than `t` decisions.
        t: index of the decision.
    """
    if t == 0:
        starts, surprise = np.array([str(start_of(episode)) for episode in episodes]), np.empty(len(gained))
        for start in np.unique(starts):
            same = starts == start
            surprise[same] = _leave_one_out(gained[same], np.ones((np.count_nonzero(same), 1)))
        return surprise
    return _leave_one_out(gained, _design(np.array([episode.last_rewards[t - 1] for episode in episodes], np.float64)))


def _design(near: np.ndarray) -> np.ndarray:
    """Return float64[N, 1 to 3]: the columns of a mean, a line or a quadratic in N rewards; the more rewards, the more columns."""
    columns = 1 + (len(near) >= LINE) + (len(near) >= CURVE)
    return np.vander((near - near.mean()) / (near.std() + 1e-9), columns, increasing=True)  # standardised, or the columns are nearly collinear


def _leave_one_out(gained: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Return float64[N]: each return minus its prediction by least squares through all the other returns; 0 for a return that has no others.

    Leave-one-out, because a curve through few points would pass through each of them and leave nothing. The residual is r / (1 - h), with r the
    residual of the fit through all points and h the diagonal of its hat matrix (Allen, Technometrics 16, 1974).

    Args:
        gained: float64[N], returns.
        design: float64[N, D], whose first column is 1.
    """
    hat = design @ np.linalg.pinv(design)
    # At most 2 r: for a point far from all others h is near 1. It bends the curve alone, and the others' prediction there is an extrapolation.
    return (gained - hat @ gained) / np.maximum(1 - np.diagonal(hat), 0.5)


def credit_to_go(episode: Episode, label: Label, config: CurateConfig) -> np.ndarray:
    """Return float64[T]: the return of each decision, the discounted sum of the credit from it on.

    Credit of a decision, by `config.credit`:

    * `progress`, `steps_to_go`: the reward of its last step minus that of the decision before. With rewards that measure the distance to the goal the
      sum of progress does not favour slow episodes, as the sum of rewards does.
    * `reward`: the mean reward of its steps.
    * `outcome`: 0.

    A decision that succeeds gets a bonus besides.
    """
    if config.credit in ("progress", "steps_to_go"):
        # An environment gives no reward before the first decision. It counts as 0: all episodes of a seed share it, so it cancels in the baseline.
        # Predicted rewards have two columns, before and after each decision.
        before = float(episode.rewards[0, 0]) if config.credit == "steps_to_go" else 0.0
        credit = np.diff(episode.last_rewards.astype(np.float64), prepend=before)
    else:
        credit = np.nanmean(episode.rewards.astype(np.float64), axis=1) * (config.credit == "reward")  # NaN: steps after the end
    if label.success and episode.first_success is not None:
        credit[episode.first_success] += SUCCESS_BONUS
    for t in range(len(credit) - 2, -1, -1):
        credit[t] += config.discount * credit[t + 1]
    return credit
