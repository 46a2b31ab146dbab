"""The clock decides once: a run that goes on takes the cycles that it had begun, and stops where it had stopped."""

from pathlib import Path

import pytest

from agent.config.config import Config
from agent.run.files import load, save
from agent.run.folder import Run


def finish(run: Run, number: int, seconds: float) -> None:
    save(run.cycle(number).folder / "collect.json", {"seconds": seconds})
    save(run.cycle(number).folder / "cycle.json", {})


def begun(run: Run, seconds: float) -> list[int]:
    """Take all cycles that there are, each in so many seconds; return their numbers."""
    numbers = []
    for cycle in run.cycles():
        finish(run, cycle.number, seconds)
        numbers.append(cycle.number)
    return numbers


@pytest.fixture
def stopped(tmp_path: Path) -> Run:
    """A run of a minute, which was up after three cycles of 25 seconds."""
    run = Run(tmp_path, Config(cycles=9, max_minutes=1)).begin()
    assert begun(run, 25) == [1, 2, 3]
    return run


@pytest.mark.parametrize("seconds", [1, 25, 1000])
def test_a_cycle_that_had_begun_is_taken_however_long_the_others_took(seconds: float, stopped: Run) -> None:
    """Killed in cycle 3; the stages before were done again by a slower machine, or a faster one."""
    (stopped.cycle(3).folder / "cycle.json").unlink()
    (stopped.cycle(3).folder / "collect.json").unlink()
    for number in (1, 2):
        finish(stopped, number, seconds)
    assert begun(Run(stopped.folder).begin(), 25) == [3], "and not a fourth, for the clock had decided that too"


def test_a_run_whose_time_was_up_goes_on_when_it_is_given_more(stopped: Run) -> None:
    for number in (1, 2, 3):
        finish(stopped, number, 1)
    assert begun(Run(stopped.folder).begin(), 25) == []
    more = stopped.config.model_copy(update={"max_minutes": 1.5})
    assert begun(Run(stopped.folder, more).begin(), 50) == [4, 5], "after 3, after 53, and not after 103 seconds"
    less = stopped.config.model_copy(update={"max_minutes": 0.5})
    assert begun(Run(stopped.folder, less).begin(), 25) == []
    assert begun(Run(stopped.folder, stopped.config.model_copy(update={"max_minutes": 0})).begin(), 25) == [6, 7, 8, 9]


def test_without_a_limit_nothing_is_decided(tmp_path: Path) -> None:
    assert begun(Run(tmp_path, Config(cycles=2)).begin(), 1e6) == [1, 2] and not (tmp_path / "clock.json").exists()


def test_what_the_clock_decided_is_under_a_checksum(stopped: Run) -> None:
    file = stopped.folder / "clock.json"
    assert [each["begins"] for each in load(file).values()] == [True, True, True, False]
    file.write_text(file.read_text().replace("false", "true"))
    with pytest.raises(ValueError, match=r"clock\.json is damaged"):
        list(Run(stopped.folder).cycles())
