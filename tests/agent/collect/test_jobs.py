"""What a cycle attempts."""

from pathlib import Path
from typing import Any

import pytest

from agent.collect.jobs import dynamic_sampling_jobs, lookahead_jobs, practice_jobs
from agent.config.keys import PRACTICE_SEEDS
from agent.config.read import parse
from agent.run.folder import Run
from tests.agent.made import episode


def test_phases_change_how_a_cycle_practises_and_no_seed_is_used_twice(tmp_path: Path) -> None:
    later = ({"first": 3, "collect": {"lookahead_episodes": 0, "num_seeds": 8}}, {"first": 4, "collect": {"lookahead_episodes": 5}})
    run = Run(
        tmp_path / "run", parse({"collect": {"lookahead_episodes": 3, "num_seeds": 2, "episodes_per_seed": 2}, "phases": later}, "test")
    ).begin()
    practised, lookahead = [], []
    for number in range(1, 5):
        run.keep(run.cycle(number).folder / "collect.json", lambda: {"figures": {}, "seeds": {"etude/Reach-v0": {}}})
        practised.append([job.seed for job in practice_jobs(run, run.cycle(number))])
        lookahead.append([job.seed for job in lookahead_jobs(run, run.cycle(number))])
    assert list(map(len, practised)) == [4, 4, 16, 16] and list(map(len, lookahead)) == [3, 3, 0, 5]
    assert len({seed for seeds in practised for seed in seeds}) == 2 + 2 + 8 + 8 and len({seed for seeds in lookahead for seed in seeds}) == 11


def test_a_cycle_for_which_too_few_seeds_are_left_is_one_sentence(tmp_path: Path) -> None:
    """Else it would practise seeds of another kind, then those of another run seed."""
    failures = [episode(seed, 0, [0.0], False) for seed in range(20_000)]
    makers: dict[str, Any] = {"num_seeds": practice_jobs, "lookahead_episodes": lookahead_jobs}
    makers["dynamic_sampling"] = lambda run, cycle: dynamic_sampling_jobs(run, cycle, failures)
    most = {"num_seeds": 20_000, "lookahead_episodes": 15_000, "dynamic_sampling": 9_000}
    run, seen = Run(tmp_path / "run", parse({"seed": 3, "collect": {**most, "episodes_per_seed": 1}}, "test")).begin(), []
    for key, make in makers.items():
        for number in (1, 2):
            seen += [job.seed for job in make(run, run.cycle(number))]
        with pytest.raises(ValueError, match=f"^cycle 3: a run has {PRACTICE_SEEDS[key]} practice seeds for collect.{key}, {2 * most[key]} were for"):
            make(run, run.cycle(3))
    assert len(seen) == len({*seen}) == 2 * sum(most.values()), "no kind meets another one"
    assert {seed // 100_000 for seed in seen} == {3}
