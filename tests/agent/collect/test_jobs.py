"""What a cycle attempts."""

from pathlib import Path

from agent.collect.jobs import lookahead_jobs, practice_jobs
from agent.config.read import parse
from agent.run.folder import Run


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
