"""A key that does nothing together with the others is told of; none of our own configs has one."""

import shlex
from pathlib import Path

import pytest

from agent.config.config import Config
from agent.config.idle import idle
from agent.config.read import override, read

OWN = [file for folder in ("configs", "examples") for file in sorted(Path(folder).rglob("*.yaml")) if file.stem != "sweep"]


@pytest.mark.parametrize("file", OWN, ids=str)
def test_all_keys_of_our_configs_have_an_effect(file: Path) -> None:
    assert list(idle(read(file))) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--demonstrate.episodes 0 --demonstrate.noise 0.5", "demonstrate.noise has no effect, since demonstrate.episodes is 0."),
        ("--demonstrate.cameras top", "demonstrate.cameras has no effect, since demonstrate.dataset is empty."),
        (
            "--demonstrate.dataset a --demonstrate.noise 1",
            "demonstrate.noise has no effect, since demonstrate.dataset takes the expert's place.",
        ),
        ("--ground.steps 0 --ground.batch_size 3", "ground.batch_size has no effect, since ground.steps is 0."),
        ("--collect.lookahead_candidates 5", "collect.lookahead_candidates has no effect, since collect.lookahead_episodes is 0."),
        ("--tune.dpo_coef 0 --tune.dpo_beta 1 --tune.rpo_alpha 0", "tune.dpo_beta, tune.rpo_alpha have no effect, since tune.dpo_coef is 0."),
        ("--tune.pg_coef 0 --tune.clip_range 0.1 0.1", "tune.clip_range has no effect, since tune.pg_coef is 0."),
        ("--policy.codec digits --policy.num_bins 65", "policy.num_bins has no effect, since policy.codec is digits."),
        ("--cycles 3 --phases '[{first: 9, collect: {lookahead_episodes: 8}}]'", "The phase from cycle 9 never begins, since cycles is 3."),
    ],
)
def test_what_does_nothing_is_said(line: str, says: str) -> None:
    assert list(idle(override(Config(), shlex.split(line)))) == [says]


def test_what_a_later_phase_uses_has_an_effect() -> None:
    phases = "[{first: 2, collect: {lookahead_episodes: 8}, tune: {dpo_coef: 1}}]"
    assert not list(idle(override(Config(), ["--phases", phases, "--collect.lookahead_candidates", "5", "--tune.dpo_coef", "0"])))
