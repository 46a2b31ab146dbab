"""What differs from one family of models to another. Everything else is one code path, in `policies.vlm` and `policies.scoring`.

| family | what differs |
|---|---|
| Idefics3, SmolVLM, InternVL, Gemma 3, Idefics2 | the processor cuts a frame into tiles: a setting turns that off |
| LLaVA-NeXT, LLaVA-OneVision | the same without a setting: the grids of tiles are emptied |
| PaliGemma | a prompt form of its own, a prompt whose tokens attend in both directions, capped logits |
| Qwen-VL, GLM-V | positions in three dimensions (M-RoPE): a question continues from them (`Shared` in `policies.scoring`) |
| Qwen3-VL | the text model gets image tokens at several of its layers (`Vlm.encode`) |
| Qwen3.5, LFM2 | layers whose cache is a state instead of keys and values (`policies.caches`) |
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from transformers import ProcessorMixin

# What stands between vision tower and text model: Idefics3 and SmolVLM; LLaVA, Gemma 3 and InternVL; Qwen-VL; DeepSeek-VL and Janus; Gemma 4.
CONNECTOR = re.compile(r"\.(connector|multi_modal_projector|merger|deepstack_merger_list|aligner|embed_vision)\.")


@dataclass(frozen=True)
class Family:
    """What the code has to know of a family that it cannot read off the model."""

    template: str = ""
    """Chat template for models that come without one."""
    reply_type: int = 0
    """`token_type_ids` of a reply, where the model takes any."""
    spaced: str = ""
    """Token behind which the processor writes a space before a word. Prompts write it too, for questions are tokenised without the processor."""
    caps_logits: bool = False
    """Whether its logits are capped behind the head, c tanh(logit / c), where its text model says a c (arXiv 2408.00118, section 2)."""
    reads_both_ways: bool = False
    """Whether tokens of a prompt attend to later ones of the prompt. A question then changes what stands before it, and must be read with it."""


FAMILIES = {
    # Images, then text, then a line end. Type 0 is the prompt, which attends in both directions (arXiv 2407.07726, section 3.1).
    "paligemma": Family(
        "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}"
        "{{ bos_token }}{{ part['text'] }}\n{% endif %}{% endfor %}{% endfor %}",
        reply_type=1,
        caps_logits=True,
        reads_both_ways=True,
    ),
    "idefics2": Family(spaced="<image>"),
    "gemma3n": Family(caps_logits=True),
    "gemma4": Family(caps_logits=True),
}


def family_of(config: Any) -> Family:
    """Return the family of a model, by its Hugging Face config."""
    return FAMILIES.get(config.model_type, Family())


def text_model(model: Any) -> Any:
    """Return the text model, without its head, of an image-text-to-text model."""
    return getattr(model.model, "text_model", None) or model.model.language_model


def image_encoder(model: Any) -> tuple[Callable[..., Any], set[str]]:
    """Return the method that computes image tokens, and the names of its inputs: image processors also return counts that only prompts need."""
    # In some families the outer method takes any keyword, and the inner one names them; in others (DeepSeek-VL) there is only the inner one.
    found = [each.get_image_features for each in (model, model.model) if hasattr(each, "get_image_features")]
    return found[0], {key for each in found for key in signature(each).parameters}


def lora_targets(model: Any, chosen: Any = "all-linear") -> list[str]:
    """Return the full names of the linear layers in the blocks of the text model, fused projections included; routers of experts are left out.

    Args:
        model: with or without adapters.
        chosen: `target_modules` as peft reads it, of which those outside the text model are left out: ends of names, or a regular expression.

    Raises:
        ValueError: there is none; the sentence lists the linear layers that there are.
    """
    # An adapted layer holds the layer that it was, and the two matrices of its adapter.
    linear = {
        name.removesuffix(".base_layer"): part for name, part in model.named_modules() if isinstance(part, torch.nn.Linear) and ".lora_" not in name
    }
    text = text_model(model)
    inside = {id(part) for part in getattr(text, "layers", text).modules()}
    names = [name for name, part in linear.items() if id(part) in inside and name.split(".")[-1] not in ("gate", "router")]
    if not names:
        raise ValueError(
            f"policy.train 'lora' needs linear layers in the text model, and this model has linear layers of these names alone: "
            f"{', '.join(sorted({name.split('.')[-1] for name in linear})) or 'none'}; set policy.train to text."
        )
    if chosen == "all-linear":
        return names
    kept, ends = [name for name in names if _is_chosen(name, chosen)], ", ".join(sorted({name.split(".")[-1] for name in names}))
    # Layers elsewhere may be named too, and are left out: `proj` of a vision tower.
    unknown = [end for end in chosen if not any(f".{name}".endswith(f".{end}") for name in linear)] if isinstance(chosen, list) else []
    if kept and unknown:
        raise ValueError(f"policy.lora's target_modules names {unknown[0]!r}, and the model has no such linear layer; its text model has {ends}.")
    if not kept:
        raise ValueError(f"policy.lora's target_modules {chosen!r} names no linear layer of the text model; it has {ends}.")
    return kept


def train_connector(model: Any, name: str) -> None:
    """Make the parameters between vision tower and text model trainable.

    Raises:
        ValueError: none has a name that is known; the sentence calls the model by `name`.
    """
    found = [parameter for each, parameter in model.named_parameters() if CONNECTOR.search(each)]
    if not found:
        parts = ", ".join(each for each, _ in model.model.named_children())
        raise ValueError(f"policy.train is 'lora+connector', and no connector is found in {name!r}, which has {parts}; use 'lora'.")
    for parameter in found:
        parameter.requires_grad_(True)


def _is_chosen(name: str, chosen: Any) -> bool:
    if isinstance(chosen, str):
        return re.fullmatch(chosen, name) is not None
    return isinstance(chosen, list) and any(f".{name}".endswith(f".{end}") for end in chosen)


def keep_whole_prompts(processor: Any) -> None:
    """Make PaliGemma's processor leave a prompt as its template wrote it: else it adds a beginning and a line end of its own."""
    if type(processor).__name__ == "PaliGemmaProcessor":
        _override(processor, prepare_inputs_layout=ProcessorMixin.prepare_inputs_layout)


def keep_frames_whole(processor: Any) -> None:
    """Make the processor keep each frame whole: frames are smaller than one of the tiles that these families make."""
    images = processor.image_processor
    # Without this Idefics3 and SmolVLM first enlarge a frame to the size of all tiles together, which takes seven times as long.
    if getattr(images, "do_image_splitting", False):
        images.size = getattr(images, "max_image_size", None) or images.size
    for tiles in ("do_image_splitting", "crop_to_patches", "do_pan_and_scan"):
        if getattr(images, tiles, False):
            setattr(images, tiles, False)
        if getattr(processor, "images_kwargs", {}).get(tiles):  # a setting for every call overrules the image processor's own (InternVL)
            processor.images_kwargs = {**processor.images_kwargs, tiles: False}
    if hasattr(images, "image_grid_pinpoints") and hasattr(images, "get_image_patches"):  # LLaVA-NeXT, LLaVA-OneVision
        _override(images, get_image_patches=_first_of(type(images).get_image_patches))
        _override(processor, _get_number_of_features=_features_of_a_whole_frame)


def keep_grid_empty(config: Any) -> None:
    """Tell a model of LLaVA-NeXT or LLaVA-OneVision that a frame is one piece: the grid that fits it best has no tile."""
    if hasattr(config, "image_grid_pinpoints"):
        config.image_grid_pinpoints = [[0, 0]]


def _first_of(cut: Any) -> Any:
    """Return the method `get_image_patches` of an image processor so that it returns the whole frame alone, which comes before the tiles."""

    def get_image_patches(self: Any, image: Any, grid_pinpoints: Any, size: Any, patch_size: int, **more: Any) -> list[Any]:
        return cut(self, image, [[patch_size, patch_size]], size=size, patch_size=patch_size, **more)[:1]

    return get_image_patches


def _features_of_a_whole_frame(self: Any, orig_height: int, orig_width: int, height: int, width: int) -> int:
    """Return how many image tokens a frame has without tiles: its patches, and one that ends it."""
    patches = getattr(self, "num_image_tokens", 0) or (height // self.patch_size) * (width // self.patch_size) + self.num_additional_image_tokens
    return patches + 1


def _override(instance: Any, **methods: Any) -> None:
    """Replace methods of one object. Its class keeps its name, by which it is saved; functions among its attributes could not be saved."""
    kind = type(instance)
    instance.__class__ = type(kind.__name__, (kind,), methods)
