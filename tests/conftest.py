"""Shared pieces: tiny models of three families, saved to a folder and loaded through the path that a hub id takes."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("etude", deadline=None)  # what an example takes says how busy the machine is
settings.load_profile("etude")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a second thread waits, at every product, for a core that something else may have


def byte_tokenizer(special: list[str]) -> Any:
    """A byte-level tokenizer without merges: every model family can live with it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*special, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=special[0], bos_token=special[1], eos_token=special[2])


def template(image: str) -> str:
    """A chat template that writes `image` for each image."""
    parts = "{% for part in message['content'] %}{% if part['type'] == 'image' %}" + image + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    return "{% for message in messages %}{{ message['role'] }}: " + parts + "\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a LLaVA with random weights."""
    import torch
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", "<image>"])
    images = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=template("<image>"),
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    vision = CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    text = LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=len(tokenizer)
    )
    torch.manual_seed(0)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=3, image_seq_length=4, vision_feature_layer=-1)
    return _save(LlavaForConditionalGeneration(config), processor, tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Qwen2.5-VL with random weights."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessorPil

    special = ["<pad>", "<s>", "</s>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = byte_tokenizer(special)
    images = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size={"shortest_edge": 56 * 56, "longest_edge": 56 * 56})
    tokenizer.chat_template = template("<|vision_start|><|image_pad|><|vision_end|>")
    text = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": len(tokenizer),
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 64,
        "fullatt_block_indexes": [1],
        "patch_size": 14,
    }
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=3,
        vision_end_token_id=4,
        tie_word_embeddings=False,
    )
    folder = tmp_path_factory.mktemp("qwen")  # saved as the hub's folders are: without torchvision there is no whole processor to save
    tokenizer.save_pretrained(folder)
    images.save_pretrained(folder)
    return _save(Qwen2_5_VLForConditionalGeneration(config), None, folder)


def _save(model: Any, processor: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return folder


@pytest.fixture
def situations() -> list[Any]:
    """Five situations of two instructions whose prompts have different lengths."""
    from policies.policy import Situation

    rng = np.random.default_rng(0)
    words = ["touch the red ball", "touch the purple ball, please", "touch the red ball", "touch the blue ball", "touch the purple ball, please"]
    return [Situation(each, rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)) for each in words]
