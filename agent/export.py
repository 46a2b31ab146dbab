"""`etude export`: a policy as a Hugging Face folder, which transformers and peft load without etude, and `etude.load_policy` with it."""

import json
from pathlib import Path
from typing import Any

import yaml

from agent.card import card
from agent.config.read import write as write_yaml
from agent.run.base import grounded
from agent.run.files import digests, save, writable, write_folder, write_text
from agent.source import EXPORT, Source
from envs.spaces import Actions


def export(source: Source, out: Path, merged: bool = False) -> None:
    """Write a trained policy of a run into a new folder.

    Args:
        source: the policy.
        out: new, or empty.
        merged: add LoRA adapters to the weights of the base model, so that `peft` is not needed.

    Raises:
        ValueError: it is no Hugging Face model, it was never trained, or the folder has files.
    """
    config, actions = source.config, source.actions
    if source.run is None or actions is None:
        raise ValueError(f"{source.title} is no policy of a run; give a run, or a checkpoint in one.")
    # Whatever can be refused is refused before the model is loaded.
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty; name a new folder.")
    if merged and not config.policy.train.startswith("lora"):
        raise ValueError(
            f"{source.title} has no LoRA adapters (policy.train is {config.policy.train}), so there is nothing to merge; leave --merged out."
        )
    if config.policy.train == "lora+connector" and not merged:
        raise ValueError(f"{source.title} also trained the connector, which no adapter file holds; add --merged.")
    with writable(out):
        _write(source, actions, out, merged)


def _write(source: Source, actions: Actions, out: Path, merged: bool) -> None:
    """Load the policy and write it; `actions` are of its run, other arguments as of `export`."""
    config, policy, lora = source.config, source.load(), source.config.policy.train.startswith("lora")
    if not hasattr(policy, "processor"):  # our own `Vlm` has one, which pictures and texts go through
        raise ValueError(f"policy.model {config.policy.model!r} is a class of your own and no Hugging Face model; copy the run's folder instead.")
    from policies.exporting import BASE, description, write_plain  # imports torch

    env = config.envs[0]
    hub = config.policy.model if _on_hub(source) else ""  # '': the folder itself holds all weights
    pictures = [{**source.spec(name).description(), "flip": env.flip_of(name)} for _ in range(env.history) for name in env.sources]
    codec = {**description(policy, env.frame_names, env.size, pictures), "action_repeat": env.action_repeat}
    write_folder(out, lambda partial: write_plain(policy, partial, merged, hub))
    write_text(
        out / "action_codec.json", "{\n" + ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in codec.items()) + "\n}\n"
    )  # a line a key
    changes: dict[str, Any] = {"train": "text", "lora": {}} if merged else {}  # merged weights are those of a plain model
    if not hub and config.policy.precision == "4bit":
        changes["precision"] = "auto"  # the base model is written with the values of its four-bit weights
    # `layers`: the written model has no more than these.
    plain = config.model_copy(update={"policy": config.policy.model_copy(update={**changes, "layers": None, "model": hub or config.policy.model})})
    model = None if hub else BASE if lora and not merged else "."  # on the hub, in a folder beside the adapter, or in this one
    weights = {name: each for name, each in digests(out).items() if name.endswith(".safetensors")}  # the card and other texts may be edited
    content = {"config": yaml.safe_load(write_yaml(plain)), "actions": actions.description(), "name": source.name, "files": weights}
    content |= {"model": model, "base": policy.base_name if hub else None}
    content["pictures"] = {name: spec.description() for name, spec in source.pictures.items()}
    save(out / EXPORT, content)  # after the weights: with this file the folder counts as an export
    write_text(out / "README.md", card(source, codec, "peft" if lora and not merged else "transformers", out.name))


def _on_hub(source: Source) -> bool:
    """Return whether the base model of an adapter can be named by its hub id: as it is there, and nowhere on this machine."""
    assert source.run is not None
    model, adapter = source.config.policy.model, source.config.policy.train.startswith("lora")
    return adapter and not (grounded(source.run) or model == "nano" or Path(model).exists() or source.config.policy.layers)
