"""A processor for every family, also where torchvision is not installed.

Processors of families that also watch videos (SmolVLM, Qwen-VL, InternVL) refuse to load without torchvision. Frames need only their other half:
tokenizer, image processor, chat template and what counts image tokens.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoProcessor, Idefics3Processor, SmolVLMProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING


def load(source: str, **kwargs: Any) -> Any:
    """Return the model's own processor, or, where that wants torchvision for videos, its image half.

    Args:
        source: hub id or folder.
        kwargs: for `from_pretrained`.

    Raises:
        OSError, ValueError: there is no processor, or none that writes chats.
    """
    try:
        made = AutoProcessor.from_pretrained(source, **kwargs)
    except (ImportError, AttributeError, OSError, ValueError) as error:  # what transformers 5 raises where torchvision is missing, by family
        try:
            made = _image_half(source, **kwargs)
        except (ImportError, AttributeError, KeyError, OSError, ValueError):
            raise ValueError(f"its processor cannot be made: {str(error).strip()}") from error
    if not (hasattr(made, "tokenizer") and hasattr(made, "image_processor")):
        raise ValueError("it does not look at images.")
    made.chat_template = made.chat_template or made.tokenizer.chat_template
    if not made.chat_template:
        raise ValueError("it has no chat template: take an instruction-tuned model, or put a chat_template.jinja into its folder.")
    _keep_whole(made)
    return made


def _keep_whole(made: Any) -> None:
    """Have frames seen as they are: they are smaller than one of the tiles that Idefics3 and SmolVLM, InternVL, or Gemma 3 would cut them into."""
    if getattr(made.image_processor, "do_image_splitting", False):  # else they are blown up to the size of all tiles first: seven times the work
        made.image_processor.size = getattr(made.image_processor, "max_image_size", None) or made.image_processor.size
    for tiles in ("do_image_splitting", "crop_to_patches", "do_pan_and_scan"):
        if getattr(made.image_processor, tiles, False):
            setattr(made.image_processor, tiles, False)
        if getattr(made, "images_kwargs", {}).get(tiles):  # what a class sets for every call outweighs its image processor
            made.images_kwargs = {**made.images_kwargs, tiles: False}


def pixels(processor: Any, frames: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
    """Return what the image processor makes of moments, each uint8[F, h, w, 3], on the CPU.

    Args:
        processor: of `load`.
        frames: the moments.
    """
    return dict(processor.image_processor(images=[image for moment in frames for image in moment], return_tensors="pt"))


def _image_half(source: str, **kwargs: Any) -> Any:
    """Return the processor without its video half, which frames do not need.

    Raises:
        ValueError: its class has no video half, so that it is something else which is missing.
    """
    config = AutoConfig.from_pretrained(source, **kwargs)
    whole: Any = PROCESSOR_MAPPING[type(config)]
    if whole is SmolVLMProcessor:  # which also wants num2words, to tell of videos; its prompts of images are those of Idefics3
        return Idefics3Processor.from_pretrained(source, **kwargs)
    own = whole.get_attributes()
    if "video_processor" not in own:
        raise ValueError("it wants a library that is not installed")
    half = type(whole.__name__, (whole,), {"get_attributes": classmethod(lambda cls: [each for each in own if each != "video_processor"])})
    return half.from_pretrained(source, **kwargs)
