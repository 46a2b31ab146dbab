"""Stored episodes: described, merged once each, and exported by decision or by environment step."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import etude
from agent.datasets import datasets_of, export, info, line, merge
from agent.records import Job
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run import episodes as dataset
from agent.run.folder import Run
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


def test_what_makes_no_dataset_is_one_sentence(run: Path, tmp_path: Path) -> None:
    for make, says in (
        (lambda: datasets_of(tmp_path), "There is no dataset of etude in"),
        (lambda: merge([run], run), "is not empty; name a new folder"),
    ):
        with pytest.raises(ValueError, match=says):
            make()
    export(run / "start", tmp_path / "steps", steps=True)
    with pytest.raises(ValueError, match="20 entries a second; merge datasets that are alike"):
        merge([run, tmp_path / "steps"], tmp_path / "mixed")
    with pytest.raises(ValueError, match="lies in no run"):
        export(tmp_path / "steps", tmp_path / "again", steps=True)
