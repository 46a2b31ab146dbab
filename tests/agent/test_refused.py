"""A command that is refused says one sentence, and leaves every file as it was."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml

from agent.cli import main
from agent.config.read import parse
from agent.run.files import alone, save
from agent.run.folder import Run

TINY = {"cycles": 1, "threads": 1, "policy": {"batch_size": 8}, "demonstrate": {"episodes": 2, "steps": 2}, "track": {"mode": "off", "videos": False}}
NEW, OLD = "new/run", "run"  # a folder that is not there, and one that holds a run


class Numbers(gymnasium.Env):
    """Has no simulator to be taught from, and no camera of ours."""

    action_space = gymnasium.spaces.Box(-1, 1, (2,))
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, True, {}


def sees(observation):
    """An expert without the environment."""
    return [0, 0]


def nothing(env, observation):
    """An expert that forgets its action."""


def everything(folder: Path) -> dict[str, Any]:
    return {str(file.relative_to(folder)): file.read_bytes() if file.is_file() else None for file in sorted(folder.rglob("*"))}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a config, and a run that has begun by it."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("tiny.yaml").write_text(yaml.safe_dump(TINY))
    run = Run(Path(OLD), parse(TINY, "test")).begin()
    for stage in ("collect", "curate", "evaluate", "cycle"):  # `label` is gone
        save(run.cycle(1).folder / f"{stage}.json", {})
    return tmp_path


def refused(says: str, *arguments: Any, capsys: Any, monkeypatch: Any) -> None:
    before = everything(Path())
    monkeypatch.setattr("sys.argv", ["etude", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    sentence = said.splitlines()[-1]  # before it there may be the bar of a model that was loaded
    assert ended.value.code == 1 and sentence.startswith("etude: ") and says in sentence, said
    assert "Traceback" not in said
    assert everything(Path()) == before


NUMBERS = ["--env.id", f"{__name__}:Numbers", "--env.cameras", "eye", "--env.instruction", "go", "--env.success", "reward > 1"]


@pytest.mark.parametrize(
    ("run", "overrides", "says"),
    [
        (NEW, ["--collect.takes", "3"], "did you mean"),
        (NEW, ["--env.id", "etude/Nowhere-v0"], "cannot be made"),
        (NEW, ["--policy.model", "empty"], "Model 'empty' cannot be loaded"),
        (NEW, ["--evaluate.variations", "{odd: {variation: {camra: 1}}}"], "evaluate.variations 'odd'"),
        (NEW, [*NUMBERS, "--ground.from", "{ball: info.ball}"], "ground.from says that 'ball' is 'info.ball'"),
        (NEW, [*NUMBERS, "--collect.lookahead_episodes", "2"], "that restores snapshots exactly"),
        (NEW, NUMBERS, "no scripted oracle to demonstrate with"),
        (NEW, [*NUMBERS, "--demonstrate.expert", f"{__name__}:sees"], "sees fails with TypeError: sees() takes 1 positional argument but 2 were"),
        (
            NEW,
            [*NUMBERS, "--demonstrate.expert", f"{__name__}:nothing"],
            "nothing gave None; write it as nothing(env, observation) -> an action of 2",
        ),
        (NEW, ["--demonstrate.expert", "nowhere:nobody"], "demonstrate.expert 'nowhere:nobody' cannot be used"),
        (NEW, ["--demonstrate.dataset", "empty"], "empty"),
        (OLD, ["--seed", "7"], "another seed config"),
        (OLD, ["--cycles", "9"], "label.json is gone"),
        ("", [], "RUN is empty"),
        (300 * "a", [], "cannot be the folder of a run (File name too long"),
        ("tiny.yaml", [], "cannot be the folder of a run (File exists: tiny.yaml)"),
        ("tiny.yaml/run", [], "cannot be the folder of a run (Not a directory: tiny.yaml/run)"),
    ],
)
def test_what_is_refused_changes_nothing(run: str, overrides: list[str], says: str, place: Path, capsys: Any, monkeypatch: Any) -> None:
    for until in ([], ["--until", "collect"]):
        refused(says, "improve", "tiny.yaml", run, *overrides, *until, capsys=capsys, monkeypatch=monkeypatch)


def test_a_second_command_beside_a_live_one_changes_nothing(place: Path, capsys: Any, monkeypatch: Any) -> None:
    with alone(Path(OLD)):
        more = ["--cycles", 99, "--processes", 7, "--max_minutes", 5]
        refused("Another process is at work in run", "improve", "tiny.yaml", OLD, *more, capsys=capsys, monkeypatch=monkeypatch)


def test_a_lock_that_cannot_be_opened(place: Path, capsys: Any, monkeypatch: Any) -> None:
    (place / "odd" / "lock").mkdir(parents=True)
    refused("odd cannot be the folder of a run (Is a directory: odd/lock)", "improve", "tiny.yaml", "odd", capsys=capsys, monkeypatch=monkeypatch)


@pytest.mark.parametrize("verb", ["report", "watch"])
@pytest.mark.parametrize(("file", "content"), [("summary.json", b"[]"), ("summary.json", b"{}"), ("summary.json", b"\xff"), ("config.yaml", b"\xff")])
def test_who_only_looks_names_what_is_damaged(verb: str, file: str, content: bytes, place: Path, capsys: Any, monkeypatch: Any) -> None:
    (place / OLD / file).write_bytes(content)
    refused(f"{OLD}/{file} is ", verb, OLD, capsys=capsys, monkeypatch=monkeypatch)


@pytest.mark.parametrize("folder", ["", "nowhere", 300 * "a", "tiny.yaml", "tiny.yaml/run"])
def test_who_only_looks_needs_a_run(folder: str, place: Path, capsys: Any, monkeypatch: Any) -> None:
    for verb in ("report", "watch"):
        refused("needs the folder of a run", verb, folder, capsys=capsys, monkeypatch=monkeypatch)


@pytest.mark.parametrize("config", [b"seed: \xff", b"seed: [", b"seed: x", b"sed: 1", b"- 1"])
def test_a_config_that_cannot_be_read(config: bytes, place: Path, capsys: Any, monkeypatch: Any) -> None:
    (place / "tiny.yaml").write_bytes(config)
    for verb, *rest in (("improve", "tiny.yaml", NEW), ("check", "--config", "tiny.yaml"), ("expert", "tiny.yaml", NEW)):
        refused("tiny.yaml", verb, *rest, capsys=capsys, monkeypatch=monkeypatch)
