"""A policy as plain Hugging Face files, and back."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from policies import plain
from policies.codec import fixed_tokens
from policies.fourbit import expand
from policies.trained import fingerprint

ADAPTER, BASE = "adapter_model.safetensors", "base"  # peft's file of weights; the folder of an adapter's base model, where it is not on the hub


def write_plain(policy: Any, folder: Path, merged: bool, hub: str) -> None:
    """Write a `Vlm` into a folder that `transformers` loads, or `peft` if it has LoRA adapters that are not merged; with `act.py`.

    The policy cannot be used afterwards.

    Args:
        policy: the policy.
        folder: exists.
        merged: add LoRA adapters to the weights.
        hub: id of the base model on the hub; empty: the base model is written too, where an adapter needs it.
    """
    policy.processor.save_pretrained(folder)
    (folder / "act.py").write_text(Path(plain.__file__).read_text("utf-8"))
    if merged or not policy.config.train.startswith("lora"):
        policy.merged().float().save_pretrained(folder)  # float32: weights in two precisions would all be read in one
        return
    policy.model.peft_config["default"].base_model_name_or_path = hub or BASE
    policy.model.save_pretrained(folder, save_embedding_layers=False)  # else peft asks the hub whether the vocabulary grew
    if not hub:
        base = policy.model.unload()
        (expand(base) if policy.config.precision == "4bit" else base.float()).save_pretrained(folder / BASE)
        policy.processor.save_pretrained(folder / BASE)


def load_exported(policy: Any, folder: Path, name: str, base: str | None) -> None:
    """Load the adapter of an export into its base model, if it has one, and give the policy its recorded name.

    Args:
        policy: a `Vlm` with the base model, or with the whole one.
        folder: of the export.
        name: recorded fingerprint of the weights.
        base: recorded fingerprint of the base model; None: it is a part of the export.

    Raises:
        ValueError: the weights are not those that were exported, or the base model is another one.
    """
    if base not in (None, policy.base_name):  # a hub id that was updated
        raise ValueError(f"{folder} belongs to {policy.config.model!r} with weights {base}, and these are now {policy.base_name}; export it again.")
    if (folder / ADAPTER).exists():
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(policy.model, load_file(folder / ADAPTER))
        if fingerprint(policy.weights()) != name:
            raise ValueError(f"{folder / ADAPTER} does not give the weights {name} that were exported; export the run again.")
    policy.name = name  # of merged weights too, which the digests of the files vouch for


def description(policy: Any, images: tuple[str, ...]) -> dict[str, Any]:
    """Return the content of `action_codec.json`: how a prompt is written, and how a reply is read.

    Args:
        policy: a `Vlm`.
        images: a name for each frame of an observation.
    """
    config = policy.config
    chat = policy.prompts.chat(config.ask("{instruction}", state="{state}"), len(images))
    return {
        "chat": chat,
        "images": list(images),
        "lower_case": policy.prompts.known("A") == "a",
        "add_special_tokens": policy.prompts.adds_special_tokens(chat),
        "state": {str(index): list(span) for index, span in config.state.items()},
        "per_token": {"attention_mask": 1, "mm_token_type_ids": 0, "token_type_ids": policy.family.reply_type},
        "before": fixed_tokens(policy.processor.tokenizer, config.thought, policy.codec),
        **policy.codec.description(),
    }
