"""A run is a folder: nothing is lost, nothing half-written is believed."""

import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from agent.config.config import Config
from agent.config.keys import PRACTICE_SEEDS
from agent.config.read import parse, read
from agent.records import SEEDS
from agent.rollout.recording import store
from agent.rollout.session import Session
from agent.run.base import began_from
from agent.run.files import load, save, write_text
from agent.run.folder import Run
from agent.run.recognise import recognise
from envs import EnvConfig
from policies import PolicyConfig
from policies.loading import NANO
from tests.agent.made import episode


def test_a_stage_is_made_once_and_then_read(tmp_path: Path) -> None:
    run, calls = Run(tmp_path / "r", Config()).begin(), []

    def make() -> dict[str, Any]:
        calls.append(1)
        return {"figures": {"x": 0.1}}

    first = run.keep(tmp_path / "r" / "cycle-001" / "label.json", make)
    again = Run(tmp_path / "r").keep(tmp_path / "r" / "cycle-001" / "label.json", make)
    assert first == again and len(calls) == 1


@pytest.mark.parametrize("damage", ["", "{", '{"sha256": "x", "content": {}}', "[]"])
def test_a_damaged_stage_file_is_named_and_nothing_else_is_lost(damage: str, tmp_path: Path) -> None:
    run = Run(tmp_path, Config()).begin()
    file = tmp_path / "cycle-001" / "label.json"
    run.keep(file, lambda: {"figures": {}})
    file.write_text(damage)
    with pytest.raises(ValueError, match=r"label\.json is damaged; delete it"):
        run.keep(file, dict)
    assert (tmp_path / "config.yaml").exists()


def test_a_stage_file_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"label\.json cannot be read \(No such file"):
        load(tmp_path / "label.json")


def test_one_flipped_digit_is_noticed(tmp_path: Path) -> None:
    run = Run(tmp_path, Config()).begin()
    run.keep(tmp_path / "a.json", lambda: {"rate": 0.25})
    (tmp_path / "a.json").write_text((tmp_path / "a.json").read_text().replace("0.25", "0.95"))
    with pytest.raises(ValueError, match="damaged"):
        load(tmp_path / "a.json")


def test_odd_values_of_a_config_are_the_same_for_who_goes_on_and_for_other_processes(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    odd = "{far: .inf, unknown: .nan, day: 2024-02-03, ways: !!set {a, b}, raw: !!binary AAEC, 3: x}"
    file.write_text(f"env: {{kwargs: {{odd: {odd}}}}}\ntune: {{dpo_beta: 1.0e+300}}\nphases: [{{first: 2, tune: {{dpo_beta: 1.0e+300}}}}]\n")
    config = read(file)
    Run(tmp_path / "run", config).begin()
    Run(tmp_path / "run", read(file)).begin()
    inner = Run(tmp_path / "run").config  # as a process of a pool has it
    assert repr(inner.envs[0].kwargs["odd"]["unknown"]) == "nan" and {**inner.envs[0].kwargs["odd"], "unknown": 0} == {
        "far": float("inf"), "unknown": 0, "day": date(2024, 2, 3), "ways": {"a", "b"}, "raw": bytes(range(3)), 3: "x"
    }  # fmt: skip
    assert inner.tune.dpo_beta == 1e300 == inner.at(2).tune.dpo_beta
    with pytest.raises(ValueError, match="another env config"):
        Run(tmp_path / "run", config.model_copy(update={"env": config.envs[0].model_copy(update={"kwargs": {}})}))


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run in"):
        Run(tmp_path / "none")


def test_another_config_is_refused_but_more_cycles_are_welcome(tmp_path: Path) -> None:
    Run(tmp_path, Config(seed=1)).begin()
    with pytest.raises(ValueError, match="another seed config"):
        Run(tmp_path, Config(seed=2))
    assert Run(tmp_path, Config(seed=1, cycles=99)).config.cycles == 99


def test_how_fast_and_where_it_works_may_change_and_is_said_key_by_key(tmp_path: Path) -> None:
    Run(tmp_path, parse({"env": [{"name": "a"}, {"name": "b"}]}, "test")).begin()
    faster = {"collect": {"num_envs": 8}, "policy": {"device": "cuda:1", "batch_size": 4}, "processes": 2, "track": {"mode": "off"}}
    faster |= {"env": [{"name": "a", "timeout": 30}, {"name": "b"}], "tune": {"micro_batch_tokens": 512}}
    run = Run(tmp_path, parse(faster, "test"))
    for said in (
        "collect.num_envs was 64 and is 8",
        "policy.device was 'cpu' and is 'cuda:1'",
        "env.timeout was 0.0 and is 30.0",
        "processes was 1 and is 2",
    ):
        assert said in run.changes
    run.begin()
    assert Run(tmp_path, parse(faster, "test")).changes == "" and Run(tmp_path).config.collect.num_envs == 8


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 2}, r"another seed config \(seed was 0 and is 2\)"),
        ({"env": {"size": 32, "timeout": 3}}, r"another env config \(env\.size was 64 and is 32\)"),
        (
            {"collect": {"num_seeds": 1, "num_envs": 2}, "tune": {"epochs": 9}},
            r"collect and tune config \(collect\.num_seeds was 64 and is 1; tune\.epochs was",
        ),
        ({"env": {"kwargs": {"size": "x" * 999}}}, r"env\.kwargs was \{\} and is \{'size': 'xxx.{0,40}\}\)"),
        ({"phases": [{"first": 2}]}, r"another phases config \(phases was \(\) and is"),
    ],
)
def test_what_may_not_change_is_named_with_both_values(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    Run(tmp_path, parse({}, "test")).begin()
    before = (tmp_path / "config.yaml").read_bytes()
    with pytest.raises(ValueError, match=says + ".*; name a new folder, or give the same config to go on"):
        Run(tmp_path, parse(change, "test"))
    assert (tmp_path / "config.yaml").read_bytes() == before


def test_a_run_does_not_go_on_with_another_base_model(tmp_path: Path) -> None:
    """A champion holds what was trained alone; in front of another vision tower it would see nothing that it knows."""
    shutil.copytree(NANO, tmp_path / "base")
    run = Run(tmp_path / "run", Config(policy=PolicyConfig(model=str(tmp_path / "base")))).begin()
    name = Session(run).policy.base_name
    assert name == Session(Run(tmp_path / "run")).policy.base_name
    weights = load_file(file := tmp_path / "base" / "model.safetensors")
    first = next(key for key in weights if "vision" in key)
    weights[first].view(-1)[0] += 1
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"began from .* with weights {name}, .* name a new folder"):
        _ = Session(Run(tmp_path / "run")).policy


@pytest.mark.parametrize(("code", "says"), [(errno.ENOSPC, "No space left"), (errno.EACCES, "Permission denied")])
def test_a_full_disk_or_a_locked_folder_is_one_sentence_and_keeps_the_old_file(code: int, says: str, tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "summary.json"
    write_text(file, "old")

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ValueError, match=f"cannot be written .*{says}.*same command again"):
        write_text(file, "new")
    assert file.read_text() == "old"


def test_a_run_under_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be made"):
        Run(tmp_path / "file" / "run", Config()).begin()


@pytest.mark.parametrize("name", ["environment.json", "base.json", "clock.json", "config.yaml"])
@pytest.mark.parametrize("damaged", [b"[]", b"{}", b"\xff\xfe", b'{"wights": "a"}'])
def test_what_the_run_itself_wrote_down_is_not_believed_when_damaged(name: str, damaged: bytes, tmp_path: Path) -> None:
    run = Run(tmp_path, Config(max_minutes=1, seed=3)).begin()
    next(run.cycles())
    recognise(run, [])
    save(tmp_path / "base.json", {"weights": "a"})
    assert began_from(tmp_path) == "a"
    (tmp_path / name).write_bytes(damaged)
    readers: dict[str, Callable[[], Any]] = {"environment.json": lambda: recognise(run, []), "base.json": lambda: began_from(tmp_path)}
    readers |= {"clock.json": lambda: list(run.cycles()), "config.yaml": lambda: Run(tmp_path, run.config)}
    with pytest.raises(ValueError, match=rf"{name} is |another minutes|another seed|{name}: unknown key|{name} holds a list"):
        readers[name]()


def test_nothing_is_written_before_the_run_begins(tmp_path: Path) -> None:
    run = Run(tmp_path / "a" / "run", Config())
    session = Session(run)
    assert session.policy.base_name and not list(tmp_path.iterdir())
    run.begin()
    assert {each.name for each in run.folder.iterdir()} == {"config.yaml", "base.json"} and began_from(run.folder) == session.policy.base_name


def test_a_folder_that_is_not_where_it_was_is_noticed_and_grows_no_second_one(tmp_path: Path) -> None:
    run, moved = Run(tmp_path / "run", Config()).begin(), tmp_path / "moved"
    file, says = run.cycle(1).folder / "collect.json", "was renamed, deleted or replaced while the run worked in it; put it back"

    def move() -> dict[str, Any]:
        run.folder.rename(moved)
        return {}

    with pytest.raises(ValueError, match=says):
        run.keep(file, move)
    with pytest.raises(ValueError, match=says):
        run.keep(file, dict)
    with pytest.raises(ValueError, match=says):
        store(Session(run), run.cycle(1).folder, [None], lambda episode: None)
    assert not run.folder.exists()
    run.folder.mkdir()  # another one in its place
    with pytest.raises(ValueError, match=says):
        run.keep(file, dict)
    assert not list(run.folder.iterdir())
    run.folder.rmdir()
    moved.rename(run.folder)
    assert run.keep(file, dict) and file.exists()


def test_episodes_are_found_by_the_name_of_a_stage(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", Config(env=EnvConfig(cameras=("front",)))).begin()
    run.store(run.cycle(1).folder, [episode(0, 0, [0.1], True)], {"t": 5.0})
    for folder in ("cycle-001", Path("cycle-001"), run.cycle(1).folder, str(run.cycle(1).folder)):
        assert [each.seed for each in run.episodes(folder)] == [0]
    assert run.episodes(run.folder / "start") == [], "a run without demonstrations has none"
    with pytest.raises(ValueError, match=r"There is no folder .*cycle-002; give that of a stage, such as .*start or .*cycle-001\.$"):
        run.episodes("cycle-002")


def test_what_a_process_has_just_written_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the present cycle and of the demonstrations; what another start of the run wrote is read, and comes to the same."""
    run, rates = Run(tmp_path / "run", Config(env=EnvConfig(cameras=("front",)))).begin(), {"t": 5.0}
    shards = [[episode(seed, take, [0.1, 0.2], False) for take in range(2)] for seed in range(3)]
    first, second, start = run.cycle(1).folder, run.cycle(2).folder, run.folder / "start"
    for folder, shard in ((start, shards[2]), (first, shards[0]), (first, shards[1]), (first / "lookahead", shards[2])):
        run.store(folder, shard, rates)
    again = Run(run.folder)
    written = {folder: again.episodes(folder) for folder in (start, first, first / "lookahead")}
    again.store(first, shards[2], rates)
    assert len(again.episodes(first)) == 6, "the first four are known from the disk alone"

    def read(root: Path) -> Any:
        raise AssertionError(f"{root} is decoded")

    monkeypatch.setattr("agent.run.folder.dataset.read", read)
    for folder in (start, first / "lookahead"):
        for one, other in zip(run.episodes(folder), written[folder], strict=True):
            np.testing.assert_equal(vars(one), vars(other))
    with pytest.raises(AssertionError, match="decoded"):
        run.episodes(first)  # another process has added to it
    run.store(second, shards[0], rates)
    assert len(run.episodes(second)) == 2 and len(run.episodes(start)) == 2
    with pytest.raises(AssertionError, match="lookahead/episodes is decoded"):
        run.episodes(first / "lookahead")


def test_seeds_of_practice_and_evaluations_never_meet() -> None:
    """Whatever the config: a cycle for which no seeds are left is refused."""
    starts, seeds, places = sorted(SEEDS.values()), Config.model_fields["seed"].metadata, sum(PRACTICE_SEEDS.values())
    (runs,) = [each.lt for each in seeds if hasattr(each, "lt")]
    assert places == 100_000 and all(b - a >= runs * places for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("inside", ["start", "cycle-001", "mine/deeper"])
def test_a_run_does_not_lie_in_another_one(inside: str, tmp_path: Path) -> None:
    """Else its files would be taken for those of a stage: the report of the outer run fails on them."""
    outer = Run(tmp_path / "run", Config()).begin()
    outer.began_from("abc", {})
    with pytest.raises(ValueError, match=rf"^{outer.folder / inside} lies in the run {outer.folder}; name a folder outside it"):
        Run(outer.folder / inside, Config())
    Run(tmp_path / "beside", Config()).begin()
    assert Run(outer.folder).config == Config()


def test_metrics_hold_each_stage_once_in_order(tmp_path: Path) -> None:
    run = Run(tmp_path, Config()).begin()
    for cycle in (1, 2):
        for stage in ("tune", "collect"):
            run.keep(run.cycle(cycle).folder / f"{stage}.json", lambda: {"figures": {"x": 1.0}, "rows": [{"step": 0}] * 2})
    assert [(row["cycle"], row["stage"], "step" in row) for row in run.metrics()] == [
        (cycle, stage, step) for cycle in (1, 2) for stage in ("collect", "tune") for step in (True, True, False)
    ]
    json.dumps(run.metrics())
