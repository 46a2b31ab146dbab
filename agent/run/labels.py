"""The labels in `label.json`: how one is written, and how stored episodes are read with their labels, without running a detector again."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from agent.records import DetectorScore, Episode, Label
from agent.run.files import load
from agent.run.folder import Cycle, Run


def credible(run: Run, cycle: Cycle) -> list[Cycle]:
    """Return the earlier cycles whose labels raised no alarm, in order."""
    return [earlier for earlier in map(run.cycle, range(1, cycle.number)) if not load(earlier.folder / "label.json")["alarms"]]


def labelled(run: Run, cycle: Cycle) -> list[Episode]:
    """Return a cycle's episodes with the success and the rewards that stage `label` gave them.

    Raises:
        ValueError: the labels are damaged.
    """
    alone, rows = run.config.label.by == "detector", load(cycle.folder / "label.json")["episodes"]
    return [as_labelled(episode, row, alone) for episode, row in zip(run.episodes(cycle.folder), rows, strict=True)]  # in stored order


def labels_of(run: Run, cycle: Cycle, episodes: Sequence[Episode]) -> list[Label]:
    """Return the labels of a cycle's episodes, one each, in their order.

    Args:
        run: of the cycle.
        cycle: whose labels.
        episodes: as `labelled` returned them; the stored ones would have the environment's success.
    """
    by: Any = "detector" if run.config.label.by == "detector" else "env"
    # None where no detector scored the episode.
    scores = [row["detector_score"] and DetectorScore(**row["detector_score"]) for row in load(cycle.folder / "label.json")["episodes"]]
    return [Label.of(episode, by, detector_score) for episode, detector_score in zip(episodes, scores, strict=True)]


def row(before: Episode, after: Episode, detector_score: DetectorScore | None) -> dict[str, Any]:
    """Return the row of an episode in `label.json`.

    Args:
        before: the episode as stored, with the environment's reward and success.
        after: the same episode as labelled; rewards are written only if they are not the environment's.
        detector_score: None where no detector scored the episode.
    """
    changed = after.rewards is not before.rewards  # identity: labelling keeps the array where it keeps the rewards
    label = {"success": after.success, "first_success": after.first_success, "rewards": after.rewards.tolist() if changed else None}
    return {**label, "detector_score": detector_score and asdict(detector_score)}


def as_labelled(episode: Episode, row: dict[str, Any], alone: bool) -> Episode:
    """Return an episode with its label.

    Args:
        episode: as stored, with the environment's reward and success.
        row: its row in `label.json`.
        alone: whether a detector labels alone (`label.by: detector`). The returned episode then holds no reward or success of the environment,
            and ends at the first success that the detector found.
    """
    # An episode without a decision was not scored and has no rewards, hence the second condition.
    if alone and row["rewards"] is not None:
        return cut_at_detected_success(episode, np.array(row["rewards"], np.float32).reshape(-1, 2), row["first_success"])  # before, after
    rewards = episode.rewards if row["rewards"] is None else np.array(row["rewards"], np.float32).reshape(-1, 2)
    return replace(episode, success=row["success"], first_success=row["first_success"], rewards=rewards)


def cut_at_detected_success(episode: Episode, rewards: np.ndarray, first_success: int | None) -> Episode:
    """Return an episode with a detector's rewards and success alone, cut after its first success if it has one.

    Args:
        episode: with at least one decision.
        rewards: float32[N, 2], the detector's reward before and after each of the first N decisions, which include the first success.
        first_success: index of the first decision after which the detector found a success; None: there is none.
    """
    end = len(episode) if first_success is None else first_success + 1  # decisions that remain
    success = first_success is not None
    return replace(
        episode,
        frames=episode.frames[: end + 1],  # observations are one more than decisions
        states=None if episode.states is None else episode.states[: end + 1],
        actions=episode.actions[:end],
        tokens=episode.tokens[:end],
        logprobs=episode.logprobs[:end],
        rewards=rewards[:end],
        success=success,
        first_success=first_success,
        success_at_end=success,  # the cut makes the first success the end
        terminated=success,
        truncated=not success,
        achieved=(),  # this and `hindsight` come from the environment's own success
        hindsight=None,
        policy_tokens=None,  # this and `lookahead_gains` come from its reward; look-ahead is refused with `label.by: detector` anyway
        lookahead_gains=None,
        target_actions=None,
    )
