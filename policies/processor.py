"""A processor for every family, also where torchvision is not installed.

The Qwen-VL processors refuse to load without torchvision because of their video half. Frames need only the other half: tokenizer, image
processor and chat template, put together here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer


def load(source: str, **kwargs: Any) -> Any:
    """Return the model's own processor, or, where that wants torchvision for videos, its image half.

    Args:
        source: hub id or folder.
        kwargs: for `from_pretrained`.

    Raises:
        OSError, ValueError: there is no processor.
    """
    try:
        made = AutoProcessor.from_pretrained(source, **kwargs)
    except (ImportError, AttributeError) as error:  # what transformers 5 raises where torchvision is missing
        half = ImageHalf(source, **kwargs)
        if "image_grid_thw" not in half.image_processor.model_input_names:
            raise ValueError(f"its processor cannot be made: {error}") from error
        return half
    if getattr(made.image_processor, "do_image_splitting", False):  # Idefics3, SmolVLM: frames are smaller than one of the tiles it would make
        made.image_processor.do_image_splitting = False
    return made


def pixels(processor: Any, frames: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
    """Return what the vision tower takes of moments, each uint8[F, h, w, 3], on the CPU.

    Args:
        processor: of `load`.
        frames: the moments.
    """
    made = processor.image_processor(images=[image for moment in frames for image in moment], return_tensors="pt")
    return {key: value for key, value in made.items() if key not in ("rows", "cols")}


class ImageHalf:
    """Tokenizer + image processor of a family that counts image tokens by grid (Qwen2-VL and its successors)."""

    def __init__(self, source: str, **kwargs: Any) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(source, **kwargs)
        self.image_processor: Any = AutoImageProcessor.from_pretrained(source, **kwargs)
        self._image_id = AutoConfig.from_pretrained(source, **kwargs).image_token_id
        self._image = self.tokenizer.convert_ids_to_tokens(self._image_id)

    def apply_chat_template(self, messages: list[dict], **kwargs: Any) -> str:
        """Return the chat as text, with one image token an image."""
        return self.tokenizer.apply_chat_template(messages, **kwargs)

    def __call__(self, text: list[str], images: list[Any], return_tensors: str = "pt") -> Any:
        """Return input_ids, attention_mask, mm_token_type_ids and the image inputs for prompts of one length."""
        made = self.image_processor(images=images, return_tensors=return_tensors)
        counts = iter((made["image_grid_thw"].prod(-1) // self.image_processor.merge_size**2).tolist())
        expanded = []
        for each in text:
            pieces = each.split(self._image)
            expanded.append("".join(piece + self._image * next(counts) for piece in pieces[:-1]) + pieces[-1])
        made.update(self.tokenizer(expanded, return_tensors=return_tensors))
        made["mm_token_type_ids"] = (made["input_ids"] == self._image_id).to(torch.long)
        return made

    def save_pretrained(self, folder: str) -> None:
        """Write both halves."""
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
