"""Labels: what each episode is worth, by the environment's word or by the critic's."""

from collections.abc import Sequence
from typing import Literal

from agent.records import Episode, Label, Verdict


def label(episodes: Sequence[Episode], by: Literal["env", "critic"] = "env", verdicts: Sequence[Verdict | None] = ()) -> list[Label]:
    """Return one label an episode: its return, its success, and an instruction that it fulfilled unasked, if there is one.

    Args:
        episodes: as the environment reported them, or as the critic sees them (`critic.as_judged`).
        by: whose word their success is.
        verdicts: one an episode, or none at all.
    """
    told = verdicts or [None] * len(episodes)
    return [Label(e.total_reward, e.success, by, each, e.unasked and e.unasked[0]) for e, each in zip(episodes, told, strict=True)]
