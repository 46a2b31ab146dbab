"""Behaviour cloning alone, for as long as a run of etude took: the warm start is trained further on its own demonstrations.

    python benchmarks/demonstrations_only.py runs/reach-0 [--threads 1]

Begins from the warm start of a finished run, whether the gate rolled it back or not. Training lasts as long as the run did after its warm start.
It goes in rounds of the warm start's recipe. After each round the policy is evaluated on the gate seeds of the run's first cycle.
The best round is evaluated on the test seeds. Without this early stopping, 40 demonstrations are memorised.
Writes docs/results/demonstrations-only-<task>-<seed>.json.
"""

import json
import re
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import tyro
from rollout import RESULTS, machine

from agent.evaluate.statistics import compare, score
from agent.learning.trainer import train
from agent.records import SEEDS, Job, Scorecard, TrainingData, decisions
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run.files import load, write_text
from agent.run.folder import Run
from agent.run.layout import seconds_before_practice
from agent.tune.stage import recipe


def train_in_rounds(session: Session, seconds: float) -> tuple[list[float], int]:
    """Train on the run's demonstrations in rounds until the time is up, then restore the weights of the best round.

    Args:
        session: of the finished run.
        seconds: of processor time for each core of the run; the last round is finished.

    Returns:
        The success rate on the gate seeds before the first round and after each one, and the index of the best.
    """
    run = session.run
    policy, config = session.load_checkpoint(run.checkpoint(run.folder / "start")), run.config.demonstrate
    training_data = TrainingData(tuple(d for episode in run.episodes(run.folder / "start") if episode.success for d in decisions(episode)))
    jobs = [Job(SEEDS["gate"] + i) for i in range(run.config.evaluate.gate_episodes)]
    rates, weights = [np.mean([episode.success for episode in rollout(policy, session.environments, jobs)])], [policy.weights()]
    # Processor time equals wall-clock time where nothing else runs, and does not grow where something does.
    clock = lambda: time.process_time() / max(run.config.threads, run.config.processes)  # noqa: E731
    began = clock()
    while clock() - began < seconds:
        train(policy, training_data, recipe(config), seed=(run.config.seed, len(rates)), steps=config.steps)
        rates.append(np.mean([episode.success for episode in rollout(policy, session.environments, jobs)]))
        weights.append(policy.weights())
        print(f"round {len(rates) - 1}, gate seeds {100 * rates[-1]:.1f} %, {clock() - began:.0f} of {seconds:.0f} s", flush=True)
    best = int(np.argmax(rates))
    policy.load(weights[best])
    return [float(rate) for rate in rates], best


def main(folder: tyro.conf.Positional[Path], threads: int = 0, minutes: float = 0.0, out: Path | None = None) -> None:
    """Train, evaluate the best round on the test seeds, and write the result.

    Args:
        folder: of the finished run.
        threads: torch threads; 0: as many as the run had. Time is processor time, so with fewer threads the same time lasts longer.
        minutes: of training; 0: as long as the run took after its warm start.
        out: JSON file; by default it is named after task and seed.
    """
    run = Run(folder)
    session = Session(run)
    _ = session.policy  # loading it sets the run's own number of threads, which the next line overrides
    torch.set_num_threads(threads or run.config.threads)
    summary = json.loads((folder / "summary.json").read_text())
    begun = seconds_before_practice(folder)
    seconds = 60 * minutes or summary["seconds"]["total"] - begun
    rates, best = train_in_rounds(session, seconds)
    warm_start = load(folder / "start" / "tune.json")["policy"]
    before = Scorecard(warm_start, load(folder / "evaluate" / f"test-{warm_start}.json")["outcomes"])
    jobs = [Job(SEEDS["test"] + i) for i in range(run.config.evaluate.test_episodes)]
    after = score("demonstrations_only", rollout(session.policy, session.environments, jobs))
    comparison = compare(after, before)
    task = re.sub(r"\W+", "-", run.config.task.removeprefix("etude/").removesuffix("-v0")).lower()
    content = {
        "method": "demonstrations_only",
        "run_of": time.strftime("%Y-%m-%d"),
        "task": run.config.task,
        "base_weights": summary.get("base_weights", summary.get("base")),
        "seed": run.config.seed,
        "before": asdict(before.success),
        "after": asdict(after.success),
        "gain_low": comparison.low,
        "gain_high": comparison.high,
        "p_value": comparison.p_value,
        "gate_rates": rates,
        "best_round": best,
        "outcomes": "".join("01"[passed] for passed in after.outcomes.values()),
        "seconds": {"total": round(begun + seconds, 1), "imitation": round(seconds, 1)},
        "machine": machine(),
    }
    write_text(out or RESULTS / f"demonstrations-only-{task}-{run.config.seed}.json", json.dumps(content, indent=1) + "\n")
    print(before.success, "->", after.success, comparison)


if __name__ == "__main__":
    tyro.cli(main)
