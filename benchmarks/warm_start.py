"""Behaviour cloning of demonstrations from the base model: success by number of demonstrations, noise, steps and learning rate.

    python benchmarks/warm_start.py run turn "60 0.1 100 1.5e-4" "60 0.1 300 1.5e-4"   # demonstrations, noise, steps, peak learning rate
    python benchmarks/warm_start.py table                                            # rewrites the table in docs/results.md

Each recipe begins from the base model of configs/TASK.yaml, and actions are written as in that config. Success is that of greedy episodes.
Their seeds are practice seeds that no run uses, so nothing is tuned here on gate or test seeds.
There is one training for each recipe. The rows go to docs/results/warm-start.json.
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
from agent.demonstrate.stage import record
from agent.evaluate.statistics import score
from agent.learning.trainer import train
from agent.records import SEEDS, Job, Rate, TrainingData, decisions
from agent.rollout.experts import everyone
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run.files import write_text
from agent.run.folder import Run
from agent.tune.stage import recipe

ROOT = Path(__file__).resolve().parent.parent
OUT, PAGE = RESULTS / "warm-start.json", ROOT / "docs" / "results.md"
MARKS = "<!-- imitation: begin (python benchmarks/warm_start.py table) -->", "<!-- imitation: end -->"
FIRST = SEEDS["practice"] + 70_000  # no run's sampled or look-ahead episodes use these seeds


def run(task: tyro.conf.Positional[str], recipes: tyro.conf.Positional[tuple[str, ...]], seeds: int = 150) -> None:
    """Train by each recipe from the base model, and append the rows.

    Args:
        task: name of a file in configs/.
        recipes: four numbers each, in one word: demonstrations, noise, gradient steps, peak learning rate.
        seeds: number of evaluation seeds.
    """
    torch.set_num_threads(1)
    config = override(read(ROOT / "configs" / f"{task}.yaml"), ["--threads", "1", "--processes", "1", "--track.mode", "off"])
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Run(Path(folder), config))
        policy, environments = session.policy, session.environments
        base = policy.weights()
        rows = json.loads(OUT.read_text())["rows"] if OUT.exists() else []

        def evaluated() -> dict[str, Any]:
            episodes = list(rollout(policy, environments, [Job(FIRST + i) for i in range(seeds)]))
            return {"success": asdict(score("", episodes).success), "taken": sum(map(len, episodes))}

        rows.append({"task": task, "recipe": "", **evaluated()})
        for numbers in recipes:
            count, noise, steps, learning_rate = numbers.split()
            policy.put(base)
            jobs = [Job(SEEDS["demonstrations"] + i, 0, (0, 0, i)) for i in range(int(count))]
            episodes = record(environments, policy.codec, jobs, float(noise), everyone(config.envs, config.demonstrate.expert))
            training_data = TrainingData(tuple(decision for episode in episodes if episode.success for decision in decisions(episode)))
            settings = recipe(config.demonstrate.model_copy(update={"learning_rate": float(learning_rate)}))
            figures = train(policy, training_data, settings, seed=(0, 0), steps=int(steps))
            losses = [step["bc_loss"] for step in figures]
            nats = [losses[0], float(np.mean(losses[-5:]))]
            rows.append({"task": task, "recipe": numbers, "decisions": len(training_data.demonstrations), "nats": nats, **evaluated()})
            write_text(OUT, json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
            print(rows[-1], flush=True)


def table() -> None:
    """Rewrite the table in docs/results.md."""
    heads = ("task", "demonstrations", "noise", "steps", "peak learning rate", "decisions cloned", "BC loss, nats a token, first and last step")
    heads = (*heads, "success", "decisions in the evaluation")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in json.loads(OUT.read_text())["rows"]:
        recipe_cells = row["recipe"].split() or ["none: base model", "", "", ""]
        nats = f"{row['nats'][0]:.1f}, {row['nats'][1]:.2f}" if "nats" in row else ""
        cells = [row["task"], *recipe_cells, str(row.get("decisions", "")), nats, str(Rate(**row["success"])), str(row["taken"])]
        lines.append(f"| {' | '.join(cells)} |")
    fill(PAGE, MARKS, "\n".join(lines))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table})
