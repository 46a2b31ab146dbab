"""Things: they are where the pictures show them."""

import numpy as np
import pytest

from envs import TASKS, EnvConfig
from envs.adapt import Adapter
from envs.stage import COLOURS
from envs.things import find


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


def test_what_is_behind_the_hand_is_not_asked_for() -> None:
    adapter = Adapter(EnvConfig())
    hidden = 0
    for seed in range(60):
        adapter.reset(49_800_000 + seed)
        hidden += sum(thing.pixels[0] is None for thing in find(adapter.model, adapter.data, ("front", "wrist")))
    assert hidden > 0
