"""Videos of test seeds that the last champion fails: what is still to be learnt."""

from pathlib import Path

from agent.records import Checkpoint, Job, Scorecard
from agent.report.failures import chosen
from agent.report.videos import replayed, write
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run.files import load
from agent.run.layout import evaluation_name, evaluation_video


def failures(session: Session, champion: Checkpoint, after: Scorecard) -> dict[str, Path]:
    """Write videos of failed test seeds, and return the files by their names without suffix.

    Args:
        session: of the run.
        champion: the last one.
        after: its test evaluation.
    """
    folder, videos = session.run.folder, {}
    instructions = load(folder / "evaluate" / f"{evaluation_name('test', after.policy)}.json").get("instructions", {})
    for number, key in enumerate(chosen(after.outcomes, instructions)):
        task, seed = key.rsplit("/", 1)  # a task's name may hold slashes
        job = Job(int(seed), kind=session.environments.of(task))
        # Evaluations store no episodes; a greedy rollout of the same seed gives the same one again.
        episode = next(iter(rollout(session.load_checkpoint(champion), session.environments, [job])))
        if episode.faults:  # there may be no step to show
            continue
        adapter = session.environments.firsts[job.kind]
        frames = adapter.apply(replayed, episode, True)
        file = evaluation_video(folder, "failure", after.policy, number)
        videos[file.stem] = write(frames, file, episode.instruction, adapter.rate)
    return videos
