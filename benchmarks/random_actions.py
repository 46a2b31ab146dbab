"""How often random actions succeed on the test seeds: the row that could explain a gain away.

    python benchmarks/random_actions.py configs/slide.yaml configs/push.yaml          # docs/results/random.json
    .venv-envs/bin/python benchmarks/random_actions.py configs/envs/robosuite-lift.yaml

Actions are drawn evenly from the policy's action box, anew at each decision, and held as long as the policy's. No frame is drawn.
`python benchmarks/results.py table` puts the rates into the README's tables.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tyro
from rollout import RESULTS, machine

from agent.config.read import read
from agent.records import SEEDS, Rate
from agent.run.files import write_text
from envs.adapt import Adapter

OUT = RESULTS / "random.json"


def passes(adapter: Adapter, seed: int) -> bool:
    """Return whether an episode of random actions succeeds."""
    adapter.reset(seed, look=False)
    # Not the seed alone: an environment draws its goal from the same numbers, and random actions would point to it.
    rng = np.random.default_rng([seed, 1])
    while True:
        outcome = adapter.step(adapter.actions.sample(rng)[None], look=False)
        if outcome.success or outcome.terminated or outcome.truncated:
            return outcome.success


def main(files: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Play each config's first environment on as many test seeds as its runs, and write the rates; an earlier rate is replaced."""
    for file in files:
        config = read(file)
        adapter, count = Adapter(config.envs[0]), config.evaluate.test_episodes
        rate = Rate.of(sum(passes(adapter, SEEDS["test"] + i) for i in range(count)), count)
        adapter.close()
        content = json.loads(OUT.read_text()) if OUT.exists() else {}
        write_text(OUT, json.dumps({**content, config.envs[0].title: {**asdict(rate), "machine": machine()}}, indent=1) + "\n")
        print(f"{file.stem}: {rate}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
