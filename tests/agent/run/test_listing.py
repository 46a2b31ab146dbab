"""The listing of a dataset says the same as its episodes do."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agent.records import Episode
from agent.run import episodes as dataset
from agent.run import listing
from tests.agent.made import episode


def lost(seed: int) -> Episode:
    """Return an episode that lost its reset to a fault: it has no decision."""
    full = episode(seed, 0, [0.5], False)
    empty = {name: getattr(full, name)[:0] for name in ("actions", "tokens", "logprobs", "rewards")}
    return replace(full, frames=full.frames[:1], faults=("broken",), **empty)


@pytest.fixture
def stored(tmp_path: Path) -> list[Episode]:
    """Return what lies in two shards, episodes without a decision among them; every frame is another one."""
    rng = np.random.default_rng(0)
    made = [episode(0, 0, [0.1, 0.9], True), lost(1), episode(2, 1, [0.3], False), episode(3, 0, [0.1, 0.2, 0.3], False), lost(4)]
    made = [replace(each, frames=rng.integers(0, 255, each.frames.shape, np.uint8)) for each in made]
    made[3] = replace(made[3], rewards=np.array([[0.1, 0.2], [0.3, 0.4], [0.5, np.nan]], np.float32), instruction="wait")
    for shard in (made[:3], made[3:]):
        dataset.append(tmp_path, shard, fps=2, cameras=("front",))
    return made


def test_facts_are_those_of_the_episodes(stored: list[Episode], tmp_path: Path) -> None:
    rows = listing.facts(tmp_path)
    assert [row["order"] for row in rows] == [0, 2, 3]
    for row in rows:
        each = stored[row["order"]]
        assert (row["seed"], row["success"], row["first_success"]) == (each.seed, each.success, each.first_success)
        assert (row["instruction"], row["length"], row["attempt"]) == (each.instruction, len(each), each.attempt)


def test_steps_are_those_that_were_executed(stored: list[Episode], tmp_path: Path) -> None:
    assert listing.environment_steps(tmp_path) == sum(int((~np.isnan(each.rewards)).sum()) for each in stored) == 4 + 2 + 5


def test_frames_are_those_of_the_episodes(stored: list[Episode], tmp_path: Path) -> None:
    for order in (0, 2, 3):
        for t in range(len(stored[order]) + 1):
            png = Image.open(io.BytesIO(listing.frame(tmp_path, order, t)))
            np.testing.assert_array_equal(np.asarray(png), stored[order].frames[t, 0])


def test_without_a_dataset_there_is_nothing(tmp_path: Path) -> None:
    assert listing.facts(tmp_path) == [] and listing.environment_steps(tmp_path) == 0
    with pytest.raises(ValueError, match="no episode 3"):
        listing.frame(tmp_path, 3, 0)


def test_a_damaged_dataset_is_a_sentence(stored: list[Episode], tmp_path: Path) -> None:
    (tmp_path / "meta/episodes/chunk-000/file-001.parquet").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"file-001.parquet cannot be read .* delete the folder"):
        listing.facts(tmp_path)
