"""Episodes as they come, into the dataset of a stage's folder."""

from pathlib import Path
from typing import Any

from agent.records import Episode
from agent.rollout.session import Session
from agent.run import episodes as dataset

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
    run = session.run
    run.still_there()
    rates = {
        each.config.title: each.rate / (each.config.action_repeat * run.config.policy.chunk) for each in session.workers.firsts
    }  # decisions a second
    dataset.append(folder / "episodes", shard, fps=next(iter(rates.values())), rates=rates, cameras=run.config.envs[0].frame_names)
