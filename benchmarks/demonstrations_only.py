"""What the same time buys without self-improvement: the warm-started policy goes on imitating its demonstrations.

    python benchmarks/demonstrations_only.py runs/reach-0

Takes a finished run's first champion and its demonstrations, imitates them for as long as the run spent after its warm start, and sits the
final exam. Writes docs/results/demonstrations-only-<task>-<seed>.json.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from results import RESULTS, machine

from agent.collect import Job, collect
from agent.config import TuneConfig
from agent.curate import decisions
from agent.evaluate import compare, score
from agent.records import Lessons, Scorecard
from agent.run import SEEDS, Run, load
from agent.tune import tune


def go_on_imitating(run: Run, seconds: float) -> int:
    """Imitate the run's demonstrations in rounds of the warm start's recipe until the time is up; return the gradient steps."""
    policy, config = run.play(run.folder / "start" / "policy.safetensors"), run.config.demonstrate
    lessons = Lessons(tuple(d for episode in run.episodes(run.folder / "start") if episode.success for d in decisions(episode)))
    recipe = TuneConfig(policy_gradient=0, preference=0, imitation=1, batch=config.batch, lr=config.lr)
    began, rounds = time.time(), 0
    while time.time() - began < seconds:
        rounds += 1
        tune(policy, lessons, recipe, seed=(run.config.seed, rounds), steps=config.steps)
        print(f"round {rounds}, {time.time() - began:.0f} of {seconds:.0f} s", flush=True)
    return rounds * config.steps


def main(folder: Path) -> None:
    """Train, sit the exam, write the result."""
    run = Run(folder)
    summary = json.loads((folder / "summary.json").read_text())
    spent = summary["seconds"]["total"] - sum(load(folder / "start" / f"{stage}.json")["seconds"] for stage in ("demonstrate", "tune"))
    steps = go_on_imitating(run, spent)
    first = load(folder / "start" / "tune.json")["policy"]
    before = Scorecard(first, load(folder / "exams" / f"final-{first}.json")["outcomes"])
    jobs = [Job(SEEDS["final"] + i) for i in range(run.config.evaluate.final_episodes)]
    after = score("demonstrations_only", collect(run.policy, run.workers, jobs))
    comparison = compare(after, before)
    task = run.config.env.id.split("/")[-1].split("-")[0].lower()
    content = {
        "method": "demonstrations_only",
        "task": run.config.env.id,
        "seed": run.config.seed,
        "before": asdict(before.success),
        "after": asdict(after.success),
        "gain_low": comparison.low,
        "gain_high": comparison.high,
        "p_value": comparison.p_value,
        "steps": steps,
        "seconds": {"total": summary["seconds"]["total"]},
        "machine": machine(),
    }
    (RESULTS / f"demonstrations-only-{task}-{run.config.seed}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(before.success, "->", after.success, comparison)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
