"""The videos of a run, embedded into its page: before and after on the same seeds, failures that remain, practice."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from agent.report.failures import chosen
from agent.report.page import Video
from agent.report.record import RunRecord
from agent.run.layout import cycle_number, evaluation_video

BUDGET = 2_000_000  # bytes of the videos of practice; the page would grow with each cycle


def before_after(record: RunRecord) -> list[Video]:
    """Return the videos of test seeds that the better start fails and the last champion passes."""
    before, after = record.tested()
    # As `videos.before_and_after` chose: file numbers go by this order.
    gained = [key for key, passed in after.outcomes.items() if passed and not before.outcomes.get(key)] if before and after else []
    return _told(record, gained, "before-after", wide=True)


def failures(record: RunRecord) -> list[Video]:
    """Return the videos of test seeds that the last champion fails."""
    after = record.tested()[1]
    keys = chosen(after.outcomes, record.instructions()) if after else []
    return _told(record, keys, "failure")


def practice(record: RunRecord) -> tuple[list[Video], str]:
    """Return the videos of the best and the worst episode of each cycle, and a sentence about those that the page has no room for."""
    files: dict[int, list[Path]] = defaultdict(list)
    for file in sorted((record.folder / "videos").glob("*.mp4")):
        if number := cycle_number(file.stem.rpartition("-")[0]):  # cycle-003-best gives 3, videos of no cycle give 0
            files[number].append(file)
    shown = _within([sum(file.stat().st_size for file in files[number]) for number in sorted(files)])
    numbers = [sorted(files)[i] for i in shown]
    # The third part of the name: best or worst.
    videos = [Video.read(file, f"cycle {number}, {file.stem.split('-')[2]} episode") for number in numbers for file in files[number]]
    left_out = [str(number) for number in sorted(files) if number not in numbers]
    return videos, f"The videos of cycles {', '.join(left_out)} are in the run's folder videos/." if left_out else ""


def _within(sizes: Sequence[int]) -> list[int]:
    """Return the places of as many cycles as the budget allows, evenly spaced, the first and the last among them."""
    for count in range(len(sizes), 1, -1):  # as many as fit, but two at least, the first and the last
        places = sorted({round(i * (len(sizes) - 1) / (count - 1)) for i in range(count)})
        if sum(sizes[place] for place in places) <= BUDGET:
            return places
    return [len(sizes) - 1] if sizes else []  # not even two fit: the last cycle, however large


def _told(record: RunRecord, keys: Sequence[str], kind: str, wide: bool = False) -> list[Video]:
    """Return the videos of these test seeds, with instruction and seed; those of an earlier end of the run are of another policy."""
    videos, instructions = [], record.instructions()
    for number, key in enumerate(keys):
        file = evaluation_video(record.folder, kind, record.summary["policy"], number)
        if file.exists():
            caption = ", ".join(filter(None, (instructions.get(key, ""), f"seed {key.rpartition('/')[2]}")))
            videos.append(Video.read(file, caption, wide))
    return videos
