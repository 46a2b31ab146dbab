"""Pretraining: scenes are the same however many processes draw them, and two parts share none."""

import json
from pathlib import Path

import numpy as np
import pytest

from agent.ground import pretrain
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


def test_a_device_that_does_not_exist_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^--device is 'nope': .*; give cpu, or cuda"):
        pretrain.pretrain(tmp_path / "out", device="nope")
    assert not list(tmp_path.iterdir())


def test_a_folder_goes_on_with_the_settings_that_it_was_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrain, "_pupil", stop)  # as a kill after the folder was made
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            pretrain.pretrain(tmp_path, num_scenes=8, see=1, read=1, batch=2, threads=1)
    facts = json.loads((tmp_path / "pretrain.json").read_text())
    (tmp_path / "pretrain.json").write_text(json.dumps({**facts, "accuracy": {"where": [0.5, 10]}}))  # as when all is done
    assert pretrain.pretrain(tmp_path, num_scenes=8, see=1, read=1, batch=2, threads=1) == {"where": (0.5, 10)}, "nothing is trained again"
    for name, other in {"batch": 3, "questions": 5, "see": 2, "read": 0, "seed": pretrain.SEEDS + 1}.items():
        with pytest.raises(ValueError, match=f"was begun with {name} .*; go on with that, or name another folder"):
            pretrain.pretrain(tmp_path, **{"num_scenes": 8, "see": 1, "read": 1, "batch": 2, "threads": 1, name: other})  # type: ignore[arg-type]
