"""TRL's side of benchmarks/tune.py, which calls it with the interpreter of an environment that has TRL.

python benchmarks/tune_trl.py EXAMPLES.npz '{"method": "dpo", "epochs": 4}'     # prints the CPU seconds of training, one torch thread
python benchmarks/tune_trl.py EXAMPLES.npz '{"gradient": "out.safetensors"}'    # writes loss and gradient of one batch
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
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # TRL's environment does not have etude installed

from policies import processor

COMMON = {
    "learning_rate": 5e-4, "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": "none", "save_strategy": "no",
    "disable_tqdm": True, "logging_steps": 1000,
}  # fmt: skip
PIXELS = ("pixel_values", "pixel_attention_mask")  # what an Idefics3 sees


def rows(stored: Any) -> list[dict[str, Any]]:
    """Return the pairs of a file as TRL takes them: images, and texts of prompt, chosen and rejected reply."""
    from PIL import Image

    texts = zip(stored["frames"], stored["chats"].tolist(), *stored["texts"][[0, -1]].tolist(), strict=True)  # GRPO needs no second reply
    return [
        {"images": [Image.fromarray(frame) for frame in frames], "prompt": chat, "chosen": chosen, "rejected": rejected}
        for frames, chat, chosen, rejected in texts
    ]


def load(stored: Any) -> Any:
    """Return the model of a file in float32: with LoRA adapters, or with a text model that is trained."""
    model = AutoModelForImageTextToText.from_pretrained(str(stored["source"]), dtype=torch.float32)
    model.requires_grad_(False)
    if str(stored["train"]) == "lora":
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(0)
        return get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=stored["targets"].tolist()))
    for part in (model.model.text_model, model.lm_head):  # as with `policy.train: text`
        part.requires_grad_(True)
    return model


def dpo_trainer(stored: Any, folder: str, batch: int, epochs: int) -> Any:
    """Return TRL's trainer of pairs; its reference is a copy of the model, or with LoRA the first adapter."""
    from datasets import Dataset  # pyright: ignore[reportMissingImports]
    from trl.trainer.dpo_config import DPOConfig  # pyright: ignore[reportMissingImports]
    from trl.trainer.dpo_trainer import DPOTrainer  # pyright: ignore[reportMissingImports]

    model = load(stored)
    reference = None if str(stored["train"]) == "lora" else copy.deepcopy(model)
    config = DPOConfig(output_dir=folder, num_train_epochs=epochs, per_device_train_batch_size=batch, max_length=None, beta=0.1, **COMMON)
    data, own = Dataset.from_list(rows(stored)), processor.load(str(stored["source"]))
    return DPOTrainer(model=model, ref_model=reference, args=config, train_dataset=data, processing_class=own)


def grpo_trainer(stored: Any, folder: str, batch: int) -> tuple[Any, dict[str, Any]]:
    """Return TRL's trainer of sampled replies, and the batch of all replies of a file: generation is no part of a step here."""
    from datasets import Dataset  # pyright: ignore[reportMissingImports]
    from trl.trainer.grpo_config import GRPOConfig  # pyright: ignore[reportMissingImports]
    from trl.trainer.grpo_trainer import GRPOTrainer  # pyright: ignore[reportMissingImports]

    config = GRPOConfig(
        output_dir=folder, per_device_train_batch_size=batch, num_generations=max(len(stored["tokens"]), 2), beta=0.0, loss_type="grpo", epsilon=0.2,
        temperature=1.0, scale_rewards=False, **COMMON,
    )  # fmt: skip
    own, asked = processor.load(str(stored["source"])), rows(stored)
    trainer = GRPOTrainer(
        model=load(stored), reward_funcs=lambda completions, **_: [0.0] * len(completions), args=config, processing_class=own,
        train_dataset=Dataset.from_list([{"prompt": each["prompt"], "image": each["images"][0]} for each in asked]),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1  # its own loop would set this
    replies = torch.as_tensor(stored["tokens"]).flatten(0, 1)
    whole = torch.as_tensor(stored["whole"])
    seen = own.image_processor(images=[each["images"] for each in asked] * len(stored["tokens"]), return_tensors="pt")
    prompts = whole[:, : -replies.shape[1]]
    return trainer, {
        "prompt_ids": prompts, "prompt_mask": torch.ones_like(prompts), "completion_ids": replies, "completion_mask": torch.ones_like(replies),
        "advantages": torch.as_tensor(stored["advantages"]).flatten(), "num_images": [len(each["images"]) for each in asked] * len(stored["tokens"]),
        **{key: seen[key] for key in PIXELS if key in seen},
    }  # fmt: skip


def same_tokens(batch: dict[str, Any], stored: Any) -> dict[str, Any]:
    """Return a batch of all pairs; a ValueError where its tokens are not those of etude."""
    read = {tuple(ids[mask.bool()].tolist()) for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)}
    if read != {tuple(row[row >= 0].tolist()) for row in stored["whole"]}:
        raise ValueError("TRL reads other tokens than etude")
    return batch


def main(file: Path, method: str = "dpo", epochs: int = 1, gradient: str = "") -> None:
    """Train on the examples of a file, and print the CPU seconds; or write a gradient."""
    torch.set_num_threads(1)
    stored = np.load(file)
    with tempfile.TemporaryDirectory() as folder:
        count = stored["frames"].shape[0]
        if method == "dpo":
            trainer = dpo_trainer(stored, folder, count if gradient else min(count, 32), epochs)
            batch = same_tokens(next(iter(trainer.get_train_dataloader())), stored) if gradient else {}
        else:
            trainer, batch = grpo_trainer(stored, folder, stored["tokens"].shape[0] * count)
        began = time.process_time()
        if gradient:
            write_gradient(trainer, batch, file.with_suffix(".safetensors"), Path(gradient))
        elif method == "dpo":
            trainer.train()
        else:
            grpo_steps(trainer, batch, 32)
    print(json.dumps({"cpu_seconds": time.process_time() - began}))


def grpo_steps(trainer: Any, batch: dict[str, Any], size: int) -> None:
    """Take a step on each `size` replies of a batch: TRL's loss, its gradient, AdamW."""
    trained = [each for each in trainer.model.parameters() if each.requires_grad]
    adam = torch.optim.AdamW(trained, lr=5e-4)
    for start in range(0, len(batch["prompt_ids"]), size):
        part = {key: value[start : start + size] for key, value in batch.items()}
        trainer._compute_loss(trainer.model, part).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        adam.step()
        adam.zero_grad()


def write_gradient(trainer: Any, batch: dict[str, Any], weights: Path, out: Path) -> None:
    """Write loss and gradient of a batch at some weights; the reference, and the policy that sampled, are the weights before."""
    model, own = trainer.model, load_file(weights)
    trained = {name: each for name, each in model.named_parameters() if name in own}
    if trained.keys() != own.keys():
        raise ValueError("TRL trains other weights than etude")
    if "prompt_ids" in batch:
        ids, mask = (torch.cat([batch[f"prompt_{kind}"], batch[f"completion_{kind}"]], dim=1) for kind in ("ids", "mask"))
        seen = {key: batch[key] for key in (*PIXELS, "num_images") if key in batch}
        with torch.no_grad():
            batch["old_per_token_logps"] = trainer._get_per_token_logps_and_entropies(model, ids, mask, batch["completion_ids"].shape[1], **seen)[0]
    with torch.no_grad():
        for name, each in trained.items():
            each.copy_(own[name])
    model.train()
    loss = trainer._compute_loss(model, batch) if "prompt_ids" in batch else trainer.compute_loss(model, batch)
    loss.backward()
    save_file({"loss": loss.detach().reshape(1), **{name: each.grad for name, each in trained.items()}}, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), **json.loads(sys.argv[2]))
