"""Videos and pictures of a run. Episodes are replayed from their seeds and actions, and rendered larger than the policy sees them."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from agent.records import Checkpoint, Episode, Job, Scorecard, TrainingData
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run import files
from agent.run.folder import Cycle
from agent.run.layout import evaluation_video
from agent.run.mp4 import titled, write
from agent.run.tracking import Track
from envs.adapt import Adapter
from envs.faults import in_words

SIZE = 256  # height and width of a rendered frame, pixels


def show(track: Track, make: Callable[[], dict[str, Path]]) -> None:
    """Make videos and let `track` publish them; an error costs the videos, not the run."""
    try:
        make()
        track.publish()
    except (Exception, SystemExit) as error:  # the environment may raise anything when it replays an episode
        track.note(f"no video: {in_words(error)}")


def of_cycle(session: Session, cycle: Cycle, training_data: TrainingData, track: Track) -> None:
    """Make videos of the best and the worst practice episode of a cycle, and, in the first cycle, a picture of some training data."""
    folder, prefix = session.run.folder / "videos", cycle.folder.name
    # The worst is written last: where it exists, an earlier start of the run has made both.
    if not session.config.track.videos or (folder / f"{prefix}-worst.mp4").exists():
        return
    episodes = [episode for episode in session.run.episodes(cycle.folder) if not episode.faults]  # with the environment's success, not a detector's
    if cycle.number == 1 and (training_data.samples or training_data.demonstrations):
        batch(training_data, folder / "first-batch.png")
    show(track, lambda: extremes(session.environments, episodes, folder, prefix))


def drop_former(cycle: Cycle, run: Path) -> None:
    """Delete the videos of a cycle that begins: its folder was deleted, and they show the episodes that were in it."""
    if not (cycle.folder / "collect.json").exists():  # videos are made after it is written
        for file in (run / "videos").glob(f"{cycle.folder.name}-*.mp4"):
            file.unlink()


def replayed(adapter: Adapter, episode: Episode, pretty: bool = False) -> list[np.ndarray]:
    """Return uint8[SIZE, SIZE, 3] frames of an episode that is executed again, one after the reset and one after each environment step."""
    adapter.reset(episode.seed)  # exact only in deterministic environments
    frames = [adapter.render_frame(SIZE, pretty)]
    actions = np.repeat(episode.actions.reshape(-1, episode.actions.shape[-1]), adapter.config.action_repeat, axis=0)
    for action, reward in zip(actions, episode.rewards.reshape(-1), strict=True):
        if not np.isnan(reward):  # NaN: the episode had ended before this step
            adapter.advance(action)
            frames.append(adapter.render_frame(SIZE, pretty))
    return frames


def extremes(environments: Environments, episodes: Sequence[Episode], folder: Path, prefix: str) -> dict[str, Path]:
    """Write videos of the best episode (fastest success) and of the worst one (failure with the lowest last reward), where there is one.

    Returns:
        The files, by their names without suffix.
    """
    successes = sorted((e for e in episodes if e.success), key=lambda e: e.first_success or 0)
    failures = sorted((e for e in episodes if not e.success and len(e)), key=lambda e: float(e.last_rewards[-1]))
    chosen = {"best": successes[:1], "worst": failures[:1]}
    videos = {}
    for name, episode in ((name, episode) for name, some in chosen.items() for episode in some):
        adapter = environments.firsts[environments.of(episode.task)]
        # `apply`, because the environment may live in another process.
        videos[name] = write(adapter.apply(replayed, episode), folder / f"{prefix}-{name}.mp4", outcome(episode), adapter.rate)
    return videos


def of_episodes(environments: Environments, episodes: Sequence[Episode], folder: Path, note: Callable[[str], None]) -> list[Path]:
    """Write a video of each episode into a folder, `SEED-ENVIRONMENT-success.mp4` or `-failure.mp4`, and return the files.

    An episode that cannot be replayed, or encoded, has no video, and `note` gets a sentence.
    """
    files = []
    for episode in episodes:
        # Environments share seeds.
        name = f"{episode.seed}-{re.sub('[^A-Za-z0-9]+', '-', episode.task)}-{'success' if episode.success else 'failure'}.mp4"
        rate = environments.firsts[environments.of(episode.task)].rate
        if frames := shown_again(environments, episode, note):
            try:
                files.append(write(frames, folder / name, outcome(episode), rate))
            except Exception as error:  # of the encoder, or of a full disk: what is only shown costs no evaluation
                note(f"no video of seed {episode.seed}: {in_words(error)}")
    return files


def shown_again(environments: Environments, episode: Episode, note: Callable[[str], None]) -> list[np.ndarray]:
    """Return the frames of `replayed`; none where the episode has no decision or cannot be executed again: then `note` gets a sentence."""
    kind = environments.of(episode.task)
    try:
        return environments.firsts[kind].apply(replayed, episode, True) if len(episode) else []
    except (Exception, SystemExit) as error:  # the environment may raise anything when it replays an episode
        note(f"no video of seed {episode.seed}: {in_words(error)}")
        environments.renew(kind)
        return []


def before_and_after(session: Session, first: Checkpoint, last: Checkpoint, before: Scorecard, after: Scorecard, count: int = 3) -> dict[str, Path]:
    """Write videos of up to `count` test seeds that `first` failed and `last` passed, the two episodes side by side.

    Args:
        session: of the run.
        first: checkpoint on the left, with the scorecard `before`.
        last: checkpoint on the right, with the scorecard `after`.
        before: test evaluation of `first`.
        after: test evaluation of `last`, on the same seeds.
        count: largest number of videos.

    Returns:
        The files, by their names without suffix.
    """
    gained = [key for key, passed in after.outcomes.items() if passed and not before.outcomes[key]][:count]
    videos = {}
    for key in gained:
        file = evaluation_video(session.run.folder, "before-after", last.name, len(videos))
        task, seed = key.rsplit("/", 1)  # a task's name may hold slashes: etude/Reach-v0
        job = Job(int(seed), kind=session.environments.of(task))
        # Evaluations store no episodes; a greedy rollout of the same seed gives the same one again.
        attempts = [next(iter(rollout(session.load_checkpoint(checkpoint), session.environments, [job]))) for checkpoint in (first, last)]
        adapter = session.environments.firsts[job.kind]
        left, right = (adapter.apply(replayed, episode, True) for episode in attempts)
        longest = max(len(left), len(right))  # the shorter one stays on its last frame
        pairs = [np.concatenate([left[min(i, len(left) - 1)], right[min(i, len(right) - 1)]], 1) for i in range(longest)]
        videos[file.stem] = write(pairs, file, f"{attempts[0].instruction}: before | after", adapter.rate)
    return videos


def outcome(episode: Episode) -> str:
    """Return the title of a video: instruction and outcome."""
    return f"{episode.instruction} ({'done' if episode.success else 'failed'})"


def strip(frames: Sequence[np.ndarray], count: int = 6) -> np.ndarray:
    """Return `count` frames of a video side by side, evenly spread from first to last."""
    return np.concatenate([frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)], axis=1)


def batch(training_data: TrainingData, file: Path, count: int = 8) -> Path:
    """Write the first `count` situations of the training data as a picture: all frames that the policy sees, with the instruction.

    A wrong camera or a wrong instruction shows here, before hours of training.
    """
    situations = [example.situation for example in (*training_data.samples, *training_data.demonstrations)[:count]]
    rows = []
    for situation in situations:
        # Nearest neighbour: the pixels stay as the policy sees them.
        row = np.concatenate([np.asarray(Image.fromarray(frame).resize((192, 192), Image.Resampling.NEAREST)) for frame in situation.frames], axis=1)
        rows.append(titled(row, situation.instruction))
    files.write(file, lambda partial: Image.fromarray(np.concatenate(rows)).save(partial, format="PNG"))
    return file
