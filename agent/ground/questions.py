"""Grounding: the simulator teaches the model to see. Questions with answers drawn from its state, without a human.

Written for any MuJoCo environment: named bodies and sites are projected through its cameras. No actions are used as answers,
and seeds come from a range of their own. Coordinates and offsets are answered in number tokens `<n0>` .. `<n64>`.
"""

import itertools
import re
from collections.abc import Callable, Iterator

import numpy as np

from agent.ground.scenes import Question, Scene
from envs.adapt import Adapter
from envs.faults import NoExpert, in_words
from envs.host import Remote
from envs.simulate.objects import Thing, find
from policies.codec import NUMBERS, REACH

FEW, SPOILT = 4, 0.2  # so many seeds, and this share of them, may be spoilt by their environment
SIDE = 0.05  # metres from a thing's centre to its "far side"


def scenes(
    adapter: Adapter | Remote,
    seeds: Iterator[int],
    rng: np.random.Generator,
    expert: Callable[[Adapter], np.ndarray] | None = Adapter.oracle,
    tool: str = "",
) -> Iterator[Scene]:
    """Yield scenes, a few of each seed's episode: random motion, expert motion, and (every third) the expert's end.

    A seed that the environment or the expert spoils is left out, as long as these are few.

    Args:
        adapter: of a MuJoCo environment whose frames are drawn by etude.
        seeds: of episodes.
        rng: draws motion and questions.
        expert: who moves the robot to where it matters; None: random motion only.
        tool: see `find`.

    Raises:
        ValueError: the environment or the expert failed too often; says at which seed it did last. Or there is no expert.
    """
    spoilt = 0
    for tried, seed in enumerate(seeds, 1):
        try:
            made, rng = adapter.apply(_episode, seed, rng, expert, tool)
            yield from made
        except NoExpert:
            raise
        except (Exception, SystemExit) as error:  # an environment and an expert may raise anything
            if (spoilt := spoilt + 1) > max(FEW, SPOILT * tried):
                of = f"{spoilt} of {tried} seeds of scenes to learn to see it by were spoilt"
                raise ValueError(f"{adapter.config.title}: {of}; the last was {seed}, {in_words(error)}.") from error


def _episode(
    adapter: Adapter, seed: int, rng: np.random.Generator, expert: Callable[[Adapter], np.ndarray] | None, tool: str
) -> tuple[list[Scene], np.random.Generator]:
    """Return the scenes of a seed, and the random numbers after them: in another process these are others than those here."""
    of = getattr(expert, "of", None)  # looked up before the episode, for it may have to be imported
    expert = of(adapter.config) if of else expert
    middle, half = (adapter.actions.high + adapter.actions.low) / 2, (adapter.actions.high - adapter.actions.low) / 2
    adapter.reset(seed, look=False)
    drift, led, to_the_end = rng.uniform(-1, 1, len(adapter.actions)), rng.random() < 0.6, rng.random() < 0.34
    led, to_the_end, made = led and expert is not None, to_the_end and expert is not None, []
    for _ in range(1 if to_the_end else 3):
        over = False
        for _ in range(200 if to_the_end else int(rng.integers(0, 6))):
            wander = middle + half * np.clip(drift + rng.normal(0, 0.7, drift.shape), -1, 1)
            action = adapter.actions.from_env(expert(adapter)) if expert and (to_the_end or (led and rng.random() < 0.8)) else wander
            outcome = adapter.step(np.asarray(action, np.float32)[None], look=False)
            over = outcome.terminated or outcome.truncated
            if over:
                break
        made.append(look(adapter, rng, tool))
        if over:
            break
    return made, rng


def look(adapter: Adapter, rng: np.random.Generator, tool: str = "") -> Scene:
    """Return the present frames and questions about them with their answers; `tool` as in `find`."""
    observation = adapter.observe()
    things = find(adapter.model, adapter.data, adapter.eyes, tool)
    questions = ask(things, adapter.achieved, observation.instruction, rng)
    seen = [(thing.name, view, pixel) for thing in things for view, pixel in enumerate(thing.pixels) if pixel is not None]
    places = tuple((name, view, float(pixel[0]), float(pixel[1])) for name, view, pixel in seen)
    return Scene(observation.frames, tuple(questions), places)


def ask(things: list[Thing], achieved: tuple[str, ...], instruction: str, rng: np.random.Generator) -> list[Question]:
    """Return questions about `things`: all about places, and a few others drawn from those there are."""
    places = [*_where(things), *_from_tool(things), *_instructed(things, instruction)]
    others = [*_relations(things, rng), *_colours(things, rng), *_counts(things, rng)]
    chosen = [*places, *(others[i] for i in rng.permutation(len(others))[:5])]
    if instruction:
        wording = str(rng.choice(achieved)) if achieved and rng.random() < 0.5 else instruction
        chosen.append(Question("done", f"is it done: {wording} ?", "yes" if wording in achieved else "no"))
    return chosen


def number(share: float) -> str:
    """Return the number token for a value in [0, 1]; values outside are clipped."""
    return f"<n{round(min(max(share, 0.0), 1.0) * (NUMBERS - 1))}>"


def _where(things: list[Thing]) -> Iterator[Question]:
    for thing in things:
        for view, pixel in enumerate(thing.pixels, 1):
            if pixel is not None:
                yield Question("where", f"where is the {thing.name} in view {view} ?", number(pixel[0]) + number(pixel[1]))


def _from_tool(things: list[Thing]) -> Iterator[Question]:
    tool = next((thing for thing in things if thing.name == "tool"), None)
    for thing in things:
        if tool is None or thing is tool or all(pixel is None for pixel in thing.pixels):
            continue
        offset = thing.position - tool.position
        yield Question("offset", f"how far is it from the tool to the {thing.name} ?", _offset(tool.position, thing.position))
        words = [pair[int(part > 0)] for part, pair in zip(offset, (("back", "forward"), ("right", "left"), ("down", "up")), strict=True)]
        order = np.argsort(-np.abs(offset))[:2]
        yield Question("way", f"which way is it from the tool to the {thing.name} ?", " ".join(words[i] for i in order))


def _instructed(things: list[Thing], instruction: str) -> Iterator[Question]:
    """Ask about the things that an instruction names, in the instruction's own words, and about others put in their place.

    So the model learns to find what an instruction is about before it learns to act on it. Where an instruction names two things,
    the way from one to the other is asked too, and the far side of the first, as seen from the second.
    """
    tool = next((thing for thing in things if thing.name == "tool"), None)
    named = _named(things, instruction)
    for others in itertools.product(*(_alike(thing, things) if words == thing.name else [thing] for words, thing in named)):
        if not others or (others[0] is others[-1] and len(others) == 2) or any(other.pixels[0] is None for other in others):
            continue
        swap = {words: other.name if words == thing.name else words for (words, thing), other in zip(named, others, strict=True)}
        text = re.sub("|".join(swap), lambda found, swap=swap: swap[found[0]], instruction)
        for which, other in zip(("first", "second"), others, strict=False):
            if tool is not None:
                yield Question("instruction", f"{text} : how far to the {which} ?", _offset(tool.position, other.position))
            for view, pixel in enumerate(other.pixels, 1):
                if pixel is not None:
                    yield Question("instruction", f"{text} : where is the {which} in view {view} ?", number(pixel[0]) + number(pixel[1]))
        if len(others) == 2:
            first, second = (other.position for other in others)
            yield Question("pair", f"{text} : how far from the first to the second ?", _offset(first, second))
            if tool is not None:
                side = first - SIDE * (second - first) / max(float(np.linalg.norm(second - first)), 1e-6)
                far = _offset(tool.position, side)
                yield Question("pair", f"{text} : how far to the far side of the first ?", far)
                # In small steps: each follows from those before it, and only the first two must be seen. Few words, as a policy that thinks so
                # reads and writes them with every decision; and such as the questions above are made of.
                plan = f"{_offset(tool.position, first)} second{_offset(tool.position, second)} first to second{_offset(first, second)} far side{far}"
                yield Question("plan", f"{text} : how far to the first ?", plan)


def _named(things: list[Thing], instruction: str) -> list[tuple[str, Thing]]:
    """Return the first two things that an instruction names, in its order, each with the words for it: 'red puck', or 'puck' if there is but one."""
    nouns, found = [_noun(thing) for thing in things], []
    for thing in things:
        words = thing.name if thing.name in instruction or nouns.count(_noun(thing)) > 1 else _noun(thing)
        place = re.search(rf"\b{words}\b", instruction)
        if place and thing.name != "tool":
            found.append((place.start(), words, thing))
    return [(words, thing) for _, words, thing in sorted(found, key=lambda each: each[0])[:2]]


def _noun(thing: Thing) -> str:
    """Return 'ball' of 'red ball'; the whole name of a site."""
    return thing.name.removeprefix(thing.colour).strip()


def _alike(thing: Thing, things: list[Thing]) -> list[Thing]:
    """Return the thing and those that could stand in its place: same noun, another colour."""
    return [other for other in things if other is thing or (other.colour and thing.colour and _noun(other) == _noun(thing))]


def _offset(start: np.ndarray, end: np.ndarray) -> str:
    """Return number tokens for the way from one point to another, metres, one an axis."""
    return "".join(number(0.5 + 0.5 * part / REACH) for part in end - start)


def _relations(things: list[Thing], rng: np.random.Generator) -> Iterator[Question]:
    seen = [thing for thing in things if thing.pixels[0] is not None]
    if len(seen) < 2:
        return
    for _ in range(2):
        one, other = rng.choice(len(seen), 2, replace=False)
        axis = int(rng.integers(2))
        first, second = seen[one].pixels[0], seen[other].pixels[0]
        assert first is not None and second is not None
        word = ("left of", "above")[axis]
        yield Question("relation", f"is the {seen[one].name} {word} the {seen[other].name} ?", "yes" if first[axis] < second[axis] else "no")


def _colours(things: list[Thing], rng: np.random.Generator) -> Iterator[Question]:
    for thing in things:
        views = [view for view, pixel in enumerate(thing.pixels) if pixel is not None]
        if thing.colour and views:
            view = int(rng.choice(views))
            pixel = thing.pixels[view]
            assert pixel is not None
            yield Question("colour", f"what colour is {number(pixel[0])}{number(pixel[1])} in view {view + 1} ?", thing.colour)


def _counts(things: list[Thing], rng: np.random.Generator) -> Iterator[Question]:
    coloured = [thing for thing in things if thing.colour and thing.pixels[0] is not None]
    tool = next((thing for thing in things if thing.name == "tool"), None)
    if tool is not None and tool.pixels[0] is not None:
        left = sum(thing.pixels[0][0] < tool.pixels[0][0] for thing in coloured)  # type: ignore[index]
        yield Question("count", "how many things are left of the tool ?", str(left))
    colour = str(rng.choice(["red", "green", "blue", "yellow", "purple"]))
    yield Question("count", f"how many {colour} things are there ?", str(sum(thing.colour == colour for thing in things)))
