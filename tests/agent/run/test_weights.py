"""Weights are what they say: whatever is loaded has the fingerprint that was recorded, or a sentence names file and remedy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config.config import Config
from agent.label.referee import referee
from agent.records import Player
from agent.rollout.session import Session
from agent.run.base import grounded, settle
from agent.run.files import save
from agent.run.folder import Run
from policies import PolicyConfig

CONFIG = Config(threads=1, policy=PolicyConfig(rows=8))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run with three players on disk: its warm start, its referee, and a champion with other weights."""
    session = Session(Run(tmp_path_factory.mktemp("weights") / "run", CONFIG).begin())
    run = session.run
    for file, stage in (("start/policy", "tune"), ("start/referee", "referee"), ("cycle-012/policy", "tune")):
        place = run.folder / f"{file}.safetensors"
        place.parent.mkdir(exist_ok=True)
        weights = session.policy.weights()
        next(iter(weights.values())).add_(1)
        session.policy.load(weights)
        session.policy.save(place)
        save(place.with_name(f"{stage}.json"), {"policy": session.policy.name})
    yield session
    session.close()


def players(session: Session) -> list[Player]:
    run = session.run
    return [run.player(run.folder / "start"), referee(run), run.player(run.folder / "cycle-012")]


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
    names = [session.play(player).name for player in players(session)]
    assert names == [player.name for player in players(session)] and len(set(names)) == 3


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_named_with_their_remedy(damage: str, session: Session) -> None:
    remedies = (r"start and every cycle's folder", r"start and every cycle's folder", r"cycle-012 and those of all later cycles")
    for player, remedy in zip(players(session), remedies, strict=True):
        raw = player.weights.read_bytes()
        player.weights.write_bytes(DAMAGES[damage](raw))
        session.dirty()
        with pytest.raises(ValueError, match=rf"{player.weights.name}.*; delete the folder .*{remedy}, and the same command makes them again\.$"):
            session.play(player)
        player.weights.write_bytes(raw)
        assert session.play(player).name == player.name, "nothing of it stays"


def test_weights_of_another_run_are_refused_and_so_are_lost_ones(session: Session) -> None:
    first, _, last = players(session)
    raw = last.weights.read_bytes()
    last.weights.write_bytes(first.weights.read_bytes())
    session.dirty()
    with pytest.raises(ValueError, match=f"holds the weights {first.name}, and {last.name} were recorded; delete the folder"):
        session.play(last)
    last.weights.unlink()
    with pytest.raises(ValueError, match=r"no weights can be read there \(No such file.*\); delete the folder"):
        session.play(last)
    last.weights.write_bytes(raw)
    assert session.play(last).name == last.name


def test_what_was_never_recorded_is_taken_as_it_is(session: Session) -> None:
    assert session.play(Player(session.run.folder / "start" / "policy.safetensors", "")).name == players(session)[0].name


def test_the_model_that_learnt_to_see_is_what_was_recorded(tmp_path: Path) -> None:
    session = Session(Run(tmp_path / "run", CONFIG).begin())
    run = session.run
    assert grounded(run.folder) is None
    student = session.student("all")
    next(iter(student.base.parameters())).data.add_(1)
    stage = {"figures": {"steps": 1}, "model": settle(run.folder, student)}
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
