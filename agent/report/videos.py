"""Films and pictures: a take is replayed from its seed and actions, and drawn for people."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw

from agent.records import Episode, Job, Lessons, Player, Scorecard
from agent.rollout.environments import Workers
from agent.rollout.rollout import collect
from agent.rollout.session import Session
from agent.run import files
from agent.run.folder import Cycle
from agent.run.tracking import Track
from envs.adapt import Adapter
from envs.faults import in_words

SIZE = 256  # pixels, height and width of a film


def show(track: Track, make: Callable[[], dict[str, Path]]) -> None:
    """Show films; an environment that fails while an episode is done again for one costs the film, not the run."""
    try:
        track.films(make())
    except (Exception, SystemExit) as error:
        track.note(f"no film: {in_words(error)}")


def of_cycle(session: Session, cycle: Cycle, lessons: Lessons, track: Track) -> None:
    """Show a best and a worst take of a cycle's practice, and of the first cycle what the model learns from; once."""
    folder, prefix = session.run.folder / "films", f"cycle-{cycle.number:03d}"
    if not session.config.track.films or (folder / f"{prefix}-worst.mp4").exists():
        return
    shown = [take for take in session.run.episodes(cycle.folder) if not take.faults]  # as the environment saw them
    show(track, lambda: extremes(session.workers, shown, folder, prefix))
    if cycle.number == 1 and (lessons.trials or lessons.demonstrations):
        track.picture(batch(lessons, folder / "first-batch.png"))


def replayed(adapter: Adapter, episode: Episode, pretty: bool = False) -> list[np.ndarray]:
    """Return uint8[SIZE, SIZE, 3] frames, one an environment step, of a take done again."""
    adapter.reset(episode.seed)
    frames = [adapter.film(SIZE, pretty)]
    actions = np.repeat(episode.actions.reshape(-1, episode.actions.shape[-1]), adapter.config.action_repeat, axis=0)
    for action, reward in zip(actions, episode.rewards.reshape(-1), strict=True):
        if not np.isnan(reward):
            adapter.advance(action)
            frames.append(adapter.film(SIZE, pretty))
    return frames


def write(frames: Sequence[np.ndarray], file: Path, title: str, fps: float) -> Path:
    """Write frames, `fps` a second of simulated time, as an H.264 mp4 with a title, the last frame held for a second."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    with av.open(str(partial), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width, stream.pix_fmt = frames[0].shape[0], frames[0].shape[1], "yuv420p"
        stream.options = {"crf": "26"}
        for frame in [*frames, *[frames[-1]] * math.ceil(fps)]:
            for packet in stream.encode(av.VideoFrame.from_ndarray(titled(frame, title), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    partial.replace(file)
    return file


def titled(frame: np.ndarray, title: str) -> np.ndarray:
    """Return the frame with a line of text in its lower left corner."""
    picture = Image.fromarray(frame)
    ImageDraw.Draw(picture).text((6, frame.shape[0] - 16), title, fill=(20, 20, 20))
    return np.asarray(picture)


def extremes(workers: Workers, episodes: Sequence[Episode], folder: Path, prefix: str) -> dict[str, Path]:
    """Write a best take (fastest success) and a worst one (failure that ended farthest from the goal)."""
    won = sorted((e for e in episodes if e.success), key=lambda e: e.first_success or 0)
    lost = sorted((e for e in episodes if not e.success and len(e)), key=lambda e: float(e.closing[-1]))
    chosen = {"best": won[:1], "worst": lost[:1]}
    films = {}
    for name, episode in ((name, episode) for name, some in chosen.items() for episode in some):
        adapter = workers.firsts[workers.of(episode.task)]
        films[name] = write(adapter.apply(replayed, episode), folder / f"{prefix}-{name}.mp4", _outcome(episode), adapter.rate)
    return films


def contrast(session: Session, first: Player, last: Player, before: Scorecard, after: Scorecard, count: int = 3) -> dict[str, Path]:
    """Write films, side by side, of final exam seeds that the first champion failed and the last one passed."""
    learnt = [key for key, passed in after.outcomes.items() if passed and not before.outcomes[key]][:count]
    films = {}
    for key in learnt:
        file = session.run.folder / "films" / f"contrast-{len(films)}.mp4"
        task, seed = key.rsplit("/", 1)
        job = Job(int(seed), kind=session.workers.of(task))
        takes = [next(iter(collect(session.play(player), session.workers, [job]))) for player in (first, last)]
        adapter = session.workers.firsts[job.kind]
        left, right = (adapter.apply(replayed, take, True) for take in takes)
        longest = max(len(left), len(right))
        pairs = [np.concatenate([left[min(i, len(left) - 1)], right[min(i, len(right) - 1)]], 1) for i in range(longest)]
        films[f"contrast-{len(films)}"] = write(pairs, file, f"{takes[0].instruction}: before | after", adapter.rate)
    return films


def _outcome(episode: Episode) -> str:
    return f"{episode.instruction} ({'done' if episode.success else 'failed'})"


def strip(frames: Sequence[np.ndarray], count: int = 6) -> np.ndarray:
    """Return `count` frames of a film side by side, evenly spread from first to last."""
    return np.concatenate([frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)], axis=1)


def batch(lessons: Lessons, file: Path, count: int = 8) -> Path:
    """Write the first lessons as a picture: every frame that the model sees, and the instruction, to look at before trusting a curve."""
    some = [lesson.situation for lesson in (*lessons.trials, *lessons.demonstrations)[:count]]
    rows = []
    for situation in some:
        row = np.concatenate([np.asarray(Image.fromarray(frame).resize((192, 192), Image.Resampling.NEAREST)) for frame in situation.frames], axis=1)
        rows.append(titled(row, situation.instruction))
    files.write(file, lambda partial: Image.fromarray(np.concatenate(rows)).save(partial, format="PNG"))
    return file
