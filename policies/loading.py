"""Loads a model and its processor, or says in one sentence why not."""

import contextlib
import re
import string
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig, AutoModelForImageTextToText, AutoTokenizer, GenerationConfig
from transformers.utils import logging

from policies import codec, families, files, processor
from policies.keys import PolicyConfig
from policies.precision import attn_implementation

WRITTEN = string.printable + "".join(f" {i:02d}" for i in range(100))  # what prompts and the codec `digits` write
NANO = Path(__file__).parent / "nano"


def load(config: PolicyConfig) -> tuple[Any, Any]:
    """Return processor and model, in float32 on the CPU, that `policy.model` names.

    Raises:
        ValueError: they cannot be loaded, or etude cannot use them.
    """
    place = source(config)
    kwargs: dict[str, Any] = {"trust_remote_code": config.trust_remote_code}
    kernel = attn_implementation(config.precision, config.device)
    if not sys.stderr.isatty():
        logging.disable_progress_bar()  # a bar in a log file is one long line of codes
    try:
        _is_a_model(place)
        if (folder := files.folder_of(place)) is not None:
            files.check(folder)
        described = AutoConfig.from_pretrained(place, **kwargs)
        _continues_prompts(described)
        _takes_image_tokens(described)
        _is_not_quantised(described)
        _keep_layers(described, config.layers)
        parts = processor.load(place, **kwargs)
        families.keep_grid_empty(described)
        with _without_report(config.layers is not None):
            kwargs |= {"config": described, "attn_implementation": kernel, "dtype": torch.float32}
            # Mismatches are ignored only here: below they get a sentence that says which.
            checked = {"output_loading_info": True, "ignore_mismatched_sizes": True}
            loaded: Any = AutoModelForImageTextToText.from_pretrained(place, **kwargs, **checked)
        model, found = loaded
        _is_complete(found, described, config.layers)
        _loses_nothing(model, found, config.layers)
        _is_finite(model)
        _embeds(model, parts.tokenizer)
        _answers_greedily(model)
        _has_parts(model)
    except Exception as error:  # a damaged folder raises errors of several libraries
        raise ValueError(f"Model {config.model!r} cannot be loaded: {_why(error)}") from error
    return parts, model


def writable(config: PolicyConfig) -> PolicyConfig:
    """Return the config with the codec that the model's tokenizer can write: `bins` where it has number tokens, else `digits`."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source(config), trust_remote_code=config.trust_remote_code)
    except Exception:  # `load` says what is wrong
        return config
    return config.model_copy(update={"codec": "bins" if codec.has_numbers(tokenizer) else "digits"})


def source(config: PolicyConfig) -> str:
    """Return the folder or the hub id that `policy.model` names."""
    return str(NANO) if config.model == "nano" else str(Path(config.model).expanduser()) if config.model.startswith("~") else config.model


@contextlib.contextmanager
def _without_report(on: bool) -> Iterator[None]:
    """Keep transformers from listing the weights of layers that are dropped."""
    before = logging.get_verbosity()
    if on:
        logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _why(error: Exception) -> str:
    """Return the first line of an error, and what to do."""
    first = str(error).strip().split("\n")[0]
    if "torchvision" in str(error).lower() and find_spec("torchvision") is None:
        return "its processor is written for torchvision, which is not installed: pip install torchvision."
    if missing := re.search(r"(?:requires|using) the (\w+) library", first):
        return f"its code needs {missing[1]}, which is not installed: pip install {missing[1].lower()}."
    if "trust_remote_code" in str(error):
        return "it comes with Python code of its own; if you trust its author, set policy.trust_remote_code true."
    return f"{first} Use 'nano', a hub id or a folder."


def _is_a_model(source: str) -> None:
    """Check that a path names a folder with a whole model; a hub id passes.

    Raises:
        ValueError: it does not.
    """
    place = Path(source)
    if place.is_file():
        raise ValueError("it is a file, and a folder as on the hub is needed, with config.json and safetensors; GGUF cannot be trained.")
    if (place / "config.yaml").exists() and not (place / "config.json").exists():
        raise ValueError(f"it is a run; name the folder that `etude export {source} OUT` writes.")
    if (place / "adapter_config.json").exists():
        raise ValueError("it holds a LoRA adapter; merge it into its base model (peft: merge_and_unload), and name the folder of the result.")
    if place.is_dir() and not (place / "config.json").exists():
        raise ValueError("it has no config.json.")
    if source.startswith((".", "/", "~")) and not place.exists():
        raise ValueError("there is no such folder.")


def _is_complete(found: dict[str, Any], described: Any, layers: int | None) -> None:
    """Check that every weight was in the files of a model, and every layer of the files in the model; transformers draws what is missing.

    Args:
        found: its loading information.
        described: its description.
        layers: how many layers are to be kept; None: all.

    Raises:
        ValueError: a weight was not, or has another shape, or layers would be dropped that nobody asked to drop.
    """
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"its files lack {len(missing)} of its weights, such as {missing[0]}.")
    if others := sorted(str(each[0]) for each in found["mismatched_keys"]):
        raise ValueError(f"{len(others)} of its weights have other shapes than config.json says, such as {others[0]}.")
    count = described.get_text_config().num_hidden_layers
    numbered = [re.search(r"(?:language|text)_model\b.*?\blayers\.(\d+)\.", str(key)) for key in found["unexpected_keys"]]
    if layers is None and (beyond := [at for each in numbered if each and (at := int(each[1])) >= count]):
        raise ValueError(
            f"its files have {max(beyond) + 1} text layers, and its config.json names {count}; correct num_hidden_layers there, or set policy.layers."
        )


def _loses_nothing(model: Any, found: dict[str, Any], layers: int | None) -> None:
    """Check that no layer of a model lacks what its files hold for it; arguments as of `_is_complete`.

    Raises:
        ValueError: one does.
    """
    if surplus := files.lost(model, [str(key) for key in found["unexpected_keys"]], layers):
        raise ValueError(
            f"its files hold {len(surplus)} weights that the model of its config.json would drop, such as {surplus[0]}; "
            "correct config.json, merge adapters, or name the model in full precision."
        )


def _embeds(model: Any, tokenizer: Any) -> None:
    """Check that a model has embeddings for what its tokenizer writes. Tokens that no text needs may lie beyond, as a padding token often does.

    Raises:
        ValueError: it has not.
    """
    rows, most = len(model.get_input_embeddings().weight), max(tokenizer.encode(WRITTEN))
    if tokenizer.eos_token_id >= rows:
        raise ValueError(f"its eos_token {tokenizer.eos_token!r} is no token that the model knows; correct it in its tokenizer_config.json.")
    if most >= rows:
        raise ValueError(f"its tokenizer writes token {most}, and its embeddings have {rows} rows; name a folder where both are of one model.")


def _answers_greedily(model: Any) -> None:
    """Drop what a model's generation_config.json says about sampling, beams and penalties; the tokens that end a reply stay."""
    own = model.generation_config
    model.generation_config = GenerationConfig(**{name: getattr(own, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")})


def _is_finite(model: Any) -> None:
    """Check that all weights of a model are finite. A forward pass does not show it: some attention kernels pass over NaN.

    Raises:
        ValueError: one is not.
    """
    for name, weights in model.named_parameters():
        if not torch.isfinite(weights.sum()) and not torch.isfinite(weights).all():  # a sum alone may overflow
            raise ValueError(f"its weights are damaged: {name} holds numbers that are not finite.")


def _continues_prompts(described: Any) -> None:
    """Check that a reply continues the prompt: image tokens stand in the prompt, and the model has no decoder of its own for replies.

    Raises:
        ValueError: it has one.
    """
    if any(getattr(part, "is_encoder_decoder", False) for part in (described, described.get_text_config())):
        raise ValueError(f"{described.model_type} has an encoder and a decoder, and a model is needed that continues its prompt.")


def _takes_image_tokens(described: Any) -> None:
    """Check that a model reads images as tokens of its prompt, which are computed before its forward pass.

    Raises:
        ValueError: it reads no images, or reads them in another way (cross-attention).
    """
    if "AutoModelForImageTextToText" in getattr(described, "auto_map", {}):
        return  # code from the hub: the first decision shows whether it does
    if type(described) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise ValueError(f"{described.model_type} is no image-text-to-text model of transformers, which reads images and answers in words.")
    kind: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(described)]
    if "mm_encoder_outputs" not in signature(kind.forward).parameters:
        raise ValueError(f"{described.model_type} takes no image tokens that were computed before its forward pass (mm_encoder_outputs).")


def _is_not_quantised(described: Any) -> None:
    """Check that the weights of a model are numbers that can be trained, or expanded for an export.

    Raises:
        ValueError: they are quantised.
    """
    for part in (described, described.get_text_config()):
        if (stored := getattr(part, "quantization_config", None)) is not None:
            method = stored.get("quant_method", "") if isinstance(stored, dict) else getattr(stored, "quant_method", "")
            kind = str(getattr(method, "value", method)) or "some method"
            full = "name the model in full precision, and set policy.precision 4bit for little memory"
            raise ValueError(f"its weights are quantised ({kind}); {full}.")


def _has_parts(model: Any) -> None:
    """Check that the parts of a model are where nearly all have them.

    Raises:
        ValueError: one is not.
    """
    inner = getattr(model, "model", None)
    parts = {
        "model.language_model": any(hasattr(inner, name) for name in ("text_model", "language_model")),
        "lm_head": hasattr(model, "lm_head"),
        "get_image_features": any(hasattr(each, "get_image_features") for each in (model, inner)),
    }
    if missing := [name for name, found in parts.items() if not found]:
        raise ValueError(f"{type(model).__name__} has no {' and no '.join(missing)}, where other families have these parts.")


def _keep_layers(described: Any, count: int | None) -> None:
    """Make a model's description one of its first `count` text layers.

    Raises:
        ValueError: it has fewer, or those have no cache of keys and values, in which the tokens before a reply are counted.
    """
    text = described.get_text_config()
    if count is None:
        return
    if count > text.num_hidden_layers:
        raise ValueError(f"policy.layers is {count}, and its text model has {text.num_hidden_layers} layers; give fewer, or leave the key out.")
    attends = [
        i for i, kind in enumerate(getattr(text, "layer_types", None) or ["full_attention"]) if kind.endswith(("full_attention", "sliding_attention"))
    ]
    if attends and attends[0] >= count:
        raise ValueError(f"policy.layers is {count}, and the first attention layer of its text model is number {attends[0] + 1}; give that or more.")
    if getattr(text, "num_kv_shared_layers", 0) or getattr(text, "hidden_size_per_layer_input", 0):
        raise ValueError(f"policy.layers is {count}, and layers of {described.model_type} share keys or embeddings with others; leave the key out.")
    for name, each in list(vars(text).items()):  # what is given for each layer; the rest of a description does not depend on their number
        if isinstance(each, list) and len(each) == text.num_hidden_layers:
            setattr(text, name, each[:count])
    text.num_hidden_layers = count
