"""Environments and models in a terminal."""

import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.check import check, tasks
from agent.cli import main
from agent.config.read import parse
from agent.ready import ready as is_ready
from agent.rollout.session import Session
from agent.run.folder import Run
from policies.nano.words import unknown


def test_tasks_shows_all_our_environments(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    tasks()
    shown = capsys.readouterr().out
    for each in ("etude/Reach-v0", "etude/Push-v0", "etude/Press-v0", "within 3.5 cm of the named", "touch the", "onto the", "24"):
        assert each in shown, each


DIAL = {"id": "tests.envs.test_doctor:Dial", "cameras": ["observation"], "size": 16, "action_repeat": 1}


def full(env: gymnasium.Env, observation: np.ndarray) -> np.ndarray:
    """An expert for `Dial`."""
    return np.ones(1)


def checked(content: dict[str, Any], whole: bool, folder: Path, capsys: pytest.CaptureFixture) -> tuple[bool, str]:
    """Return whether a run of this config can start, and what `etude check` prints."""
    ready = check(parse({"env": DIAL, "threads": 1, **content}, "test"), whole, folder)
    return ready, " ".join(capsys.readouterr().out.split())


def test_a_name_between_colons_is_no_emoji(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "door.py").write_text("def door():\n    raise RuntimeError(':red_circle: is shut')\n")
    _, said = checked({"env": {**DIAL, "id": f"{tmp_path}/door.py:door"}}, False, tmp_path, capsys)
    assert "door.py:door" in said and ":red_circle:" in said


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "no scripted oracle to demonstrate with; name a demonstrate.expert (`etude expert` trains one), or set demonstrate.episodes to 0."),
        ({"demonstrate": {"dataset": "nowhere"}}, "nowhere"),
        ({"demonstrate": {"episodes": 0}, "curate": {"rule": "nowhere:rule"}}, "curate.rule 'nowhere:rule' cannot be used"),
        ({"demonstrate": {"episodes": 0}, "policy": {"model": "nowhere/at-all/here"}}, "Model 'nowhere/at-all/here' cannot be loaded"),
        ({"demonstrate": {"episodes": 0}, "evaluate": {"variations": {"odd": {"camra": 1}}}}, "evaluate.variations 'odd'"),
        ({"demonstrate": {"episodes": 0}, "ground": {"from": {"ball": "info.ball"}}}, "ground.from says that 'ball' is 'info.ball', and info holds"),
    ],
)
def test_what_a_run_would_refuse_the_check_says(content: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """With the sentence of the run: it is the same code."""
    ready, said = checked(content, True, tmp_path, capsys)
    assert not ready and says in said and "Ready." not in said
    session = Session(Run(tmp_path / "run", parse({"env": DIAL, "threads": 1, **content}, "test")))
    with pytest.raises(ValueError, match=re.escape(says)):
        is_ready(session)
    session.close()
    assert [file.name for file in tmp_path.iterdir()] == ["check-tests-envs-test-doctor-Dial.png"]


def test_an_expert_that_hangs_does_not_hang_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """The expert is asked for the bounds of its actions before anything is examined, and `env.timeout` may be 0."""
    monkeypatch.setattr("agent.check.LIMIT", 1.0)
    fatal = Path(__file__).parents[1] / "envs/fatal.py"
    env = {"id": f"{fatal}:Fatal", "kwargs": {"way": "hang", "seeds": []}, "cameras": ["eye"], "size": 16, "action_bounds": "quantiles"}
    with pytest.raises(ValueError, match=r"quantiles need an expert's actions, and in .*:Fatal, seed \d+: no answer within 1 s; its process was"):
        checked({"env": env, "demonstrate": {"expert": f"{fatal}:stuck"}}, True, tmp_path, capsys)


def test_a_sound_config_is_ready_and_an_id_alone_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for content, whole in (({"demonstrate": {"expert": f"{__name__}:full"}}, True), ({}, False)):
        ready, said = checked(content, whole, tmp_path, capsys)
        assert ready and said.endswith("Ready.") and "expert" in said
    said = checked({"demonstrate": {"expert": f"{__name__}:full", "cameras": ["eye"]}}, True, tmp_path, capsys)[1]
    assert "demonstrate.cameras has no effect, since demonstrate.dataset is empty." in said


def test_brackets_in_a_name_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("lift [/x]", "lift [red]"):
        assert name in checked({"env": {"id": "etude/Reach-v0", "name": name}}, False, tmp_path, capsys)[1]


def test_words_that_the_embedded_model_does_not_know_are_named(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    content = {"env": {"id": "etude/Reach-v0", "instruction": "Touch the purple SCREWDRIVER gently"}}
    ready, shown = checked(content, False, tmp_path, capsys)
    assert ready
    assert "does not know 2 words of the instructions (screwdriver, gently), and spells such words" in shown
    assert unknown("Touch The Red Ball, touch it 7") == []
    assert "does not know" not in checked({**content, "policy": {"model": "another"}}, False, tmp_path, capsys)[1]


def test_a_model_is_checked_by_its_name(folder_of: Any, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for family, actions in (("nano", "bins: 33 bins"), ("internvl", "digits: 100 bins")):
        monkeypatch.setattr("sys.argv", ["etude", "check-model", str(folder_of(family)), "--policy.batch_size", "2", "--policy.train", "lora"])
        main()
        shown = capsys.readouterr().out
        assert "Ready." in shown and actions in shown and "training (lora)" in shown, shown
    refused = {
        "needs a hub id or a folder": [],
        "florence2 has an encoder and a decoder": [str(folder_of("florence2"))],
        "file.py:Class is a policy class of your own, and no model; check a config that names it": ["file.py:Class"],
    }
    for says, arguments in refused.items():
        monkeypatch.setattr("sys.argv", ["etude", "check-model", *arguments])
        with pytest.raises(SystemExit):
            main()
        assert says in capsys.readouterr().err
