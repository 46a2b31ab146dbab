"""What imitation of demonstrations makes of the base model, by how many, how disturbed, how long and how fast.

    python benchmarks/warm_start.py run turn "60 0.1 100 1.5e-4" "60 0.1 300 1.5e-4"   # demonstrations, noise, steps, peak learning rate
    python benchmarks/warm_start.py table                                            # rewrite the table in docs/results.md

Each recipe begins from the base model of configs/TASK.yaml, in the notation of that config. Success is greedy, on practice seeds that no run uses:
nothing here is tuned on gate or test seeds. One run of each; rows go to docs/results/warm-start.json.
"""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rollout import RESULTS, fill, machine

from agent.config.read import override, read
from agent.demonstrate.stage import demonstrate
from agent.evaluate.statistics import score
from agent.learning.trainer import tune
from agent.records import SEEDS, Job, Lessons, Rate, decisions
from agent.rollout.experts import everyone
from agent.rollout.rollout import collect
from agent.rollout.session import Session
from agent.run.files import write_text
from agent.run.folder import Run
from agent.tune.stage import recipe

ROOT = Path(__file__).resolve().parent.parent
OUT, PAGE = RESULTS / "warm-start.json", ROOT / "docs" / "results.md"
MARKS = "<!-- imitation: begin (python benchmarks/warm_start.py table) -->", "<!-- imitation: end -->"
FIRST = SEEDS["practice"] + 70_000  # between what practice and look-ahead episodes use


def run(task: tyro.conf.Positional[str], recipes: tyro.conf.Positional[tuple[str, ...]], seeds: int = 150) -> None:
    """Imitate by each recipe, from the base model, and append the rows.

    Args:
        task: name of a file in configs/.
        recipes: demonstrations, noise, steps and peak learning rate, in one word each.
        seeds: of the evaluation.
    """
    torch.set_num_threads(1)
    config = override(read(ROOT / "configs" / f"{task}.yaml"), ["--threads", "1", "--processes", "1", "--track.mode", "off"])
    with tempfile.TemporaryDirectory() as folder:
        whole = Session(Run(Path(folder), config))
        policy, base, made = whole.policy, whole.policy.weights(), json.loads(OUT.read_text())["rows"] if OUT.exists() else []

        def passed() -> dict[str, Any]:
            episodes = list(collect(policy, whole.workers, [Job(FIRST + i) for i in range(seeds)]))
            return {"success": asdict(score("", episodes).success), "taken": sum(map(len, episodes))}

        made.append({"task": task, "recipe": "", **passed()})
        for each in recipes:
            count, noise, steps, rate = each.split()
            policy.put(base)
            jobs = [Job(SEEDS["demonstrations"] + i, 0, (0, 0, i)) for i in range(int(count))]
            shown = demonstrate(whole.workers, policy.codec, jobs, float(noise), everyone(config.envs, config.demonstrate.expert))
            lessons = Lessons(tuple(decision for episode in shown if episode.success for decision in decisions(episode)))
            how = config.demonstrate.model_copy(update={"batch": 64, "lr": float(rate)})
            rows = tune(policy, lessons, recipe(how), seed=(0, 0), steps=int(steps))
            nats = [rows[0]["imitation"], float(np.mean([row["imitation"] for row in rows[-5:]]))]
            made.append({"task": task, "recipe": each, "decisions": len(lessons.demonstrations), "nats": nats, **passed()})
            write_text(OUT, json.dumps({"machine": machine(), "rows": made}, indent=1) + "\n")
            print(made[-1], flush=True)


def table() -> None:
    """Rewrite the table in docs/results.md."""
    head = "| task | demonstrations | noise | steps | peak rate | decisions imitated | nats a token, first and last | success | decisions taken |"
    lines = [head, "|---" * 9 + "|"]
    for row in json.loads(OUT.read_text())["rows"]:
        given = row["recipe"].split() or ["base model as it is", "", "", ""]
        nats = f"{row['nats'][0]:.1f}, {row['nats'][1]:.2f}" if "nats" in row else ""
        lines.append(f"| {' | '.join([row['task'], *given, str(row.get('decisions', '')), nats, str(Rate(**row['success'])), str(row['taken'])])} |")
    fill(PAGE, MARKS, "\n".join(lines))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table})
