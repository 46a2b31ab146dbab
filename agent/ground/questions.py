"""Questions about frames, with answers computed from the simulator's state, on which the model is trained to see (grounding).

They need a MuJoCo environment, whose named bodies and sites are projected through its cameras. No answer is an action, and seeds come from a
range of their own. Coordinates and offsets are answered in numbers of the policy's codec (`wording.Wording`):

| answer | numbers | range from the first to the last number |
|---|---|---|
| place in a frame | x, y from the top left | 0 to 1, as shares of the frame |
| offset from one object to another | x, y, z in the world | -`REACH` to `REACH`, metres |
"""

import itertools
import re
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from agent.ground.scenes import Question, Scene
from agent.ground.tolerance import Tolerance
from agent.ground.wording import OWN, Wording
from agent.rollout.copies import Play, one_by_one
from envs.adapt import Adapter
from envs.host import Proxy
from envs.simulate.objects import SceneObject, find
from policies.codec import REACH

KINDS = ("where", "offset", "way", "instruction", "pair", "plan", "relation", "colour", "count", "done")
SIDE = 0.05  # metres from an object's centre to its "far side", where a tool has to be to push it towards another one


def scenes(
    adapter: Adapter | Proxy,
    seeds: Iterator[int],
    rng: np.random.Generator,
    expert: Callable[[Adapter], np.ndarray] | None = Adapter.oracle,
    tool: str = "",
    wording: Wording = OWN,
    play: Play | None = None,
) -> Iterator[Scene]:
    """Yield scenes, a few from an episode of each seed. A third of the episodes goes to the expert's end; the others have random and expert motion.

    Args:
        adapter: a MuJoCo environment whose frames are drawn by etude.
        seeds: environment seeds, as many as are needed.
        rng: each episode draws motion and questions from a generator that it spawns.
        expert: an environment in its present state -> float32[A]; it brings the robot to the objects. None: random motion only.
        tool: as in `find`.
        wording: of questions and answers.
        play: plays the episodes; None: one by one, in `adapter`.

    Raises:
        ValueError: too many seeds are faulty, or there is no expert.
    """
    tolerance = Tolerance(adapter.config.title)
    jobs = ((seed, rng.spawn(1)[0], expert, tool, wording) for seed in seeds)
    for (seed, *_), call in (play or partial(one_by_one, adapter))(_episode, jobs):
        made: list[Scene] = []
        with tolerance.of(seed):
            made = call()
        yield from made


def _episode(
    adapter: Adapter, seed: int, rng: np.random.Generator, expert: Callable[[Adapter], np.ndarray] | None, tool: str, wording: Wording
) -> list[Scene]:
    """Return the scenes of one seed."""
    # `Experts` load this environment's expert here, before the reset: an import may take longer than `env.timeout` allows for a step.
    of = getattr(expert, "of", None)
    expert = of(adapter.config) if of else expert
    middle, half = (adapter.actions.high + adapter.actions.low) / 2, (adapter.actions.high - adapter.actions.low) / 2
    adapter.reset(seed, look=False)
    # `led`: 80 % of the actions are the expert's. `to_the_end`: all of them are, and the only scene is that of the end, where the task is done.
    drift, led, to_the_end = rng.uniform(-1, 1, len(adapter.actions)), rng.random() < 0.6, rng.random() < 0.34
    led, to_the_end, made, done = led and expert is not None, to_the_end and expert is not None, [], False
    for _ in range(1 if to_the_end else 3):  # scenes of the episode
        over = False
        for _ in range(200 if to_the_end else int(rng.integers(0, 6))):  # decisions before the next scene
            # Noise around one direction for the whole episode: pure noise would stay where it began.
            random_action = middle + half * np.clip(drift + rng.normal(0, 0.7, drift.shape), -1, 1)
            action = adapter.actions.from_env(expert(adapter)) if expert and (to_the_end or (led and rng.random() < 0.8)) else random_action
            outcome = adapter.step(np.asarray(action, np.float32)[None], look=False)
            over, done = outcome.terminated or outcome.truncated, outcome.success_at_end
            if over:
                break
        made.append(look(adapter, rng, tool, wording, done))
        if over:
            break
    return made


def look(adapter: Adapter, rng: np.random.Generator, tool: str = "", wording: Wording = OWN, done: bool = False) -> Scene:
    """Return the present frames, questions about them with their answers, and the places of visible objects.

    Args:
        adapter: the environment in its present state.
        rng: draws questions.
        tool: as in `find`.
        wording: of questions and answers.
        done: whether the present state is a success, where the environment does not list the instructions that it fulfils.
    """
    observation = adapter.observe()
    env = adapter.config
    objects = find(adapter.model, adapter.data, adapter.mujoco_cameras, tool, tuple(map(env.flip_of, env.sources)), env.geom_groups)
    achieved = adapter.achieved if "achieved" in adapter.info else (observation.instruction,) * done
    questions = ask(objects, achieved, observation.instruction, rng, wording)
    visible = [(item.name, view, pixel) for item in objects for view, pixel in enumerate(item.pixels) if pixel is not None]
    places = tuple((name, view, float(pixel[0]), float(pixel[1])) for name, view, pixel in visible)
    return Scene(observation.frames, tuple(questions), places)


def ask(objects: list[SceneObject], achieved: tuple[str, ...], instruction: str, rng: np.random.Generator, wording: Wording) -> list[Question]:
    """Return questions about `objects`: all about places and offsets, five of the others, and one about the instruction.

    Args:
        objects: of the scene.
        achieved: instructions that the present state fulfils.
        instruction: of the episode; '' where there is none.
        rng: draws.
        wording: of questions and answers.
    """
    places = [*_where(objects, wording), *_from_tool(objects, wording), *_instructed(objects, instruction, wording)]
    others = [*_relations(objects, rng, wording), *_colours(objects, rng, wording), *_counts(objects, rng, wording)]
    chosen = [*places, *(others[i] for i in rng.permutation(len(others))[:5])]
    if instruction:
        # Few scenes fulfil their own instruction, so half of those that fulfil any are asked about one of these, and "yes" is no rare answer.
        text = str(rng.choice(achieved)) if achieved and rng.random() < 0.5 else instruction
        chosen.append(Question("done", wording.ask("done", text=text), "yes" if text in achieved else "no"))
    return chosen


def _where(objects: list[SceneObject], wording: Wording) -> Iterator[Question]:
    """Ask for the place of each object in each view in which it is visible."""
    for item in objects:
        for view, pixel in enumerate(item.pixels, 1):  # questions count views from 1, `Scene.places` from 0
            if pixel is not None:
                yield Question("where", wording.ask("where", name=item.name, view=view), wording.write(*pixel))


def _from_tool(objects: list[SceneObject], wording: Wording) -> Iterator[Question]:
    """Ask for the offset from the tool to each visible object, in numbers and in words."""
    tool = next((item for item in objects if item.name == "tool"), None)
    for item in objects:
        if tool is None or item is tool or all(pixel is None for pixel in item.pixels):
            continue
        offset = item.position - tool.position
        yield Question("offset", wording.ask("offset", name=item.name), _offset(tool.position, item.position, wording))
        # World axes: x forward, y left, z up. The two longest components are named, the longest first.
        words = [pair[int(part > 0)] for part, pair in zip(offset, (("back", "forward"), ("right", "left"), ("down", "up")), strict=True)]
        order = np.argsort(-np.abs(offset))[:2]
        yield Question("way", wording.ask("way", name=item.name), " ".join(words[i] for i in order))


def _instructed(objects: list[SceneObject], instruction: str, wording: Wording) -> Iterator[Question]:
    """Ask about the objects that an instruction names, in the words of the instruction, and again with objects of other colours in their place.

    The model so learns to find the objects of an instruction before it learns to act on it. Where an instruction names two objects, there are
    also questions for the offset from the first to the second, and for the far side of the first, as seen from the second.
    """
    tool = next((item for item in objects if item.name == "tool"), None)
    named = _named(objects, instruction)
    # An object that the instruction names without its colour is the only one of its noun, so nothing can replace it.
    for others in itertools.product(*(_alike(item, objects) if words == item.name else [item] for words, item in named)):
        # Left out: an instruction without objects, one object in both places, and objects that the first view does not show.
        if not others or (others[0] is others[-1] and len(others) == 2) or any(other.pixels[0] is None for other in others):
            continue
        swap = {words: other.name if words == item.name else words for (words, item), other in zip(named, others, strict=True)}
        # One pass over the text, since red -> blue, then blue -> red would swap nothing; `swap=swap` binds this round's dict.
        text = re.sub("|".join(swap), lambda found, swap=swap: swap[found[0]], instruction)
        for which, other in zip(("first", "second"), others, strict=False):
            if tool is not None:
                offset = _offset(tool.position, other.position, wording)
                yield Question("instruction", wording.ask("named offset", text=text, which=which), offset)
            for view, pixel in enumerate(other.pixels, 1):
                if pixel is not None:
                    yield Question("instruction", wording.ask("named where", text=text, which=which, view=view), wording.write(*pixel))
        yield from _plans(text, tool, others, wording)


def _plans(text: str, tool: SceneObject | None, others: tuple[SceneObject, ...], wording: Wording) -> Iterator[Question]:
    """Ask for what a policy may think before it acts on an instruction `text` that names the objects `others`.

    The answers are chains of thought: each step follows from those before it, and only the first ones have to be seen. They have few words, since a
    policy that thinks so writes them before every decision, and only words of the questions.
    """
    pixel = others[0].pixels[0]
    if tool is not None and pixel is not None and wording.english:
        move = _offset(tool.position, others[0].position, wording)
        yield Question("plan", wording.ask("look and move", text=text), f"{wording.write(*pixel)} move{move}")
    if len(others) == 2:
        first, second = (other.position for other in others)
        between = _offset(first, second, wording)
        yield Question("pair", wording.ask("between", text=text), between)
        if tool is not None:
            # On the line through both objects, behind the first.
            side = first - SIDE * (second - first) / max(float(np.linalg.norm(second - first)), 1e-6)
            near, distant, far = (_offset(tool.position, place, wording) for place in (first, second, side))
            yield Question("pair", wording.ask("far side", text=text), far)
            yield Question("plan", wording.ask("plan", text=text), f"{near} second{distant} first to second{between} far side{far}")


def _named(objects: list[SceneObject], instruction: str) -> list[tuple[str, SceneObject]]:
    """Return the first two objects that an instruction names, in its order, each with its words there: 'red puck', or 'puck' if there is only one."""
    nouns, found = [_noun(item) for item in objects], []
    for item in objects:
        words = item.name if item.name in instruction or nouns.count(_noun(item)) > 1 else _noun(item)
        match = re.search(rf"\b{words}\b", instruction)
        if match and item.name != "tool":
            found.append((match.start(), words, item))
    # Sorted by place alone: a SceneObject cannot be compared.
    return [(words, item) for _, words, item in sorted(found, key=lambda each: each[0])[:2]]


def _noun(thing: SceneObject) -> str:
    """Return 'ball' for 'red ball', and the whole name of a site, which has no colour."""
    return thing.name.removeprefix(thing.colour).strip()


def _alike(thing: SceneObject, objects: list[SceneObject]) -> list[SceneObject]:
    """Return the object itself and those that an instruction could name instead: the same noun, another colour."""
    return [other for other in objects if other is thing or (other.colour and thing.colour and _noun(other) == _noun(thing))]


def _offset(start: np.ndarray, end: np.ndarray, wording: Wording) -> str:
    """Return the three numbers of the offset from one point to another, float64[3] each, metres."""
    return wording.write(*(0.5 + 0.5 * part / REACH for part in end - start))


def _relations(objects: list[SceneObject], rng: np.random.Generator, wording: Wording) -> Iterator[Question]:
    """Ask twice whether one object is left of another, or above it, in the first view."""
    visible = [item for item in objects if item.pixels[0] is not None]
    if len(visible) < 2:
        return
    for _ in range(2):
        one, other = rng.choice(len(visible), 2, replace=False)
        axis = int(rng.integers(2))  # of the frame: x to the right, y downwards
        first, second = visible[one].pixels[0], visible[other].pixels[0]
        assert first is not None and second is not None  # for the type checker
        word = ("left of", "above")[axis]
        question = wording.ask("relation", one=visible[one].name, word=word, other=visible[other].name)
        yield Question("relation", question, "yes" if first[axis] < second[axis] else "no")


def _colours(objects: list[SceneObject], rng: np.random.Generator, wording: Wording) -> Iterator[Question]:
    """Ask for the colour at the place of each coloured object, in a view in which it is visible."""
    for item in objects:
        views = [view for view, pixel in enumerate(item.pixels) if pixel is not None]
        if item.colour and views:
            view = int(rng.choice(views))
            pixel = item.pixels[view]
            assert pixel is not None  # for the type checker
            yield Question("colour", wording.ask("colour", place=wording.write(*pixel), view=view + 1), item.colour)


def _counts(objects: list[SceneObject], rng: np.random.Generator, wording: Wording) -> Iterator[Question]:
    """Ask how many coloured objects are left of the tool in the first view, and how many objects have a colour."""
    coloured = [item for item in objects if item.colour and item.pixels[0] is not None]
    tool = next((item for item in objects if item.name == "tool"), None)
    if tool is not None and tool.pixels[0] is not None:
        left = sum(item.pixels[0][0] < tool.pixels[0][0] for item in coloured)  # type: ignore[index]
        yield Question("count", wording.ask("count left"), str(left))
    colour = str(rng.choice(["red", "green", "blue", "yellow", "purple"]))  # the colours of etude's own tasks; the answer is often 0
    yield Question("count", wording.ask("count", colour=colour), str(sum(item.colour == colour for item in objects)))
