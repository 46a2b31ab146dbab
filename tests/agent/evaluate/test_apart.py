"""An evaluation apart from a run is that of the run, and two policies are compared on the same seeds."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from agent.evaluate.apart import evaluate_source, written
from agent.evaluate.stage import evaluate
from agent.evaluate.statistics import compare
from agent.records import Checkpoint
from agent.rollout.environments import Environments
from agent.rollout.session import Session
from agent.run.folder import Run
from agent.run.tracking import Track
from agent.source import find
from tests.agent.runs import make

SEVERAL = [{"id": "etude/Reach-v0", "weight": 2}, {"id": "etude/Reach-v0", "name": "again"}]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apart") / "run"
    make(folder, env=SEVERAL, evaluate={"test_episodes": 6})
    return folder


def apart(source: Any, count: int, **more: Any) -> Any:
    environments = Environments(source.config.envs, 4)
    try:
        return evaluate_source(source, environments, count, **more)
    finally:
        environments.close()


def test_it_is_the_test_evaluation_of_the_run(run: Path) -> None:
    session = Session(Run(run))
    champion = find(str(run))
    assert champion.weights
    card = evaluate(session, Checkpoint(champion.weights, champion.name), "test", Track(run, session.config))
    session.close()
    result = apart(champion, 6, keep=2)
    assert result.card.outcomes == card.outcomes and len(card.outcomes) == 6
    assert {key: list(effort) for key, effort in result.card.effort.items()} == card.effort
    assert [each.seed for each in result.episodes] == [30_000_000, 30_000_001]


def test_two_policies_are_compared_on_the_same_seeds(run: Path) -> None:
    champion = find(str(run))
    results = [apart(source, 6, first=5) for source in (champion, find("nano").beside(champion, []))]
    content = json.loads(json.dumps(written(champion.config.envs, *results)))
    assert content["outcomes"].keys() == content["against"]["outcomes"].keys() == results[0].card.outcomes.keys()
    assert content["against"]["comparison"]["gain"] == compare(results[0].card, results[1].card).gain
    assert content["n"] == 6 and content["low"] <= content["rate"] <= content["high"]
    assert {name: part["n"] for name, part in content["tasks"].items()} == {"etude/Reach-v0": 4, "again": 2}


def test_episodes_that_cannot_be_played_are_no_success_rate(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "ill.py"
    file.write_text("from envs.tasks.reach import Reach\n\nclass Ill(Reach):\n    def step(self, action):\n        raise RuntimeError('it broke')\n")
    champion = find(str(run))
    config = champion.config.model_copy(
        update={"env": champion.config.envs[0].model_copy(update={"id": f"{file}:Ill", "cameras": ("front", "wrist")})}
    )
    with pytest.raises(
        ValueError, match=r"of 6 episodes were faulty, more than 20 %; the last at seed 3000000\d, decision 0: RuntimeError: it broke"
    ):
        apart(dataclasses.replace(champion, config=config), 6)
    with pytest.raises(ValueError, match=r"^The first seed is -3; give 0 or more\.$"):
        apart(champion, 6, first=-3)
