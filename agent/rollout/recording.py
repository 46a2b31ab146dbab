"""Writing a stage's episodes into the dataset in its folder, while they are made."""

import time
from pathlib import Path
from typing import Any

from agent.records import Episode
from agent.rollout.session import Session

SHARD, EVERY = 128, 60.0  # episodes written at a time, or those of so many seconds; after a kill at most so many are made again


def store(session: Session, folder: Path, episodes: Any, watch: Any) -> None:
    """Write episodes into a stage's folder, a shard at a time.

    Args:
        session: of the run.
        folder: of the stage.
        episodes: an iterable of `Episode`s, which may be a generator that still makes them.
        watch: called with each episode.
    """
    shard: list[Episode] = []
    since = time.monotonic()
    for episode in episodes:
        shard.append(episode)
        watch(episode)
        if len(shard) == SHARD or time.monotonic() - since > EVERY:
            _append(session, folder, shard)
            shard, since = [], time.monotonic()
    if shard:  # a dataset is never given an empty shard
        _append(session, folder, shard)


def _append(session: Session, folder: Path, shard: list[Episode]) -> None:
    chunk = session.config.policy.chunk_size
    # Decisions per second of simulated time, by task: a decision is `chunk` actions, each held for `action_repeat` environment steps.
    session.run.store(folder, shard, {each.config.title: each.rate / (each.config.action_repeat * chunk) for each in session.environments.firsts})
