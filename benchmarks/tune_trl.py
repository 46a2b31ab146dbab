"""TRL's side of benchmarks/tune.py, which calls it with the interpreter of an environment that has TRL.

python benchmarks/tune_trl.py PAIRS.npz EPOCHS THREADS     # prints the CPU seconds of `DPOTrainer.train`
"""

import copy
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # TRL's environment does not have etude installed

from policies import processor


def conversations(stored: Any) -> list[dict[str, Any]]:
    """Return the pairs of a file as TRL takes them: images, and messages of prompt, chosen and rejected reply."""
    from PIL import Image

    def say(role: str, *parts: dict[str, str]) -> list[dict[str, Any]]:
        return [{"role": role, "content": list(parts)}]

    rows = []
    for frames, prompt, chosen, rejected in zip(stored["frames"], stored["prompts"].tolist(), *stored["texts"].tolist(), strict=True):
        asked = say("user", *[{"type": "image"}] * len(frames), {"type": "text", "text": prompt})
        replies = {"chosen": chosen, "rejected": rejected}
        told = {name: say("assistant", {"type": "text", "text": text}) for name, text in replies.items()}
        rows.append({"images": [Image.fromarray(frame) for frame in frames], "prompt": asked, **told})
    return rows


def main(file: Path, epochs: int, threads: int) -> None:
    """Train on the pairs of a file, and print the CPU seconds."""
    from datasets import Dataset  # pyright: ignore[reportMissingImports]
    from trl.trainer.dpo_config import DPOConfig  # pyright: ignore[reportMissingImports]
    from trl.trainer.dpo_trainer import DPOTrainer  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)
    stored = np.load(file)
    source = str(stored["model"])
    model = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32)
    model.requires_grad_(False)
    for part in (model.model.text_model, model.lm_head):  # as with `policy.train: text`
        part.requires_grad_(True)
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder, num_train_epochs=epochs, per_device_train_batch_size=32, max_length=None, beta=0.1, learning_rate=5e-4,
            use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", save_strategy="no", disable_tqdm=True, logging_steps=1000,
        )  # fmt: skip
        data = Dataset.from_list(conversations(stored))
        trainer = DPOTrainer(model=model, ref_model=copy.deepcopy(model), args=config, train_dataset=data, processing_class=processor.load(source))
        began = time.process_time()
        trainer.train()
    print(json.dumps({"cpu_seconds": time.process_time() - began}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
