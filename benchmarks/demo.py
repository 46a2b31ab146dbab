"""Processor seconds of the demo's stages in two checkouts, in turn: a shortened run of configs/slide.yaml.

    git clone . ../before && git -C ../before checkout COMMIT
    python benchmarks/demo.py run ../before     # docs/results/demo.json; about two processor minutes a repeat
    python benchmarks/demo.py table

Each run is a process of its own, with rollout processes as in the demo. The processor time of all of them counts, not the wall time, for the
machine may be busy. torch has one thread: a second one spins while it waits, in code that does not tell it to sleep, and longer on a busy machine.
The shortened run has the first two cycles: one with look-ahead, and one with policy gradients alone.
The start of processes, videos and the report do not count. An evaluation has 64 seeds here and 200 or 400 in the demo: batches are less full here,
which is to the advantage of code that does not fill them up.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "results" / "demo.json"
# Functions of `agent.improve` that train or act.
STAGES = ("clone_behaviour", "gate_warm_start", "collect", "tune", "gate", "test_evaluation")
SHORT: dict[str, Any] = {
    "cycles": 2,
    "max_minutes": 600,
    "threads": 1,
    "demonstrate": {"episodes": 20, "steps": 20},
    "collect": {"num_seeds": 6, "lookahead_episodes": 16},
    "curate": {"lookahead_pairs": 48},
    "evaluate": {"gate_episodes": 64, "test_episodes": 64, "extra_rounds": 0},
    "track": {"mode": "off", "videos": False},
}
PHASE = {"num_seeds": 16}  # of the second cycle


def shortened(processes: int) -> dict[str, Any]:
    """Return the content of a shortened configs/slide.yaml."""
    config = yaml.safe_load((ROOT / "configs" / "slide.yaml").read_text())
    for key, value in SHORT.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    config["phases"][0]["collect"] |= PHASE
    return config | {"processes": processes}


def side(config: tyro.conf.Positional[Path], folder: tyro.conf.Positional[Path]) -> None:
    """Make the run with the code that Python finds, and print the processor seconds of its stages and its results; `run` calls this.

    Args:
        config: YAML of the run.
        folder: of the run.
    """
    import agent.improve as loop
    from agent import cli

    clock: dict[str, float] = defaultdict(float)
    for name in STAGES:
        setattr(loop, name, timed(getattr(loop, name), name, clock))
    loop.gate_warm_start = after_start(loop.gate_warm_start)
    sys.argv = ["etude", "improve", str(config), str(folder)]
    cli.main()
    summary = json.loads((folder / "summary.json").read_text())
    rates = {name: summary[name]["rate"] for name in ("base", "warm_start", "after")}
    print(json.dumps({"cpu_seconds": clock, "success": rates}))


def after_start(function: Callable) -> Callable:
    """Return `function` of a session and the base model, which now begins when the rollout processes have begun."""
    from agent.records import Job

    def wrapped(session: Any, base: Any, *rest: Any) -> Any:
        list(session.rollout(base, [Job(seed) for seed in range(session.config.processes)]))
        return function(session, base, *rest)

    return wrapped


def timed(function: Callable, name: str, clock: dict[str, float]) -> Callable:
    """Return `function`, which now adds the processor seconds of each call, of this process and its children, to `clock[name]`."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        began = processor_seconds()
        result = function(*args, **kwargs)
        clock[name] += processor_seconds() - began
        return result

    return wrapped


def processor_seconds() -> float:
    """Return the processor time that this process and its living children have taken so far."""
    import psutil

    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return time.process_time() + sum(each.user + each.system for each in times)


def run(
    before: tyro.conf.Positional[Path], repeats: int = 3, processes: int = 2, out: Annotated[Path, tyro.conf.arg(help="medians and all runs")] = OUT
) -> None:
    """Measure both checkouts in turn, write the JSON file and print the table.

    Args:
        before: the other checkout.
        repeats: runs of each.
        processes: that make the episodes, as in the demo.
        out: medians and all runs.
    """
    from rollout import machine

    from agent.run.files import write_text

    sides = {"before": before.resolve(), "now": ROOT}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "short.yaml"
        config.write_text(yaml.safe_dump(shortened(processes)))
        for repeat in range(repeats):
            for name, checkout in sides.items():
                command = [sys.executable, __file__, "side", str(config), f"{folder}/{name}-{repeat}"]
                environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
                done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"{checkout}: {done.stderr.strip()[-2000:]}")
                runs[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
    commit = {name: git(checkout, "rev-parse", "--short", "HEAD") for name, checkout in sides.items()}
    content = {"commits": commit, "short": SHORT | {"phase": PHASE, "processes": processes}, "runs": runs, "machine": machine()}
    write_text(out, json.dumps(content, indent=1) + "\n")
    table(out)


def git(folder: Path, *words: str) -> str:
    """Return what a git command prints in a folder."""
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True).stdout.strip()


def table(out: Path = OUT) -> None:
    """Print the medians of a JSON file, and their ratios.

    Args:
        out: as `run` writes it.
    """
    from rich.console import Console
    from rich.table import Table

    content, host = json.loads(out.read_text()), json.loads(out.read_text())["machine"]
    runs, console = content["runs"], Console(highlight=False)
    medians = {name: {stage: statistics.median(each["cpu_seconds"][stage] for each in side) for stage in STAGES} for name, side in runs.items()}
    rows = Table("stage", "before", "now", "times as fast", caption=f"{host['cpu']}, {host['cores']} cores, {host['renderer']}")
    rows.title = f"Processor seconds, {content['commits']['before']} and {content['commits']['now']}"
    for stage in (*STAGES, "all"):
        pair = [sum(side.values()) if stage == "all" else side[stage] for side in (medians["before"], medians["now"])]
        rows.add_row(stage, *(f"{value:.1f}" for value in pair), f"{pair[0] / pair[1]:.2f}")
    console.print(rows)
    for name, side in runs.items():
        console.print(f"{name}: success {side[0]['success']}")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table, "side": side})
