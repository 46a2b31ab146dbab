"""Keeps what a run's stage `ground` taught the model of `etude compose`, as a file of the package for `etude compose OUT --grounded TASK`.

    python benchmarks/grounded.py runs/smol-slide slide

The run began from `models/smol` with the key `policy.layers`. Writes policies/smol/TASK.safetensors, 4 MB for eight layers.
"""

from pathlib import Path

import tyro
from transformers import AutoModelForImageTextToText

from agent.run.folder import Run
from policies import grounded


def main(run: tyro.conf.Positional[Path], task: tyro.conf.Positional[str]) -> None:
    """Write the file, and print the largest share of a weight's change that it loses.

    Args:
        run: whose folder `ground/` is finished.
        task: name of the file.
    """
    config = Run(run).config.policy
    base, taught = (AutoModelForImageTextToText.from_pretrained(folder) for folder in (config.model, run / "ground" / "model"))
    grounded.SHIPPED.mkdir(exist_ok=True)
    lost = grounded.write(grounded.SHIPPED / f"{task}.safetensors", base, taught, int(str(config.lora.get("r", 16))))
    print(f"loses {100 * lost:.2f} % of a weight's change")


if __name__ == "__main__":
    tyro.cli(main)
