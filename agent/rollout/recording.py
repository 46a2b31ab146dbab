"""Episodes as they come, into the dataset of a stage's folder."""

from pathlib import Path
from typing import Any

from agent.records import Episode
from agent.rollout.session import Session

SHARD = 128  # episodes written at a time; a kill costs at most this many


def store(session: Session, folder: Path, episodes: Any, watch: Any) -> None:
    """Write episodes as they come, a shard at a time."""
    shard: list[Episode] = []
    for episode in episodes:
        shard.append(episode)
        watch(episode)
        if len(shard) == SHARD:
            _append(session, folder, shard)
            shard = []
    if shard:
        _append(session, folder, shard)


def _append(session: Session, folder: Path, shard: list[Episode]) -> None:
    held = session.config.policy.chunk
    session.run.store(folder, shard, {each.config.title: each.rate / (each.config.action_repeat * held) for each in session.workers.firsts})
