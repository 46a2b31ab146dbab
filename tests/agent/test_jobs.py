"""What a cycle attempts, and how boldly."""

from pathlib import Path

import pytest

from agent.configure import parse
from agent.jobs import guided_jobs, practice_jobs, temperature
from agent.run import Run


def finished(run: Run, number: int, diversity: float, promoted: bool) -> None:
    folder = run.cycle(number).folder
    run.keep(folder / "collect.json", lambda: {"figures": {"diversity": diversity}})
    run.keep(folder / "cycle.json", lambda: {"promoted": promoted})


def test_each_new_champion_has_a_temperature_of_its_own_and_all_of_its_takes_have_that(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", parse({"collect": {"diversity": 0.3}, "policy": {"temperature": 0.8}}, "test")).begin()
    for number, (diversity, promoted) in enumerate(((0.2, True), (0.1, False), (0.4, True), (0.01, True)), 1):
        finished(run, number, diversity, promoted)
    met = [temperature(run, run.cycle(number)) for number in range(1, 6)]
    assert met == pytest.approx([0.8, 1.2, 1.2, 0.9, 1.6]), "0.8 x 0.3 / 0.2; a rolled-back cycle changes nothing; 1.2 x 0.3 / 0.4; at most twice 0.8"


def test_without_a_target_the_temperature_stays(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", parse({"policy": {"temperature": 0.8}}, "test")).begin()
    finished(run, 1, 0.2, True)
    assert temperature(run, run.cycle(2)) == 0.8


def test_phases_change_how_a_cycle_practises_and_no_seed_is_used_twice(tmp_path: Path) -> None:
    later = ({"first": 3, "collect": {"guided": 0, "seeds": 8}}, {"first": 4, "collect": {"guided": 5}})
    run = Run(tmp_path / "run", parse({"collect": {"guided": 3, "seeds": 2, "takes": 2}, "phases": later}, "test")).begin()
    practised, guided = [], []
    for number in range(1, 5):
        run.keep(run.cycle(number).folder / "collect.json", lambda: {"figures": {}, "seeds": {"etude/Reach-v0": {}}})
        practised.append([job.seed for job in practice_jobs(run, run.cycle(number))])
        guided.append([job.seed for job in guided_jobs(run, run.cycle(number))])
    assert list(map(len, practised)) == [4, 4, 16, 16] and list(map(len, guided)) == [3, 3, 0, 5]
    assert len({seed for seeds in practised for seed in seeds}) == 2 + 2 + 8 + 8 and len({seed for seeds in guided for seed in seeds}) == 11
