"""Grounding: the simulator teaches the model to see. Questions with answers drawn from its state, without a human.

Written for any MuJoCo environment: named bodies and sites are projected through its cameras. No actions are used as answers,
and seeds come from a range of their own. Coordinates and offsets are answered in number tokens `<n0>` .. `<n64>`.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.records import Question, Scene
from envs.adapt import Adapter
from envs.render import mujoco

NUMBERS = 65  # number tokens
REACH = 0.4  # metres: an offset of this length fills half of the number range
SIDE = 0.05  # metres from a thing's centre to its "far side"
COLOURS = {  # what a colour is called, RGB
    "red": (0.86, 0.10, 0.10),
    "green": (0.10, 0.65, 0.15),
    "blue": (0.12, 0.25, 0.88),
    "yellow": (0.95, 0.80, 0.05),
    "purple": (0.60, 0.15, 0.70),
    "orange": (0.95, 0.50, 0.05),
    "white": (0.95, 0.95, 0.95),
    "grey": (0.55, 0.55, 0.55),
    "black": (0.15, 0.15, 0.15),
}


@dataclass(frozen=True)
class Thing:
    """Something in the scene that words can single out."""

    name: str
    """Colour and noun, 'red ball', or the name of a site, 'tool'."""
    colour: str
    """Colour word; empty for a site."""
    position: np.ndarray
    """float64[3], world, metres."""
    pixels: tuple[np.ndarray | None, ...]
    """One a camera: float64[2], x and y from the top left as shares of the frame; None where it is hidden or outside."""


def scenes(adapter: Adapter, seeds: Iterator[int], rng: np.random.Generator) -> Iterator[Scene]:
    """Yield scenes, a few of each seed's episode: random motion, expert motion, and (every third) the expert's end."""
    for seed in seeds:
        adapter.reset(seed)
        drift, expert, to_the_end = rng.uniform(-1, 1, len(adapter.actions)), rng.random() < 0.6, rng.random() < 0.34
        for _ in range(1 if to_the_end else 3):
            for _ in range(200 if to_the_end else int(rng.integers(0, 6))):
                wander = np.clip(drift + rng.normal(0, 0.7, drift.shape), -1, 1)
                action = adapter.oracle() if to_the_end or (expert and rng.random() < 0.8) else wander
                outcome = adapter.step(np.asarray(action, np.float32)[None], look=False)
                if outcome.terminated or outcome.truncated:
                    break
            yield look(adapter, rng)
            if adapter.achieved:
                break


def look(adapter: Adapter, rng: np.random.Generator) -> Scene:
    """Return the present frames and questions about them with their answers."""
    observation = adapter.observe()
    things = find(adapter.model, adapter.data, adapter.config.sources)
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
    named = sorted((thing for thing in things if thing.name in instruction), key=lambda thing: instruction.index(thing.name))[:2]
    names = [thing.name for thing in named]
    for others in itertools.product(*([other for other in things if other.colour and _noun(other) == _noun(thing)] for thing in named)):
        if not others or (others[0] is others[-1] and len(others) == 2) or any(other.pixels[0] is None for other in others):
            continue
        text = re.sub("|".join(names), lambda found, others=others: others[names.index(found[0])].name, instruction)
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
                yield Question("pair", f"{text} : how far to the far side of the first ?", _offset(tool.position, side))


def _noun(thing: Thing) -> list[str]:
    return thing.name.split(" ")[1:]


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


def find(model: Any, data: Any, cameras: tuple[str, ...]) -> list[Thing]:
    """Return what words can single out: coloured bodies that are not the robot, and named sites."""
    found = [(_phrase(model, body), body, data.xpos[body]) for body in range(1, model.nbody) if not _robotic(model, body)]
    names = [phrase for phrase, _, _ in found]
    things = [
        Thing(phrase, phrase.split(" ")[0], position.copy(), tuple(_seen(model, data, camera, position, body) for camera in cameras))
        for phrase, body, position in found
        if phrase and names.count(phrase) == 1
    ]
    for site in range(model.nsite):
        name, position, body = model.site(site).name, data.site_xpos[site], model.site_bodyid[site]
        if name:
            pixels = tuple(_seen(model, data, camera, position, body) for camera in cameras)
            things.append(Thing(_words(name), "", position.copy(), pixels))
    return things


def _phrase(model: Any, body: int) -> str:
    """Return 'red ball' for the body `ball_3` whose first geom is red; empty for a body without name or geom."""
    name = _words(model.body(body).name)
    if not name or model.body_geomnum[body] == 0:
        return ""
    rgb = model.geom_rgba[model.body_geomadr[body]][:3]
    return min(COLOURS, key=lambda colour: float(np.abs(rgb - COLOURS[colour]).sum())) + " " + name


def _words(name: str) -> str:
    return re.sub(r"[_\W\d]+", " ", name).strip().lower()


def _robotic(model: Any, body: int) -> bool:
    """Return whether the body belongs to a tree that has an actuated joint."""
    joints = model.actuator_trnid[model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT, 0]
    return model.body_rootid[body] in model.body_rootid[model.jnt_bodyid[joints]]


def _seen(model: Any, data: Any, camera: str, point: np.ndarray, body: int) -> np.ndarray | None:
    """Return where the camera sees `point`, as shares of a square frame; None where it is outside or behind something."""
    index = model.camera(camera).id
    origin, axes = data.cam_xpos[index], data.cam_xmat[index].reshape(3, 3)
    x, y, z = axes.T @ (point - origin)
    if z >= 0:  # cameras look along -z
        return None
    half = -z * np.tan(np.radians(model.cam_fovy[index]) / 2)
    pixel = np.array([0.5 + 0.5 * x / half, 0.5 - 0.5 * y / half])
    if (pixel < 0).any() or (pixel > 1).any():
        return None
    ray, hit = point - origin, np.zeros(1, np.int32)
    distance = mujoco.mj_ray(model, data, origin, ray / np.linalg.norm(ray), None, 1, -1, hit)
    own = hit[0] >= 0 and model.geom_bodyid[hit[0]] == body
    return pixel if own or distance < 0 or distance > np.linalg.norm(ray) - 0.03 else None
