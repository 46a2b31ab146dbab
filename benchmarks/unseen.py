"""The better start (base model or warm start) and the last champion of a finished run, on 400 seeds that no evaluation had.

This is for runs whose recipe was chosen after earlier runs had been evaluated on the test seeds.

    python benchmarks/unseen.py run runs/lift-0   # writes docs/results/unseen/<task>-<seed>.json
    python benchmarks/unseen.py table             # rewrites the table in docs/results.md from these files

The run's folder must still have its weights.
"""

import json
from dataclasses import asdict
from pathlib import Path

import tyro
from rollout import RESULTS, fill, machine

from agent.evaluate.statistics import compare, score
from agent.learning.training import base_model
from agent.records import SEEDS, Job, Scorecard
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run.files import write_text
from agent.run.folder import Run

OUT, PAGE = RESULTS / "unseen", RESULTS.parent / "results.md"
MARKS = "<!-- unseen: begin (python benchmarks/unseen.py table) -->", "<!-- unseen: end -->"
FIRST = SEEDS["test"] + 5_000_000  # within the range of the test seeds, beyond those of any run


def run(folder: tyro.conf.Positional[Path], seeds: int = 400) -> None:
    """Evaluate both policies, and write the result.

    Args:
        folder: of the finished run.
        seeds: number of seeds.
    """
    finished = Run(folder)
    session = Session(finished)
    summary = json.loads((folder / "summary.json").read_text())
    trained = [finished.checkpoint(file.parent) for file in sorted(folder.glob("*/tune.json"))]
    base, warm_start = base_model(session), finished.checkpoint(folder / "start")
    checkpoints = {checkpoint.name: checkpoint for checkpoint in (*trained, base)}
    better = base.name if summary.get("before_is") == "base" else warm_start.name
    jobs = [Job(FIRST + i) for i in range(seeds)]
    cards: list[Scorecard] = []
    for name in (better, summary["policy"]):
        cards.append(score(name, rollout(session.load_checkpoint(checkpoints[name]), session.environments, jobs)))
        print(cards[-1].success, flush=True)
    before, after = cards
    content = {
        "task": summary["task"],
        "seed": summary["seed"],
        "policy": summary["policy"],
        "before": asdict(before.success),
        "after": asdict(after.success),
        "gain": str(compare(after, before)),
        "test": {"before": summary["before"]["rate"], "after": summary["after"]["rate"]},
        "machine": machine(),
    }
    task = summary["task"].split("/")[-1].split("-")[0].lower()
    write_text(OUT / f"{task}-{summary['seed']}.json", json.dumps(content, indent=1) + "\n")


def table() -> None:
    """Rewrite the table in docs/results.md."""
    lines = ["| task | seed | test evaluation | seeds that no evaluation had | gain on these |", "|---|---|---|---|---|"]
    for content in (json.loads(file.read_text()) for file in sorted(OUT.glob("*.json"))):
        sides = "before", "after"
        test = " -> ".join(f"{100 * content['test'][side]:.1f}" for side in sides)
        unseen = " -> ".join(f"{100 * rate['rate']:.1f} % [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]" for rate in map(content.get, sides))
        lines.append(f"| {content['task']} | {content['seed']} | {test} % | {unseen} | {content['gain']} |")
    fill(PAGE, MARKS, "\n".join(lines))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table})
