"""A finished run's better start (base model or warm start) and its last champion on 400 seeds that no evaluation ever had.

For runs whose recipe was settled by others that had been evaluated on the test seeds.

    python benchmarks/unseen.py run runs/lift-0   # writes docs/results/unseen/<task>-<seed>.json
    python benchmarks/unseen.py table             # rewrite the table in docs/results.md from these

The run's folder must hold its weights.
"""

import json
from dataclasses import asdict
from pathlib import Path

import tyro
from rollout import RESULTS, fill, machine

from agent.evaluate.statistics import compare, score
from agent.learning.training import base_model
from agent.records import SEEDS, Job, Scorecard
from agent.rollout.rollout import collect
from agent.rollout.session import Session
from agent.run.files import write_text
from agent.run.folder import Run

OUT, PAGE = RESULTS / "unseen", RESULTS.parent / "results.md"
MARKS = "<!-- unseen: begin (python benchmarks/unseen.py table) -->", "<!-- unseen: end -->"
FIRST = SEEDS["final"] + 5_000_000


def run(folder: tyro.conf.Positional[Path], seeds: int = 400) -> None:
    """Evaluate both, and write the result.

    Args:
        folder: of the finished run.
        seeds: of the exam.
    """
    whole = Run(folder)
    session = Session(whole)
    summary = json.loads((folder / "summary.json").read_text())
    players = {player.name: player for player in (whole.player(file.parent) for file in sorted(folder.glob("*/tune.json")))}
    base, warm = base_model(session), whole.player(folder / "start")
    players |= {base.name: base}
    before = base.name if summary.get("before_is") == "base" else warm.name
    jobs = [Job(FIRST + i) for i in range(seeds)]
    cards: list[Scorecard] = []
    for name in (before, summary["policy"]):
        cards.append(score(name, collect(session.play(players[name]), session.workers, jobs)))
        print(cards[-1].success, flush=True)
    comparison = compare(cards[1], cards[0])
    content = {
        "task": summary["task"],
        "seed": summary["seed"],
        "policy": summary["policy"],
        "before": asdict(cards[0].success),
        "after": asdict(cards[1].success),
        "gain": str(comparison),
        "final": {"before": summary["before"]["rate"], "after": summary["after"]["rate"]},
        "machine": machine(),
    }
    task = summary["task"].split("/")[-1].split("-")[0].lower()
    write_text(OUT / f"{task}-{summary['seed']}.json", json.dumps(content, indent=1) + "\n")


def table() -> None:
    """Rewrite the table in docs/results.md."""
    lines = ["| task | seed | the final exam | on seeds that no exam had | gain there |", "|---|---|---|---|---|"]
    for each in (json.loads(file.read_text()) for file in sorted(OUT.glob("*.json"))):
        passed = [f"{100 * side['rate']:.1f} % [{100 * side['low']:.1f}, {100 * side['high']:.1f}]" for side in (each["before"], each["after"])]
        final = [f"{100 * each['final'][side]:.1f}" for side in ("before", "after")]
        lines.append(f"| {each['task']} | {each['seed']} | {final[0]} -> {final[1]} % | {passed[0]} -> {passed[1]} | {each['gain']} |")
    fill(PAGE, MARKS, "\n".join(lines))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table})
