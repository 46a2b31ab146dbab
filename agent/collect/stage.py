"""Stage `collect` of a run: the episodes of a cycle's practice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.collect.curriculum import by_seed
from agent.collect.jobs import dynamic_sampling_jobs, lookahead_jobs, practice_jobs
from agent.records import Checkpoint, Episode, Job, num_env_steps, success_rate
from agent.rollout.recording import store
from agent.rollout.rollout import tolerate
from agent.rollout.session import Session
from agent.rollout.sharing import by_task
from agent.run.folder import Cycle
from agent.run.layout import LOOKAHEAD
from agent.run.tracking import Track


def beginnings(episodes: Sequence[Episode]) -> list[int]:
    """Return how many different first frames the seeds of episodes have, and how many seeds there are; few frames mean few situations."""
    firsts = {(episode.task, episode.seed): episode.frames[0].tobytes() for episode in episodes if not episode.faults}
    return [len(set(firsts.values())), len(firsts)]


def collect(session: Session, champion: Checkpoint, cycle: Cycle, track: Track) -> None:
    """Stage `collect`: sampled episodes on each of the cycle's seeds, then look-ahead episodes, into the cycle's folder and `collect.json`.

    Args:
        session: of the run.
        champion: acts.
        cycle: the present one.
        track: for progress bars and figures.

    Raises:
        ValueError: too many episodes were lost to faults of the environment.
    """
    run = session.run
    config, jobs = cycle.config.collect, practice_jobs(run, cycle)

    def play(title: str, todo: list[Job], folder: Path = cycle.folder) -> list[Episode]:
        # After a kill the first episodes are on disk already, in the order of the jobs, and the rest is made now. After a kill in a later round
        # there are more of them than jobs of the first round, for which nothing is made then.
        kept = run.episodes(folder)
        with track.bar(f"cycle {cycle.number}: {title}", len(todo), len(kept)) as step:
            rollouts = session.rollout(champion, todo[len(kept) :], practice=True)
            num_faults = sum(bool(episode.faults) for episode in kept)
            store(session, folder, tolerate(rollouts, len(todo), num_faults), lambda episode: step(1))
        return run.episodes(folder)

    def go() -> dict[str, Any]:
        planned, episodes = jobs, play("collect", jobs)
        while more := dynamic_sampling_jobs(run, cycle, episodes):
            # The rounds depend only on the episodes so far, so a resumed run makes the same ones in the same order.
            planned = [*planned, *more]
            episodes = play("more seeds", planned)
        lookahead = play("look-ahead", lookahead_jobs(run, cycle), cycle.folder / LOOKAHEAD) if config.lookahead_episodes else []
        faults = [f"seed {episode.seed}: {episode.faults[0]}" for episode in [*episodes, *lookahead] if episode.faults]
        figures = {
            "success": success_rate(episodes),
            "decisions": sum(map(len, [*episodes, *lookahead])),
            "env_steps": num_env_steps([*episodes, *lookahead]),
            "faults": len(faults),
        }
        if lookahead:
            figures["lookahead_success"] = success_rate(lookahead)
            # Decisions that were tried in copies of the simulator: all candidates, and the better decision that came of them.
            figures["candidates_tried"] = sum(map(len, lookahead)) * (config.lookahead_candidates + 1)
        figures |= {f"success/{task}": rate for task, rate in by_task(run.config.envs, {e.id: e.success for e in episodes if not e.faults}).items()}
        # Counts by folder: when the run goes on, `agent.ready` checks that these episodes are still on disk.
        recorded = {"episodes": len(episodes)} | ({f"{LOOKAHEAD}/episodes": len(lookahead)} if lookahead else {})
        # `seeds` is read by the curriculum of later cycles; of faults the first few are enough for people.
        content = {"figures": figures, "policy": champion.name, "faults": faults[:20], "seeds": by_seed(episodes), "recorded": recorded}
        return content | {"beginnings": beginnings(episodes)}

    run.keep(cycle.folder / "collect.json", go)
    track.log(run.metrics())
    run.finished("collect")  # raises `Halt` after `--until collect`
