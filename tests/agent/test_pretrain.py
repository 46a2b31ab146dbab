"""Pretraining: scenes are the same however many processes draw them, and two parts share none."""

import numpy as np
import pytest

from agent import pretrain
from envs import PRETRAINED


def test_scenes_are_the_same_for_any_number_of_processes() -> None:
    alone, seen = pretrain.draw(16, pretrain.SEEDS), []
    together = pretrain.draw(16, pretrain.SEEDS, seen.append, processes=2)
    assert sum(seen) == len(alone) == len(together) == 16
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.frames, other.frames) and one.questions == other.questions and one.places == other.places


def test_every_task_has_its_share_and_parts_share_no_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "PART", 2)
    scenes = pretrain.draw(4 * len(PRETRAINED), pretrain.SEEDS)
    parts = [{scene.frames.tobytes() for scene in scenes[first : first + 2]} for first in range(0, len(scenes), 2)]  # two of a part may be one moment
    assert len(scenes) == 4 * len(PRETRAINED) and sum(map(len, parts)) == len(set.union(*parts))
