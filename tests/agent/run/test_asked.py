"""What `etude improve` is asked for: config and folder, `auto`, a run alone, further cycles; and a W&B sweep that asks so."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from agent.config.read import override, read
from agent.evaluate.statistics import account
from agent.records import Scorecard
from agent.run.asked import asked
from agent.run.clock import time_for
from agent.run.files import save
from agent.run.folder import Run
from agent.run.further import finished, told

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_RUN_ID", "")  # first set, so that what `auto` sets is taken back
    monkeypatch.delenv("WANDB_RUN_ID")
    (tmp_path / "c.yaml").write_text("cycles: 4\nmax_minutes: 30\nenv: {id: etude/Slide-v0}\n")
    return tmp_path


def ended(cycles: int, **config: Any) -> Path:
    """The folder of a run that has its result after so many cycles."""
    run = Run(Path("run"), read(Path("c.yaml")).model_copy(update=config)).begin()
    for number in range(1, cycles + 1):
        save(run.cycle(number).folder / "cycle.json", {"figures": {}, "champion": "a", "promoted": False, "alarms": []})
    card = Scorecard("a", {f"t/{i}": i < 3 for i in range(9)})
    told = {"task": "t", "seed": 0, "cycles": cycles, "promoted": 0, **account({"base": card}, card), "policy": "a", "seconds": {}}
    (run.folder / "summary.json").write_text(json.dumps(told))
    return run.folder


def test_a_config_and_a_folder(here: Path) -> None:
    assert asked(["c.yaml", "r", "--seed", "3"]) == (Path("r"), override(read(Path("c.yaml")), ["--seed=3"]))


def test_a_run_alone_goes_on_with_its_own_config() -> None:
    folder = ended(2)
    assert asked(["run", "--processes", "2"]) == (folder, override(read(Path("c.yaml")), ["--processes=2"]))


@pytest.mark.parametrize("words", [["--cycles", "+4"], ["--cycles=+4"]])
@pytest.mark.parametrize("first", [["run"], ["c.yaml", "run"]])
def test_a_finished_run_gets_further_cycles_whatever_ended_it(words: list[str], first: list[str]) -> None:
    folder = ended(4)
    config = asked([*first, *words, "--threads", "1"])[1]
    assert (config.cycles, config.max_minutes, config.threads) == (8, 0, 1)
    assert not finished(folder, config)


def test_the_minutes_that_ended_a_run_are_named_with_the_command_that_goes_on() -> None:
    folder = ended(2)
    save(folder / "cycle-002" / "collect.json", {"figures": {}, "seconds": 1900.0})
    assert not time_for(folder, 3, 30)
    config = asked(["c.yaml", "run", "--cycles", "6"])[1]
    assert told(Run(folder, config)) == ("run is finished, with 2 cycles; its max_minutes of 30 are spent. For 4 more: etude improve run --cycles +4")
    assert asked(["run", "--cycles", "+4"])[1].cycles == 6
    assert told(Run(folder, asked(["run", "--cycles", "+4"])[1])) == ""


def test_alarms_that_ended_a_run_are_named() -> None:
    folder = ended(2)
    for number in (1, 2):
        save(folder / f"cycle-00{number}" / "label.json", {"alarms": ["no judge: 56 %"]})
    says = "run is finished, with 2 cycles; the last two ended without training, and so would further ones: no judge: 56 %."
    assert told(Run(folder, read(Path("c.yaml")))) == says


def test_the_same_command_goes_on_after_a_stop_and_adds_no_more() -> None:
    folder = ended(4)
    config = asked(["run", "--cycles", "+4"])[1]
    Run(folder, config).begin()  # it is killed before the first of them has ended, and then after it
    assert asked(["run", "--cycles", "+4"])[1] == asked(["c.yaml", "run", "--cycles", "+4"])[1] == config
    save(folder / "cycle-005" / "cycle.json", {"figures": {}, "champion": "a", "promoted": False, "alarms": []})
    assert asked(["run", "--cycles", "+4"])[1] == config


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "needs CONFIG and RUN"),
        ("c.yaml", "needs CONFIG and RUN"),
        ("nowhere", "needs CONFIG and RUN"),
        ("c.yaml new --cycles +4", "adds cycles to a finished run, and new holds none; write --cycles 4"),
        ("run --cycles +0", "adds no cycle; write --cycles \\+1 or more"),
        ("run --cycles +x", "cycles is '\\+x'"),
    ],
)
def test_a_mistake_is_one_sentence(line: str, says: str) -> None:
    ended(1)
    with pytest.raises(ValueError, match=says):
        asked(line.split())


def test_auto_names_a_folder_by_task_date_and_id(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = asked(["c.yaml", "auto"])
    assert re.fullmatch(r"runs/slide-v0-\d{8}-\d{6}-[0-9a-f]{8}", str(folder)) and folder.name.endswith(os.environ["WANDB_RUN_ID"])
    monkeypatch.setenv("WANDB_RUN_ID", "trial7")
    folder, _ = asked(["c.yaml", "auto"])
    folder.mkdir(parents=True)
    assert folder.name.endswith("-trial7") and asked(["c.yaml", "auto"])[0] == folder, "the same trial goes on in its folder"


@pytest.mark.parametrize("odd", ["*", "[a]", "a/b", "../x", "a" * 65, " ", "."])
def test_an_id_that_cannot_be_a_part_of_a_folders_name_is_one_sentence(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (Path("runs") / "slide-v0-20261129-140444-a").mkdir(parents=True)
    monkeypatch.setenv("WANDB_RUN_ID", odd)
    with pytest.raises(ValueError, match=r"^WANDB_RUN_ID is '.*'; as a part of a folder's name it may have"):
        asked(["c.yaml", "auto"])


def test_an_id_that_ends_as_that_of_an_earlier_run_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    (Path("runs") / "slide-v0-20261129-140444-sweep-1").mkdir(parents=True)
    for name, known in (("1", False), ("sweep-1", True), ("", False)):
        monkeypatch.setenv("WANDB_RUN_ID", name)
        folder, _ = asked(["c.yaml", "auto"])
        assert folder.exists() == known and folder.name.endswith(f"-{os.environ['WANDB_RUN_ID']}") and os.environ["WANDB_RUN_ID"]


def test_the_shipped_sweep_makes_commands_that_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arguments are made by W&B's own agent."""
    from wandb.sdk.launch.sweeps import utils

    monkeypatch.chdir(ROOT)
    sweep: Any = utils.load_sweep_config("configs/sweep.yaml")
    trial = {"tune.learning_rate": {"value": 0.0003}, "seed": {"value": 2}}
    assert sweep["parameters"].keys() == trial.keys() and sweep["metric"]["name"] == "after/rate"
    words = {**utils.create_sweep_command_args({"args": trial}), "env": ["/usr/bin/env"], "program": [sweep["program"]]}
    command = [part for each in utils.create_sweep_command(sweep["command"]) for part in (words[each[2:-1]] if each[0] == "$" else [each])]
    assert command[:3] == ["/usr/bin/env", "etude", "improve"]
    folder, config = asked(command[3:])
    assert config.track.mode == "online", "the sweep's server sees no result of a run that is tracked offline"
    assert folder.parent == Path("runs") and config.seed == 2 and all(config.at(cycle).tune.learning_rate == 0.0003 for cycle in (1, 2))
