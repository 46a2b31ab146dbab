"""Grounding: the answers are true, by the pictures themselves."""

import itertools
import re

import numpy as np
import pytest

from agent.ground import find, look, scenes
from envs import TASKS, EnvConfig
from envs.adapt import Adapter
from envs.stage import COLOURS


@pytest.mark.parametrize("task", TASKS)
def test_a_thing_is_where_its_colour_is(task: str) -> None:
    """Project with our geometry, then look at the renderer's pixel: an oracle that shares no code with the projection."""
    adapter, hits, looked = Adapter(EnvConfig(id=task, size=128)), 0, 0
    for seed in range(20):
        frames = adapter.reset(49_500_000 + seed).frames
        for thing in find(adapter.model, adapter.data, ("front", "wrist")):
            for frame, pixel in zip(frames, thing.pixels, strict=True):
                if thing.colour in COLOURS and pixel is not None:
                    x, y = np.minimum((pixel * 128).astype(int), 127)
                    shown = frame[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(-1, 3) / 255.0
                    nearest = [min(COLOURS, key=lambda c: float(np.abs(rgb / rgb.max() - np.array(COLOURS[c][:3])).sum())) for rgb in shown]
                    looked, hits = looked + 1, hits + (thing.colour in nearest)
    assert looked > 60 and hits / looked > 0.9


def test_questions_are_answered_consistently_with_the_state() -> None:
    adapter = Adapter(EnvConfig())
    stream = scenes(adapter, itertools.count(49_600_000), np.random.default_rng(0))
    kinds, done = set(), set()
    for scene in itertools.islice(stream, 150):
        assert len(scene.questions) >= 1 and scene.frames.shape == (2, 64, 64, 3)
        kinds |= {question.kind for question in scene.questions}
        done |= {question.answer for question in scene.questions if question.kind == "done"}
    assert kinds == {"where", "offset", "way", "instruction", "relation", "colour", "count", "done"} and done == {"yes", "no"}


def test_done_follows_the_environment() -> None:
    adapter = Adapter(EnvConfig())
    adapter.reset(49_700_000)
    rng = np.random.default_rng(0)
    assert [q.answer for q in look(adapter, rng).questions if q.kind == "done"] == ["no"]
    while not adapter.achieved:
        adapter.step(adapter.oracle()[None], look=False)
    assert [q.answer for q in look(adapter, rng).questions if q.kind == "done"] == ["yes"]


def test_what_is_behind_the_hand_is_not_asked_for() -> None:
    adapter = Adapter(EnvConfig())
    hidden = 0
    for seed in range(60):
        adapter.reset(49_800_000 + seed)
        hidden += sum(thing.pixels[0] is None for thing in find(adapter.model, adapter.data, ("front", "wrist")))
    assert hidden > 0


def test_offsets_of_a_pair_add_up() -> None:
    """From the tool to the first and on to the second is from the tool to the second; the far side is 5 cm behind, on the same line."""
    adapter, asked = Adapter(EnvConfig(id="etude/Push-v0")), 0
    for scene in itertools.islice(scenes(adapter, itertools.count(49_650_000), np.random.default_rng(0)), 40):
        answers = {question.question: question.answer for question in scene.questions}
        for text in {question.question.split(" : ")[0] for question in scene.questions if question.kind == "pair"}:
            asks = ("to the first", "to the second", "from the first to the second", "to the far side of the first")
            first, second, between, side = (_metres(answers[f"{text} : how far {ask} ?"]) for ask in asks)
            np.testing.assert_allclose(first + between, second, atol=0.02)  # three roundings of at most 6 mm
            np.testing.assert_allclose(side - first, -0.05 * between / np.linalg.norm(between), atol=0.02)
            asked += 1
    assert asked > 30


def _metres(answer: str) -> np.ndarray:
    return np.array([(int(number) / 32 - 1) * 0.4 for number in re.findall(r"<n(\d+)>", answer)])
