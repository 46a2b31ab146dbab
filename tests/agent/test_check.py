"""Environments and models in a terminal."""

from pathlib import Path
from typing import Any

import pytest

from agent.check import check, tasks
from agent.cli import main
from envs import EnvConfig
from policies.nano.words import unknown


def test_tasks_shows_all_our_environments(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    tasks()
    shown = capsys.readouterr().out
    for each in ("etude/Reach-v0", "etude/Push-v0", "etude/Press-v0", "within 3.5 cm of the named", "touch the", "onto the", "24"):
        assert each in shown, each


def test_words_that_the_embedded_model_does_not_know_are_named(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    env = EnvConfig(id="etude/Reach-v0", instruction="Touch the purple SCREWDRIVER gently")
    assert check(env, tmp_path)
    shown = " ".join(capsys.readouterr().out.split())
    assert "does not know 2 words of the instructions (screwdriver, gently), and spells such words" in shown
    assert unknown("Touch The Red Ball, touch it 7") == []
    assert check(env, tmp_path, model="another")
    assert "does not know" not in capsys.readouterr().out


def test_a_model_is_checked_by_its_name(folder_of: Any, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for family, actions in (("nano", "bins: 33 bins"), ("internvl", "digits: 100 bins")):
        monkeypatch.setattr("sys.argv", ["etude", "check-model", str(folder_of(family)), "--policy.batch_size", "2", "--policy.train", "lora"])
        main()
        shown = capsys.readouterr().out
        assert "Ready." in shown and actions in shown and "training (lora)" in shown, shown
    for arguments, says in (([], "needs a hub id or a folder"), ([str(folder_of("florence2"))], "florence2 has an encoder and a decoder")):
        monkeypatch.setattr("sys.argv", ["etude", "check-model", *arguments])
        with pytest.raises(SystemExit):
            main()
        assert says in capsys.readouterr().err
