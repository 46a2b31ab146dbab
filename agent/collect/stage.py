"""Stage `collect` of a run: practice, and episodes that look ahead."""

from pathlib import Path
from typing import Any

import numpy as np

from agent.collect.curriculum import by_seed
from agent.collect.jobs import guided_jobs, practice_jobs, refill_jobs
from agent.records import Episode, Job, Player
from agent.rollout.recording import store
from agent.rollout.rollout import tolerate
from agent.rollout.session import Session
from agent.rollout.sharing import by_task
from agent.run.folder import Cycle
from agent.run.layout import GUIDED
from agent.run.tracking import Track


def practise(session: Session, champion: Player, cycle: Cycle, track: Track) -> None:
    """Stage `collect`: K hot takes on each of the cycle's seeds."""
    run = session.run
    config, jobs = cycle.config.collect, practice_jobs(run, cycle)

    def play(title: str, todo: list[Job], folder: Path = cycle.folder) -> list[Episode]:
        kept = run.episodes(folder)
        with track.bar(f"cycle {cycle.number}: {title}", len(todo), len(kept)) as step:
            made = session.perform(champion, todo[len(kept) :], practice=True)
            spoilt = sum(bool(episode.faults) for episode in kept)
            store(session, folder, tolerate(made, len(todo), config.max_fault_share, spoilt), lambda episode: step(1))
        return run.episodes(folder)

    def go() -> dict[str, Any]:
        tried, episodes = jobs, play("collect", jobs)
        while more := refill_jobs(run, cycle, episodes):
            tried = [*tried, *more]
            episodes = play("collect, refill", tried)
        guided = play("collect, guided", guided_jobs(run, cycle), cycle.folder / GUIDED) if config.guided else []
        faults = [f"seed {episode.seed}: {episode.faults[0]}" for episode in [*episodes, *guided] if episode.faults]
        figures = {
            "success": float(np.mean([episode.success for episode in episodes])),
            "decisions": sum(map(len, [*episodes, *guided])),
            "faults": len(faults),
        }
        if guided:
            figures["guided_success"] = float(np.mean([episode.success for episode in guided]))
            figures["foreseen"] = sum(map(len, guided)) * (config.foresight + 1)
        figures |= {f"success/{task}": rate for task, rate in by_task(run.config.envs, {e.id: e.success for e in episodes}).items()}
        recorded = {"episodes": len(episodes)} | ({f"{GUIDED}/episodes": len(guided)} if guided else {})
        return {"figures": figures, "policy": champion.name, "faults": faults[:20], "seeds": by_seed(episodes), "recorded": recorded}

    run.keep(cycle.folder / "collect.json", go)
    track.log(run.metrics())
    run.finished("collect")
