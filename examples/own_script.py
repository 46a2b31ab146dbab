"""A training script of your own with W&B: a policy is improved with several seeds, and evaluated on environment seeds that no run has used.

    python examples/own_script.py                                        # WANDB_MODE=online sends the results; default: offline
    python examples/own_script.py --config configs/turn.yaml --seeds 0 1 2

Each seed is a run folder with a W&B run of its own; the script's W&B run joins them in one group. The same command continues after a stop.
"""

import os
from pathlib import Path

import tyro
import wandb
import yaml

import etude

UNSEEN = 35_000_000  # within the range of test seeds, beyond those of any run's own test


def main(config: Path = Path("configs/reach.yaml"), seeds: tuple[int, ...] = (0, 1), runs: Path = Path("runs/own"), episodes: int = 200) -> None:
    """Improve a policy with each seed, and log its success on unseen seeds."""
    settings, mode = yaml.safe_load(config.read_text()), os.environ.get("WANDB_MODE", "offline")
    runs.mkdir(parents=True, exist_ok=True)
    with wandb.init(project="etude", group=runs.name, job_type="unseen", name=runs.name, dir=str(runs), mode=mode) as mine:
        for seed in seeds:
            track = {**settings.get("track", {}), "group": runs.name, "job_type": "improve"}
            summary = etude.improve(etude.Config(**{**settings, "seed": seed, "track": track}), runs / f"seed-{seed}")
            rate = etude.evaluate(etude.load_policy(runs / f"seed-{seed}"), episodes, first_seed=UNSEEN)
            mine.log({"seed": seed, "gain": summary["gain"], "unseen/rate": rate.rate, "unseen/low": rate.low, "unseen/high": rate.high})
            print(f"seed {seed}: {rate} on unseen seeds")


if __name__ == "__main__":
    tyro.cli(main)
