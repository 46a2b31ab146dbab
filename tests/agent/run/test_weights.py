"""Weights are what they say: whatever is loaded has the fingerprint that was recorded, or a sentence names file and remedy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config.config import Config
from agent.label.base_detector import base_detector
from agent.records import Checkpoint
from agent.rollout.session import Session
from agent.run.base import grounded, write_base_model
from agent.run.files import save
from agent.run.folder import Run
from policies import PolicyConfig

CONFIG = Config(threads=1, policy=PolicyConfig(batch_size=8))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run with three players on disk: its warm start, its base-model detector, and a champion with other weights."""
    session = Session(Run(tmp_path_factory.mktemp("weights") / "run", CONFIG).begin())
    run = session.run
    for file, stage in (("start/policy", "tune"), ("start/base_detector", "base_detector"), ("cycle-012/policy", "tune")):
        place = run.folder / f"{file}.safetensors"
        place.parent.mkdir(exist_ok=True)
        weights = session.policy.weights()
        next(iter(weights.values())).add_(1)
        session.policy.load(weights)
        session.policy.save(place)
        save(place.with_name(f"{stage}.json"), {"policy": session.policy.name})
    yield session
    session.close()


def checkpoints(session: Session) -> list[Checkpoint]:
    run = session.run
    return [run.checkpoint(run.folder / "start"), base_detector(run), run.checkpoint(run.folder / "cycle-012")]


def flipped(place: int, bit: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place:][1:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "truncated": lambda raw: raw[: len(raw) // 2],
    "short of a byte": lambda raw: raw[:-1],
    "zeros": lambda raw: bytes(len(raw)),
    "zeros within": lambda raw: raw[:100_000] + bytes(1000) + raw[101_000:],
    **{f"bit {bit} of {place}": flipped(place, bit) for place, bit in ((0, 0), (60, 2), (100_000, 7), (777_777, 0), (-1, 6))},
}


def test_what_was_recorded_is_loaded(session: Session) -> None:
    names = [session.load_checkpoint(checkpoint).name for checkpoint in checkpoints(session)]
    assert names == [checkpoint.name for checkpoint in checkpoints(session)] and len(set(names)) == 3


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_named_with_their_remedy(damage: str, session: Session) -> None:
    remedies = (r"start and every cycle's folder", r"start and every cycle's folder", r"cycle-012 and those of all later cycles")
    for checkpoint, remedy in zip(checkpoints(session), remedies, strict=True):
        raw = checkpoint.weights.read_bytes()
        checkpoint.weights.write_bytes(DAMAGES[damage](raw))
        session.weights_changed()
        with pytest.raises(ValueError, match=rf"{checkpoint.weights.name}.*; delete the folder .*{remedy}, and the same command makes them again\.$"):
            session.load_checkpoint(checkpoint)
        checkpoint.weights.write_bytes(raw)
        assert session.load_checkpoint(checkpoint).name == checkpoint.name, "nothing of it stays"


def test_weights_of_another_run_are_refused_and_so_are_lost_ones(session: Session) -> None:
    first, _, last = checkpoints(session)
    raw = last.weights.read_bytes()
    last.weights.write_bytes(first.weights.read_bytes())
    session.weights_changed()
    with pytest.raises(ValueError, match=f"holds the weights {first.name}, and {last.name} were recorded; delete the folder"):
        session.load_checkpoint(last)
    last.weights.unlink()
    with pytest.raises(ValueError, match=r"its weights cannot be read \(No such file.*\); delete the folder"):
        session.load_checkpoint(last)
    last.weights.write_bytes(raw)
    assert session.load_checkpoint(last).name == last.name


def test_the_model_that_learnt_to_see_is_what_was_recorded(tmp_path: Path) -> None:
    session = Session(Run(tmp_path / "run", CONFIG).begin())
    run = session.run
    assert grounded(run.folder) is None
    student = session.trainable_base()
    next(iter(student.base.parameters())).data.add_(1)
    stage = {"figures": {"steps": 1}, "model": write_base_model(run.folder, student)}
    folder = run.folder / "ground" / "model"
    save(run.folder / "ground" / "ground.json", stage)
    base = Session(Run(run.folder)).policy
    assert grounded(run.folder) == folder and base.base_name != session._load({}).base_name
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= stage["model"].keys()
    (folder / "notes.txt").write_text("a stranger")
    for name in stage["model"]:
        raw = (folder / name).read_bytes()
        for damaged in (b"", raw[:-1], raw + b" ", flipped(len(raw) // 2, 0)(raw), None):
            (folder / name).unlink() if damaged is None else (folder / name).write_bytes(damaged)
            with pytest.raises(
                ValueError, match=rf"{name} is (not what was recorded|gone); delete the folder .*ground and the folder start and every"
            ):
                _ = Session(Run(run.folder)).policy
        (folder / name).write_bytes(raw)
    assert grounded(run.folder) == folder
