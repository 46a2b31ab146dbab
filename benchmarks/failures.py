"""What failed demonstrations are worth: a warm start from a dataset whose failures are left out, make preference pairs, or are imitated as bad ones.

    python benchmarks/failures.py run slide     # docs/results/failures.json
    python benchmarks/failures.py table         # rewrites the table in docs/results.md

The dataset is made here: a policy cloned from the config's demonstrations plays several sampled episodes a seed, some of which fail.
Each way of using it trains the base model of configs/TASK.yaml, as stage `demonstrate` of a run does. Success is that of greedy episodes on practice
seeds that no run uses, the same for all ways and training seeds.
"""

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from rollout import RESULTS, fill, machine
from warm_start import FIRST, PAGE, ROOT

from agent.config.read import override, read
from agent.curate.warm_start import warm_start_data
from agent.demonstrate.stage import record
from agent.evaluate.statistics import Comparison, compare, score
from agent.learning.trainer import train
from agent.records import SEEDS, Episode, Job, Rate, Scorecard, TrainingData, decisions
from agent.rollout.experts import everyone
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run.files import write_text
from agent.run.folder import Run
from agent.tune.stage import recipe

OUT = RESULTS / "failures.json"
MARKS = "<!-- failures: begin (python benchmarks/failures.py table) -->", "<!-- failures: end -->"
WAYS = {  # what becomes of a failure, by keys of the config
    "left out": [],
    "pairs with successes of the same seed (default)": [],
    "left out; the prompt ends in the word good": ["--policy.prompt", "{instruction} {advantage}"],
    "imitated as a bad one: the prompt ends in good or bad": ["--policy.prompt", "{instruction} {advantage}", "--curate.conditioned_weight", "1"],
}


def run(task: tyro.conf.Positional[str], starts: int = 24, episodes: int = 8, trainings: int = 3, seeds: int = 200) -> None:
    """Make the dataset, train in each way, and write the rows.

    Args:
        task: name of a file in configs/.
        starts: seeds of the dataset.
        episodes: of each seed.
        trainings: of each way.
        seeds: of the evaluation.
    """
    torch.set_num_threads(1)
    dataset: list[Episode] = []
    cards = {way: Scorecard(way, {}) for way in WAYS}
    for way, keys in WAYS.items():
        config = override(read(ROOT / "configs" / f"{task}.yaml"), ["--threads", "1", "--processes", "1", "--track.mode", "off", *keys])
        with tempfile.TemporaryDirectory() as folder:
            session = Session(Run(Path(folder), config))
            policy, environments, shown = session.policy, session.environments, config.demonstrate
            base = policy.weights()
            if not dataset:
                jobs = [Job(SEEDS["demonstrations"] + i, 0, (0, 0, i)) for i in range(shown.episodes)]
                experts = record(environments, policy.codec, jobs, shown.noise, everyone(config.envs, shown.expert))
                cloned = TrainingData(tuple(decision for episode in experts if episode.success for decision in decisions(episode)))
                train(policy, cloned, recipe(shown), seed=(0, 0), steps=shown.steps)
                jobs = [Job(FIRST + 1000 + i, j, (0, 0, i, j)) for i in range(starts) for j in range(episodes)]
                dataset = [replace(episode, policy="oracle") for episode in rollout(policy, environments, jobs)]
                print(f"{sum(episode.success for episode in dataset)} of {len(dataset)} episodes succeed", flush=True)
            used = [episode for episode in dataset if episode.success or not way.startswith("left out")]
            for number in range(trainings):
                policy.put(base)
                training_data = warm_start_data(used, config.curate, np.random.default_rng(number))
                settings = recipe(shown, config.tune if training_data.pairs else None)
                train(policy, training_data, settings, seed=(number, 0), steps=shown.steps)
                played = score(way, rollout(policy, environments, [Job(FIRST + i) for i in range(seeds)])).outcomes
                cards[way] = cards[way].and_also(Scorecard(way, {f"{number}/{key}": passed for key, passed in played.items()}))
                print(f"{way}, training {number}: {np.mean(list(played.values())):.3f}, {len(training_data.pairs)} pairs", flush=True)
    rows, without = [], cards["left out"]
    for way, card in cards.items():
        each = [float(np.mean([passed for key, passed in card.outcomes.items() if key.startswith(f"{i}/")])) for i in range(trainings)]
        rows.append({"way": way, "success": asdict(card.success), "each": each, "gain": None if card is without else asdict(compare(card, without))})
    successes = sum(episode.success for episode in dataset)
    content = {"task": task, "episodes": len(dataset), "successes": successes, "rows": rows, "machine": machine()}
    write_text(OUT, json.dumps(content, indent=1) + "\n")


def table() -> None:
    """Rewrite the table in docs/results.md."""
    content = json.loads(OUT.read_text())
    lines = ['| failures in the dataset | success | each training | against "left out" |', "|---|---|---|---|"]
    for row in content["rows"]:
        each, gain = ", ".join(f"{100 * rate:.1f}" for rate in row["each"]), "" if row["gain"] is None else str(Comparison(**row["gain"]))
        lines.append(f"| {row['way']} | {Rate(**row['success'])} | {each} | {gain} |")
    fill(PAGE, MARKS, "\n".join(lines))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table})
