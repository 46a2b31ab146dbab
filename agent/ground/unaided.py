"""Questions that need no simulator state: their answers come from frames, from random actions, from the clock, and from entries of `info`.

Each function makes the questions of one kind from the frames, actions and times of an episode; `scenes` plays the episodes and picks the moments.
No answer is an action of the expert. A scene is one moment, or two of them: the frames of the earlier one come first.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from agent.ground import clips
from agent.ground.clips import Clip, check_alike
from agent.ground.entries import entries, ranges
from agent.ground.pictures import HUES, Place, change, colour_spots, movers, vivid
from agent.ground.scenes import Question, Scene
from agent.ground.tolerance import Tolerance
from agent.ground.wording import OWN, Wording
from agent.rollout.copies import Play, one_by_one
from envs.adapt import Adapter
from envs.host import Proxy

KINDS = ("where", "way", "instruction", "colour", "left", "done", "action", "apart", "same", "moved")
KINDS_OF_ENTRIES = ("position", "relation", "nearer")  # further ones, with `ground.from`
MOMENTS, PAIRS = 5, 3  # scenes of one moment and of two, from an episode
FURTHEST = 6  # decisions between two moments, at most
MOST = 9  # largest answer to how many decisions are left
POINTS = 3  # pixels of a frame that are asked about
FIRST = 24  # episodes that are played before the first question, for the ranges of `ground.from`


def scenes(
    adapter: Adapter | Proxy,
    seeds: Iterator[int],
    rng: np.random.Generator,
    expert: Callable[[Adapter], np.ndarray] | None,
    shares: Callable[[np.ndarray], np.ndarray],
    sources: Mapping[str, str],
    wording: Wording = OWN,
    play: Play | None = None,
) -> Iterator[Scene]:
    """Yield scenes of one moment and of two, from an episode of each seed.

    Args:
        adapter: any environment.
        seeds: environment seeds, as many as are needed.
        rng: draws moments and questions; each episode draws its motion from a generator that it spawns.
        expert: an environment in its present state -> float32[A]; it shows what a task's end looks like. None: random motion alone.
        shares: actions float32[..., A] -> the numbers that write them, as shares of the codec's (`Codec.shares`).
        sources: `ground.from`.
        wording: of questions and answers.
        play: plays the episodes; None: one by one, in `adapter`.

    Raises:
        ValueError: too many seeds are faulty, there is no expert, or `sources` names what is not there.
    """
    tolerance = Tolerance(adapter.config.title)

    def episodes() -> Iterator[Clip]:
        for (seed, *_), call in (play or partial(one_by_one, adapter))(
            clips.play, ((seed, rng.spawn(1)[0], expert, dict(sources)) for seed in seeds)
        ):
            clip = None
            with tolerance.of(seed):
                clip = call()
            if clip is not None:
                yield clip

    drawn = episodes()
    first = list(itertools.islice(drawn, FIRST if sources else 1))
    spans = ranges([clip.values for clip in first])
    before = first[-1]
    for clip in itertools.chain(first, drawn):
        check_alike(before, clip, sources)
        yield from _moments(clip, rng, spans, wording)
        yield from _pairs(clip, before, rng, shares, wording)
        before = clip


def _moments(clip: Clip, rng: np.random.Generator, spans: Mapping[str, tuple[np.ndarray, np.ndarray]], wording: Wording) -> Iterator[Scene]:
    """Yield scenes of single moments of an episode, its first success among them."""
    last, moving = len(clip.actions), [list(movers(view)) for view in np.moveaxis(clip.frames, 1, 0)]
    chosen = rng.permutation(last + 1)[:MOMENTS].tolist()
    for t in sorted({*chosen, first}) if (first := first_success(clip)) is not None else chosen:
        frames = clip.frames[t].copy()  # a view would keep all frames of the episode in memory, as long as the scene is there
        spots = [colour_spots(view) for view in frames]
        tools = [of_view[t] for of_view in moving]
        values = {name: each[t] for name, each in clip.values.items()}
        asked = [
            *where(spots, tools, wording),
            *way(spots[0], tools[0], wording),
            *instructed(clip.instruction, spots, tools, wording),
            *colour(frames, rng, wording),
            *left(clip, t, wording),
            *done(clip, t, wording),
            *entries(values, spans, wording),
        ]
        places = [(name, view, *place) for view, found in enumerate(spots) for name, place in found.items()]
        places += [("tool", view, *place) for view, place in enumerate(tools) if place is not None]
        yield Scene(frames, tuple(asked), tuple(places))


def _pairs(clip: Clip, other: Clip, rng: np.random.Generator, shares: Callable[[np.ndarray], np.ndarray], wording: Wording) -> Iterator[Scene]:
    """Yield scenes of two moments: of an episode, and once in so many of it and of another."""
    last = len(clip.actions)
    for _ in range(PAIRS):
        t = int(rng.integers(last))
        later = min(t + (1 if rng.random() < 0.5 else int(rng.integers(1, FURTHEST + 1))), last)
        before, after = clip.frames[t], clip.frames[later]
        asked = [*apart(later - t, len(before), wording), *same(True, len(before), wording), *moved(before, after, wording)]
        if later == t + 1 and not clip.shown:
            asked += action(shares(clip.actions[t]), len(before), wording)
        if rng.random() < 0.3 and other is not clip:
            after, asked = other.frames[int(rng.integers(len(other.frames)))], [*same(False, len(before), wording)]
        yield Scene(np.concatenate([before, after]), tuple(asked))


def first_success(clip: Clip) -> int | None:
    """Return the index of the first observation at which the instruction is fulfilled; None: at none."""
    return int(clip.done.argmax()) if clip.done.any() else None


def where(spots: Sequence[Mapping[str, Place]], tools: Sequence[Place | None], wording: Wording) -> Iterator[Question]:
    """Ask for the place of each colour that has one spot, and of what moves, in each view."""
    for view, (found, tool) in enumerate(zip(spots, tools, strict=True), 1):
        for name, place in [*found.items(), *([("tool", tool)] if tool else [])]:
            yield Question("where", wording.ask("where", name=name, view=view), wording.write(*place))


def way(spots: Mapping[str, Place], tool: Place | None, wording: Wording) -> Iterator[Question]:
    """Ask which way each colour lies from what moves, in the first view: the longer part of the way first."""
    for name, place in spots.items() if tool else ():
        assert tool is not None  # for the type checker
        offset = np.subtract(place, tool)
        words = [pair[int(part > 0)] for part, pair in zip(offset, (("left", "right"), ("up", "down")), strict=True)]
        answer = " ".join(words[i] for i in np.argsort(-np.abs(offset)))
        yield Question("way", wording.ask("way", name=name), answer)


def instructed(instruction: str, spots: Sequence[Mapping[str, Place]], tools: Sequence[Place | None], wording: Wording) -> Iterator[Question]:
    """Ask where the thing of an instruction is, and how far from what moves; and again with each other colour that is seen in its place.

    The thing is known by its colour, so an instruction without a colour, or with two, has no such questions.
    """
    words = re.findall(rf"\b(?:{'|'.join(HUES)})\b", instruction)
    for view, (found, tool) in enumerate(zip(spots, tools, strict=True), 1):
        for name, place in found.items() if len(words) == 1 else ():
            text = re.sub(rf"\b{words[0]}\b", name, instruction)
            yield Question("instruction", wording.ask("named where", text=text, which="first", view=view), wording.write(*place))
            if view == 1 and tool:
                offset = wording.write(*(0.5 + (there - here) / 2 for there, here in zip(place, tool, strict=True)))
                yield Question("instruction", wording.ask("named offset", text=text, which="first"), offset)


def colour(frames: np.ndarray, rng: np.random.Generator, wording: Wording) -> Iterator[Question]:
    """Ask for the colour of a few vivid pixels of each of the uint8[F, h, w, 3] frames of a moment."""
    for view, frame in enumerate(frames, 1):
        for name, place in vivid(frame, POINTS, rng):
            yield Question("colour", wording.ask("colour", place=wording.write(*place), view=view), name)


def left(clip: Clip, t: int, wording: Wording) -> Iterator[Question]:
    """Ask how many decisions a demonstration takes from a moment to its first success."""
    first = first_success(clip)
    if clip.shown and first is not None and t <= first and clip.instruction:
        yield Question("left", wording.ask("left", text=clip.instruction), str(min(first - t, MOST)))


def done(clip: Clip, t: int, wording: Wording) -> Iterator[Question]:
    """Ask whether the instruction is fulfilled."""
    if clip.instruction:
        yield Question("done", wording.ask("done", text=clip.instruction), "yes" if clip.done[t] else "no")


def action(shares_A: np.ndarray, views: int, wording: Wording) -> Iterator[Question]:
    """Ask which random action lay between two moments (inverse dynamics), as the policy would write it."""
    yield Question("action", wording.ask("action", second=views + 1), wording.write(*shares_A.flatten()))


def apart(decisions: int, views: int, wording: Wording) -> Iterator[Question]:
    """Ask how many decisions lie between two moments of an episode."""
    yield Question("apart", wording.ask("apart", second=views + 1), str(decisions))


def same(answer: bool, views: int, wording: Wording) -> Iterator[Question]:
    """Ask whether two moments are of one episode, or of two that begin differently."""
    yield Question("same", wording.ask("same", second=views + 1), "yes" if answer else "no")


def moved(before: np.ndarray, after: np.ndarray, wording: Wording) -> Iterator[Question]:
    """Ask where something changed between two moments, uint8[F, h, w, 3] each, in each view."""
    for view, (one, two) in enumerate(zip(before, after, strict=True)):
        if (place := change(one, two)) is not None:
            asked = wording.ask("moved", first=view + 1, second=len(before) + view + 1)
            yield Question("moved", asked, wording.write(*place))
