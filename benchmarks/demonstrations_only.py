"""What the same time buys without self-improvement: the warm-started policy goes on imitating its demonstrations.

    python benchmarks/demonstrations_only.py runs/reach-0 [--threads 1]

Takes a finished run's warm start (rolled back or not) and its demonstrations, and imitates them for as long as the run spent after its
warm start. Sits the gate exam
(the seeds of a run's first cycle) after every round of the warm start's recipe, and takes the best of all rounds to the final exam: an early stop,
without which 40 demonstrations are memorised. Writes docs/results/demonstrations-only-<task>-<seed>.json.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import tyro
from results import RESULTS, machine

from agent.evaluate.statistics import compare, score
from agent.learning.trainer import tune
from agent.records import SEEDS, Job, Lessons, Scorecard, decisions
from agent.rollout.rollout import collect
from agent.rollout.session import Session
from agent.run.files import load, write_text
from agent.run.folder import Run
from agent.run.layout import seconds_before_practice
from agent.tune.stage import recipe


def go_on_imitating(session: Session, seconds: float) -> tuple[list[float], int]:
    """Imitate the run's demonstrations in rounds until the time is up; the policy is left as it was after its best round.

    Returns:
        The success rate on the gate seeds before the first round and after each one, and the number of the best.
    """
    run = session.run
    policy, config = session.play(run.player(run.folder / "start")), run.config.demonstrate
    lessons = Lessons(tuple(d for episode in run.episodes(run.folder / "start") if episode.success for d in decisions(episode)))
    jobs = [Job(SEEDS["gate"] + i) for i in range(run.config.evaluate.episodes)]
    rates, weights = [np.mean([episode.success for episode in collect(policy, session.workers, jobs)])], [policy.weights()]
    clock = lambda: time.process_time() / max(run.config.threads, run.config.processes)  # noqa: E731 - as the wall clock where nothing else runs
    began = clock()
    while clock() - began < seconds:
        tune(policy, lessons, recipe(config), seed=(run.config.seed, len(rates)), steps=config.steps)
        rates.append(np.mean([episode.success for episode in collect(policy, session.workers, jobs)]))
        weights.append(policy.weights())
        print(f"round {len(rates) - 1}, gate {100 * rates[-1]:.1f} %, {clock() - began:.0f} of {seconds:.0f} s", flush=True)
    best = int(np.argmax(rates))
    policy.load(weights[best])
    return [float(rate) for rate in rates], best


def main(folder: tyro.conf.Positional[Path], threads: int = 0, minutes: float = 0.0, out: Path | None = None) -> None:
    """Train, sit the exam, write the result.

    Args:
        folder: of the finished run.
        threads: of torch; 0: as many as the run had. Time is processor time, so with fewer threads the same time takes longer.
        minutes: to imitate for; 0: as long as the run spent after its warm start.
        out: JSON file; by default named after task and seed.
    """
    run = Run(folder)
    session = Session(run)
    policy = session.policy  # which sets the run's own number of threads
    torch.set_num_threads(threads or run.config.threads)
    summary = json.loads((folder / "summary.json").read_text())
    spent = 60 * minutes or summary["seconds"]["total"] - seconds_before_practice(folder)
    rates, best = go_on_imitating(session, spent)
    first = load(folder / "start" / "tune.json")["policy"]
    before = Scorecard(first, load(folder / "exams" / f"final-{first}.json")["outcomes"])
    jobs = [Job(SEEDS["final"] + i) for i in range(run.config.evaluate.final_episodes)]
    after = score("demonstrations_only", collect(policy, session.workers, jobs))
    comparison = compare(after, before)
    task = run.config.task.split("/")[-1].split("-")[0].lower()
    content = {
        "method": "demonstrations_only",
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
        "seconds": {"total": summary["seconds"]["total"], "imitation": round(spent, 1)},
        "machine": machine(),
    }
    write_text(out or RESULTS / f"demonstrations-only-{task}-{run.config.seed}.json", json.dumps(content, indent=1) + "\n")
    print(before.success, "->", after.success, comparison)


if __name__ == "__main__":
    tyro.cli(main)
