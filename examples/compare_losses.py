"""A training script of your own, tracked in W&B: one task with two losses, compared on seeds that no run has used.

    python examples/compare_losses.py                                   # WANDB_MODE=online sends the results; default: offline
    python examples/compare_losses.py --config configs/turn.yaml --cycles 5

Each arm is a run folder; the same command continues after a stop. etude logs each arm's own metrics to the same W&B project.
"""

import os
from pathlib import Path
from typing import Any

import tyro
import wandb
import yaml

import etude

ALONE = {"lookahead_episodes": 0}  # no other source of training data than sampled episodes
ARMS = {"policy-gradient": {"pg_coef": 1, "bc_coef": 0, "dpo_coef": 0}, "behaviour-cloning": {"pg_coef": 0, "bc_coef": 1, "dpo_coef": 0}}
UNSEEN = 35_000_000  # within the range of test seeds, beyond those of any run's own test


def arm_config(settings: dict[str, Any], losses: dict[str, float], cycles: int) -> etude.Config:
    """Return the settings of a config file with these losses alone, in every cycle."""
    collect, curate = {**settings.get("collect", {}), **ALONE}, {**settings.get("curate", {}), "lookahead_pairs": 0}
    changes = {"cycles": cycles, "collect": collect, "curate": curate, "tune": {**settings.get("tune", {}), **losses}, "phases": ()}
    return etude.Config(**{**settings, **changes})


def main(config: Path = Path("configs/slide.yaml"), cycles: int = 2, episodes: int = 200, runs: Path = Path("runs/compare-losses")) -> None:
    """Train each arm, and log its success rate on unseen seeds."""
    settings = yaml.safe_load(config.read_text())
    table = wandb.Table(["arm", "before", "after", "unseen seeds", "low", "high"])
    for arm, losses in ARMS.items():
        summary = etude.improve(arm_config(settings, losses, cycles), runs / arm)
        rate = etude.evaluate(etude.load_policy(runs / arm), episodes, first_seed=UNSEEN)
        table.add_data(arm, summary["before"]["rate"], summary["after"]["rate"], rate.rate, rate.low, rate.high)
        print(f"{arm}: {rate} on unseen seeds")
    with wandb.init(project="etude", name="compare-losses", dir=str(runs), mode=os.environ.get("WANDB_MODE", "offline")) as run:
        run.log({"losses": table})


if __name__ == "__main__":
    tyro.cli(main)
