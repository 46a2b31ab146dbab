"""Stored episodes: described, merged once each, and exported by decision or by environment step."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import etude
from agent import datasets
from agent.datasets import datasets_of, export, info, line, merge
from agent.records import Episode, Job
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run import episodes as dataset
from agent.run.folder import Run
from tests.agent.made import episode
from tests.test_api import TINY

SEEDS = range(3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run with demonstrations, practice and look-ahead episodes, three each."""
    config = etude.Config(**{**TINY, "env": {"id": "etude/Turn-v0"}})
    session = Session(Run(tmp_path_factory.mktemp("data") / "run", config).begin())
    stages: dict[str, dict[str, Any]] = {"start": {}, "cycle-001": {"attempt": 1}, "cycle-001/lookahead": {"lookahead_candidates": 4}}
    for stage, how in stages.items():
        jobs = [Job(seed, noise=(seed,), **how) for seed in SEEDS]
        episodes = list(rollout(session.policy, session.environments, jobs))
        (session.run.folder / stage).mkdir(parents=True)
        session.run.store(session.run.folder / stage, episodes, {"etude/Turn-v0": 5.0})
    session.close()
    return session.run.folder


def test_the_datasets_of_a_run_are_found_and_described(run: Path) -> None:
    roots = datasets_of(run)
    assert [str(root.relative_to(run)) for root in roots] == ["start/episodes", "cycle-001/episodes", "cycle-001/lookahead/episodes"]
    assert datasets_of(run / "start") == datasets_of(run / "start" / "episodes") == roots[:1]
    what, stored = info(roots[0]), dataset.read(roots[0])
    assert (what.episodes, what.successes, what.decisions) == (3, sum(each.success for each in stored), sum(map(len, stored)))
    assert "cameras front, wrist, 5 entries a second" in line(what)


def test_merged_datasets_have_each_episode_once(run: Path, tmp_path: Path) -> None:
    assert merge([run, run / "start"], tmp_path / "all") == (9, 3)
    stored = [each for root in datasets_of(run) for each in dataset.read(root)]
    for one, other in zip(dataset.read(tmp_path / "all"), stored, strict=True):
        assert one.id == other.id and one.tokens.tolist() == other.tokens.tolist()
        np.testing.assert_array_equal(one.frames, other.frames)


def test_an_export_by_environment_step_repeats_the_episodes_exactly(run: Path, tmp_path: Path) -> None:
    assert export(run / "start", tmp_path / "steps", steps=True) == 3
    for one, other in zip(dataset.read(tmp_path / "steps"), dataset.read(run / "start" / "episodes"), strict=True):
        executed = ~np.isnan(other.rewards)
        assert len(one) == executed.sum() and one.actions.shape[1:] == (1, other.actions.shape[-1])
        np.testing.assert_array_equal(one.rewards[:, 0], other.rewards[executed])
        np.testing.assert_array_equal(one.frames[:: other.rewards.shape[1]][: len(other)], other.frames[: len(other)])
        assert (one.success, one.instruction, one.truncated) == (other.success, other.instruction, other.truncated)
    assert info(tmp_path / "steps").fps == 20


def test_only_successes_are_exported_where_they_are_asked_for(run: Path, tmp_path: Path) -> None:
    successes = [each.id for root in datasets_of(run) for each in dataset.read(root) if each.success]
    assert 0 < len(successes) < 9
    assert export(run, tmp_path / "won", successes=True) == len(successes)
    assert [each.id for each in dataset.read(tmp_path / "won")] == successes


def test_an_episode_that_cannot_be_repeated_is_left_out_and_named(run: Path, tmp_path: Path) -> None:
    first, *others = dataset.read(run / "start" / "episodes")
    copy = tmp_path / "run"
    (copy / "start").mkdir(parents=True)
    (copy / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    dataset.append(copy / "start" / "episodes", [replace(first, rewards=first.rewards + 1), *others], fps=5, cameras=("front", "wrist"))
    said: list[str] = []
    assert export(copy, tmp_path / "out", steps=True, note=said.append) == 2
    assert len(said) == 1 and first.id in said[0] and "other rewards" in said[0]


def stored(root: Path, *episodes: Episode, **rates: float) -> Path:
    dataset.append(root, episodes, fps=next(iter(rates.values())), rates=rates, cameras=("front",))
    return root


def times(root: Path) -> list[float]:
    return [time for file in sorted(root.glob("data/*/*.parquet")) for time in pq.read_table(file)["timestamp"].to_pylist()]


def two_tasks(root: Path, seed: int, **changes: Any) -> Path:
    """Write an episode of each of two environments with rates of their own."""
    one, other = episode(seed, 0, [0.1] * 3, True), replace(episode(seed, 0, [0.1] * 6, False), task="u")
    return stored(root, one, other, **{"t": 5.0, "u": 20 / 3, **changes})


def test_merged_episodes_keep_the_rates_of_their_environments(tmp_path: Path) -> None:
    roots = [two_tasks(tmp_path / name, seed) for seed, name in enumerate("ab")]
    merge(roots, tmp_path / "all")
    export(roots[0], tmp_path / "one")
    np.testing.assert_allclose(times(tmp_path / "all"), [*times(roots[0]), *times(roots[1])], rtol=1e-6)
    np.testing.assert_allclose(times(tmp_path / "one"), [0, 0.2, 0.4, *(step * 3 / 20 for step in range(6))], rtol=1e-6)


def test_datasets_that_begin_with_environments_of_different_rates_are_merged(tmp_path: Path) -> None:
    one = stored(tmp_path / "one", episode(0, 0, [0.1] * 3, True), t=5.0)
    other = stored(tmp_path / "other", replace(episode(0, 0, [0.1] * 3, True), task="u"), u=10.0)
    assert merge([one, other], tmp_path / "all") == (2, 0)
    assert info(tmp_path / "all").fps == 5
    np.testing.assert_allclose(times(tmp_path / "all"), [0, 0.2, 0.4, 0, 0.1, 0.2], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"actions": np.zeros((2, 2, 3), np.float32)}, r"one has actions of the shape \[2, 1\], and .*two has actions of the shape \[2, 3\]; merge"),
        ({"states": np.zeros((3, 4), np.float32)}, r"states of the shape \[\], and .* states of the shape \[4\]; merge"),
        ({"frames": np.zeros((3, 1, 8, 8, 3), np.uint8)}, r"frames of the shape \[1, 2, 2, 3\], and .* \[1, 8, 8, 3\]; merge"),
    ],
)
def test_a_merge_that_is_refused_leaves_nothing(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    one = stored(tmp_path / "one", episode(0, 0, [0.1, 0.2], True), t=5.0)
    two = stored(tmp_path / "two", replace(episode(1, 0, [0.1, 0.2], True), **changes), t=5.0)
    with pytest.raises(ValueError, match=says):
        merge([one, two], tmp_path / "new" / "all")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["one", "two"]


def test_one_task_at_two_rates_is_refused(tmp_path: Path) -> None:
    one, two = two_tasks(tmp_path / "one", 0), two_tasks(tmp_path / "two", 1, u=10.0)
    with pytest.raises(ValueError, match=r"one has 6.66667 entries a second of u, and .*two has 10 entries a second of u; merge"):
        merge([one, two], tmp_path / "all")


def test_a_merge_that_finds_damage_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "SHARD", 1)
    roots = [stored(tmp_path / f"{seed}", episode(seed, 0, [0.1, 0.2], True), t=5.0) for seed in range(2)]
    file = roots[1] / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(file).set_column(0, "action", [[[9.0], [9.0]]]), file)
    (tmp_path / "all").mkdir()
    with pytest.raises(ValueError, match="is damaged"):
        merge(roots, tmp_path / "all")
    assert not list((tmp_path / "all").iterdir()), "an empty folder of the user's stays"


def test_episodes_that_lost_their_reset_are_merged_with_any_others(tmp_path: Path) -> None:
    full = episode(0, 0, [0.1, 0.2], True)
    empty = {name: getattr(full, name)[:0] for name in ("actions", "tokens", "logprobs", "rewards")}
    blank = replace(full, seed=1, frames=full.frames[:1], faults=("reset: it broke",), **empty)
    assert merge([stored(tmp_path / "one", blank, t=5.0), stored(tmp_path / "two", full, t=5.0)], tmp_path / "all") == (2, 0)


def test_cycles_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["start", "cycle-999", "cycle-999/lookahead", "cycle-1000"]
    for name in names:
        stored(tmp_path / name / "episodes", episode(0, 0, [0.1], True), t=5.0)
    assert [str(root.parent.relative_to(tmp_path)) for root in datasets_of(tmp_path)] == names


def test_what_makes_no_dataset_is_one_sentence(run: Path, tmp_path: Path) -> None:
    for make, says in (
        (lambda: datasets_of(tmp_path), "There is no dataset of etude in"),
        (lambda: merge([run], run), "is not empty; name a new folder"),
    ):
        with pytest.raises(ValueError, match=says):
            make()
    export(run / "start", tmp_path / "steps", steps=True)
    with pytest.raises(ValueError, match="20 entries a second of etude/Turn-v0; merge datasets that are alike"):
        merge([run, tmp_path / "steps"], tmp_path / "mixed")
    with pytest.raises(ValueError, match="lies in no run"):
        export(tmp_path / "steps", tmp_path / "again", steps=True)
