"""`--help` tells of every key that a config may have, and how it is given."""

import re
from typing import Any

import pytest

from agent.config.config import Config
from agent.config.read import config_keys, override, parse

SENTENCES = {
    "env.kwargs": "Passed to the environment's constructor.",
    "env.attributes": "Set on the environment itself once it is made",
    "policy.state": "Numbers for `{state}` in `prompt`",
    "evaluate.variations": "Evaluations of generalisation",
    "phases": "Changes later in a run.",
}


def shown(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    monkeypatch.setenv("COLUMNS", "100")  # too few for two columns
    with pytest.raises(SystemExit):
        override(parse(content, "test"), ["--help"])
    return " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


def test_every_key_is_shown_with_its_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    text = shown({}, monkeypatch, capsys)
    assert [name for name, _ in config_keys(Config) if f"--{name.replace('_', '-')} " not in text] == []
    for name, sentence in SENTENCES.items():
        assert f"--{name} YAML {sentence}" in text, name
    assert "--env.kwargs '{width: 64}'" in text and "--track.videos {True,False}" in text


def test_dictionaries_and_phases_are_shown_and_given_as_yaml(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    content = {
        "env": [{"kwargs": {"size": [1, 2]}}, {"id": "etude/Push-v0"}],
        "policy": {"state": {8: [0, 0.03]}, "prompt": "{state} {instruction}"},
        "phases": [{"first": 2, "tune": {"epochs": 3}}],
        "evaluate": {"variations": {"moved": {"variation": {"camera": 0.03}}}},
        "cycles": 77,
    }
    text = shown(content, monkeypatch, capsys)
    for name, sentence in SENTENCES.items():
        assert f"--{name} YAML {sentence}" in text, name
    assert "(default: 77)" in text, "of all other keys the value of the file is shown"
    given = ["--policy.state", "{8: [0.0, 0.03]}", "--phases", "[{first: 2, tune: {epochs: 3}}]", "--env.kwargs", "{size: [1, 2]}"]
    made = override(parse({"policy": {"state": {1: [0, 1]}, "prompt": "{state} {instruction}"}}, "test"), given)
    assert made.policy.state == {8: (0, 0.03)} and made.at(2).tune.epochs == 3 and made.envs[0].kwargs == {"size": [1, 2]}
