"""W&B's environment variables: a wrong one is a sentence with its name, and what W&B would refuse without need is hidden from it."""

import os
from typing import Any

import pytest

from agent.config.keys import TrackConfig
from agent.run.variables import check, hidden, is_id, mode, mode_of


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("WANDB_MODE", "garbage", "it is where figures go: online, offline, or disabled .off.; set one, or unset it"),
        ("WANDB_RUN_ID", "a/b c", "it may have 64 letters, digits, dots, hyphens or _"),
        ("WANDB_PROJECT", "a/b%", "it is a project of W&B: give at most 128 characters, and none of "),
        ("WANDB_PROJECT", "p" * 129, "give at most 128 characters"),
        ("WANDB_TAGS", "a,,b", "give each 1 to 64 characters, with one comma between two"),
        ("WANDB_TAGS", "t" * 65, "give each 1 to 64 characters"),
        ("track.project", "a:b", "it is a project of W&B"),
        ("track.tags", ("a", ""), "give each 1 to 64 characters"),
    ],
)
def test_what_wandb_would_refuse_is_a_sentence_with_its_name(name: str, given: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = name.removeprefix("track.")
    if key == name:
        monkeypatch.setenv(name, given)
    track = TrackConfig() if key == name else TrackConfig(**{key: given})
    with pytest.raises(ValueError, match=rf"^{name} is .*{says}"):
        mode_of(track)
        check(track)


@pytest.mark.parametrize(
    ("given", "means"), [("OFF", "off"), ("Disabled", "off"), ("", ""), (" ", ""), ("Online", "online"), ("dryrun", "offline"), (None, "")]
)
def test_a_mode_is_understood_in_any_case(given: str | None, means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if given is not None:
        monkeypatch.setenv("WANDB_MODE", given)
    assert mode() == means and mode_of(TrackConfig()) == (means or "offline") and mode_of(TrackConfig(mode="online")) == "online"


def test_wandb_does_not_see_what_only_etude_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"WANDB_MODE": "OFF", "WANDB_RUN_ID": "", "WANDB_TAGS": "", "WANDB_PROJECT": "p"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    check(TrackConfig())
    with hidden():
        assert {name for name in given if name in os.environ} == {"WANDB_PROJECT"}
    assert {name: os.environ[name] for name in given} == given
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with hidden():
        assert os.environ["WANDB_MODE"] == "disabled"


@pytest.mark.parametrize(("text", "good"), [("a1b2", True), ("my run", True), ("", False), ("a\n", False), ("a/b", False), ("a\0", False)])
def test_an_id_is_what_wandb_takes(text: str, good: bool) -> None:
    assert is_id(text) == good
