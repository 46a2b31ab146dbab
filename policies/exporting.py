"""A policy as plain Hugging Face files, and back."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from policies import plain
from policies.check import INSTRUCTION
from policies.codec import fixed_tokens
from policies.fourbit import expand
from policies.prompts import TOKEN_INPUTS, noted
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


def description(policy: Any, images: tuple[str, ...], size: int, pictures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the content of `action_codec.json`: how a prompt is written, and how a reply is read.

    Args:
        policy: a `Vlm`.
        images: a name for each frame of an observation.
        size: height and width of a frame, pixels.
        pictures: how each of the environment's pictures becomes a frame, as `policies.plain.frame` reads it.

    Raises:
        ValueError: `act.py` would make other inputs of it than the model's own processor.
    """
    config = policy.config
    chat = policy.prompts.chat(config.ask("{instruction}", state="{state}"), len(images))
    content = {
        "images": list(images),
        "image_size": size,
        "pictures": pictures,
        "lower_case": policy.prompts.known("A") == "a",
        "add_special_tokens": policy.prompts.adds_special_tokens(chat),
        "state": {str(index): list(span) for index, span in config.state.items()},
        **_inputs(policy, chat, (len(images), size, size, 3)),
        "before": fixed_tokens(policy.processor.tokenizer, config.thought, policy.codec),
        **policy.codec.description(),
    }
    _is_understood(policy, content)
    return content


def _inputs(policy: Any, chat: str, frames: tuple[int, ...]) -> dict[str, Any]:
    """Return how a chat about frames of a shape, (F, h, w, 3), becomes the model's inputs without its processor, which many cannot load.

    The processor is watched: it writes placeholders of image tokens into the chat, tells its image processor how to work, and marks each token.
    """
    processor, about = policy.processor, policy.prompts
    with noted(processor.tokenizer) as texts, noted(processor.image_processor) as seen:
        inputs = about.whole(chat, np.zeros(frames, np.uint8))
    written = next(given for args, told in texts if isinstance(given := told.get("text", args[0] if args else None), list))[0]
    shown: Any = seen[0][1].get("images", seen[0][0][0] if seen[0][0] else None)
    tokens, per_token = inputs["input_ids"][0].tolist(), {}
    for name in [name for name in inputs if name in TOKEN_INPUTS and name != "input_ids" and inputs[name].shape == inputs["input_ids"].shape]:
        kinds = inputs[name][0].tolist()
        most = kinds[-1]  # the end of a prompt is text
        reply = {"attention_mask": 1, "token_type_ids": policy.family.reply_type}.get(name, 0)
        at = {str(token): kind for token, kind in zip(tokens, kinds, strict=True) if kind != most}
        per_token[name] = {"prompt": most, "at": at, "reply": reply}
    return {
        "chat": written,
        "image_settings": about.image_settings(),
        "images_nested": isinstance(shown[0], list),
        "image_inputs": [name for name in inputs if name not in per_token and name != "input_ids"],
        "per_token": per_token,
    }


def _is_understood(policy: Any, content: dict[str, Any]) -> None:
    """Check that `act.py` makes the inputs that the model's own processor makes; `content` is the result of `description`."""
    act: Any = plain.Policy.__new__(plain.Policy)
    act.codec, act.tokenizer, act.image_processor = content, policy.processor.tokenizer, policy.processor.image_processor
    size, rng = content["image_size"], np.random.default_rng(0)
    frames = rng.integers(0, 255, (len(content["images"]), size, size, 3), dtype=np.uint8)
    act.codec = content | {"pictures": [{"values": None, "square": False, "flip": ""}] * len(frames)}
    made = act.prompt(list(frames), INSTRUCTION, "0")
    own = policy.prompts.whole(policy.prompts.chat(policy.config.ask(INSTRUCTION, state="0"), len(frames)), frames)
    if other := next((name for name in own if name not in made or not torch.equal(made[name], own[name])), None):
        raise ValueError(
            f"{policy.config.model!r} cannot be exported: act.py makes another {other} of frames and words than the model's own processor; "
            "copy the run's folder instead."
        )
