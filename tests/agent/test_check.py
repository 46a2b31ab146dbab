"""Environments in a terminal."""

import pytest

from agent.check import tasks


def test_tasks_shows_all_our_environments(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    tasks()
    shown = capsys.readouterr().out
    for each in ("etude/Reach-v0", "etude/Push-v0", "etude/Press-v0", "within 3.5 cm of the named", "touch the", "onto the", "24"):
        assert each in shown, each
