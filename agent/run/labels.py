"""What stage `label` wrote down of each episode. Whoever needs a label reads it here, and needs no detector."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from agent.records import Episode, Label, Verdict
from agent.run.files import load
from agent.run.folder import Cycle, Run
from agent.run.layout import remedy


def believed(run: Run, cycle: Cycle) -> list[Cycle]:
    """Return the earlier cycles whose labels were credible."""
    return [each for each in map(run.cycle, range(1, cycle.number)) if not load(each.folder / "label.json").get("alarms")]


def labelled(run: Run, cycle: Cycle) -> list[Episode]:
    """Return a cycle's episodes as they were labelled: success and rewards are those of whoever had the word.

    Raises:
        ValueError: its labels are damaged, or of an earlier version.
    """
    alone, file = run.config.label.by == "critic", cycle.folder / "label.json"
    if (told := load(file).get("episodes")) is None:
        raise ValueError(f"{file} was written by an earlier version, which did not keep the labels of episodes; {remedy(cycle.folder)}")
    return [as_labelled(episode, row, alone) for episode, row in zip(run.episodes(cycle.folder), told, strict=True)]


def labels_of(run: Run, cycle: Cycle, episodes: Sequence[Episode]) -> list[Label]:
    """Return the label of each episode that `labelled` returned."""
    by: Any = "critic" if run.config.label.by == "critic" else "env"
    said = [row["verdict"] and Verdict(**row["verdict"]) for row in load(cycle.folder / "label.json")["episodes"]]
    return [Label.of(episode, by, verdict) for episode, verdict in zip(episodes, said, strict=True)]


def row(before: Episode, after: Episode, verdict: Verdict | None) -> dict[str, Any]:
    """Return what `label.json` says of an episode: nothing of its rewards where they are the environment's own."""
    changed = after.rewards is not before.rewards
    told = {"success": after.success, "first_success": after.first_success, "rewards": after.rewards.tolist() if changed else None}
    return {**told, "verdict": verdict and asdict(verdict)}


def as_labelled(episode: Episode, row: dict[str, Any], alone: bool) -> Episode:
    """Return an episode as it was labelled.

    Args:
        episode: as the environment reported it.
        row: of it, in `label.json`.
        alone: whether a detector labels alone. Nothing of the environment's reward or success is then left in the episode: it ended where the
            detector saw a success.
    """
    if alone and row["rewards"] is not None:
        return judged(episode, np.array(row["rewards"], np.float32).reshape(-1, 2), row["first_success"])
    rewards = episode.rewards if row["rewards"] is None else np.array(row["rewards"], np.float32).reshape(-1, 2)
    return replace(episode, success=row["success"], first_success=row["first_success"], rewards=rewards)


def judged(episode: Episode, rewards: np.ndarray, first_success: int | None) -> Episode:
    """Return an episode of which nothing counts but what a detector says: it ends at its first success, if there is one.

    Args:
        episode: at least one decision.
        rewards: float32[T or more, 2], before and after each decision.
        first_success: the decision after which the detector saw a success; None: it saw none.
    """
    end = len(episode) if first_success is None else first_success + 1
    won = first_success is not None
    return replace(
        episode,
        frames=episode.frames[: end + 1],
        states=None if episode.states is None else episode.states[: end + 1],
        actions=episode.actions[:end],
        tokens=episode.tokens[:end],
        logprobs=episode.logprobs[:end],
        rewards=rewards[:end],
        success=won,
        first_success=first_success,
        success_at_end=won,
        terminated=won,
        truncated=not won,
        achieved=(),
        unasked=None,
        rivals=None,
        margins=None,
        taught=None,
    )
