"""Shared pieces: tiny models of six families, saved to a folder and loaded through the path that a hub id episodes."""

import json
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


TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
QWEN_SPECIAL = ["<pad>", "<s>", "</s>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
QWEN_TOKENS = {"image_token_id": 5, "video_token_id": 6, "vision_start_token_id": 3, "vision_end_token_id": 4, "tie_word_embeddings": False}


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


def llama_tokenizer(special: list[str]) -> Any:
    """As LLaVA's: what begins a text, after its specials, gets a space of its own, and every text a `<s>`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = ["▁", "\n", *(chr(i) for i in range(33, 127))]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*special, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
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

    tokenizer = llama_tokenizer(["<pad>", "<s>", "</s>", "<image>"])
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

    tokenizer = byte_tokenizer(QWEN_SPECIAL)
    images = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size={"shortest_edge": 56 * 56, "longest_edge": 56 * 56})
    tokenizer.chat_template = template("<|vision_start|><|image_pad|><|vision_end|>")
    turns = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    text = {name: value for name, value in TEXT.items() if name != "head_dim"}
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
        text_config={**text, "vocab_size": len(tokenizer), "rope_parameters": turns},
        vision_config=vision,
        **QWEN_TOKENS,
    )
    return _save_parts(Qwen2_5_VLForConditionalGeneration(config), tokenizer, images, None, tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Qwen3-VL with random weights; its text model gets image tokens at three of its layers."""
    import torch
    from transformers import Qwen2VLImageProcessorPil, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = byte_tokenizer(QWEN_SPECIAL)
    tokenizer.chat_template = template("<|vision_start|><|image_pad|><|vision_end|>")
    images = Qwen2VLImageProcessorPil(patch_size=16, merge_size=2, size={"shortest_edge": 64 * 64, "longest_edge": 64 * 64})
    turns = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    vision = {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 64,
        "patch_size": 16,
        "deepstack_visual_indexes": [0, 1],
        "num_position_embeddings": 16,
    }
    torch.manual_seed(0)
    config = Qwen3VLConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer), "rope_parameters": turns},
        vision_config=vision,
        **QWEN_TOKENS,
    )
    return _save_parts(Qwen3VLForConditionalGeneration(config), tokenizer, images, None, tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="session")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Gemma 3 with random weights; the tokens of one image see each other in both directions."""
    import torch
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessorPil,
        Gemma3Processor,
        Gemma3TextConfig,
        SiglipVisionConfig,
    )

    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = llama_tokenizer(["<pad>", "<s>", "</s>", *named.values()])
    for name, token in named.items():
        setattr(tokenizer, name, token)
        setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
    tokenizer.init_kwargs.update(named)
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template="<s>" + template("<start_of_image>"),
    )
    torch.manual_seed(0)
    config = Gemma3Config(
        text_config=Gemma3TextConfig(**TEXT, vocab_size=len(tokenizer), sliding_window=32, query_pre_attn_scalar=16),
        vision_config=SiglipVisionConfig(**TOWER, image_size=28, patch_size=7),
        mm_tokens_per_image=4,
        boi_token_index=3,
        eoi_token_index=4,
        image_token_index=5,
    )
    return _save(Gemma3ForConditionalGeneration(config), processor, tmp_path_factory.mktemp("gemma"))


@pytest.fixture(scope="session")
def smolvlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a SmolVLM with random weights; like the hub's it says that frames be cut into tiles."""
    import torch
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil

    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"])
    tokenizer.chat_template = template("<image>")
    images = SmolVLMImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 56}, do_image_splitting=True)
    torch.manual_seed(0)
    config = SmolVLMConfig(
        text_config={"model_type": "llama", **TEXT, "vocab_size": len(tokenizer)},
        vision_config={**TOWER, "image_size": 56, "patch_size": 14},
        scale_factor=2,
        image_token_id=3,
        tie_word_embeddings=False,
        pad_token_id=0,
    )
    told = {"image_seq_len": 4, "processor_class": "SmolVLMProcessor"}
    return _save_parts(SmolVLMForConditionalGeneration(config), tokenizer, images, told, tmp_path_factory.mktemp("smolvlm"))


@pytest.fixture(scope="session")
def internvl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an InternVL with random weights; its processor cuts pictures into tiles unless it is told not to."""
    import torch
    from transformers import GotOcr2ImageProcessorPil, InternVLConfig, InternVLForConditionalGeneration

    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", "<IMG_CONTEXT>", "<img>", "</img>", "<video>"])
    tokenizer.chat_template = template("<IMG_CONTEXT>\n")
    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}
    tokenizer.init_kwargs.update(named)
    torch.manual_seed(0)
    text = {name: value for name, value in TEXT.items() if name != "head_dim"}
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **text, "vocab_size": len(tokenizer)},
        vision_config={**TOWER, "image_size": [28, 28], "patch_size": [7, 7]},
        image_token_id=3,
        image_seq_length=4,
    )
    told = {"image_seq_length": 4, "processor_class": "InternVLProcessor"}
    images = GotOcr2ImageProcessorPil(size={"height": 28, "width": 28}, crop_to_patches=True)
    return _save_parts(InternVLForConditionalGeneration(config), tokenizer, images, told, tmp_path_factory.mktemp("internvl"))


def _save_parts(model: Any, tokenizer: Any, images: Any, told: dict[str, Any] | None, folder: Path) -> Path:
    """Save as the hub's folders are: without torchvision there is no whole processor to save."""
    tokenizer.save_pretrained(folder)
    images.save_pretrained(folder)
    if told is not None:
        (folder / "processor_config.json").write_text(json.dumps(told))
    return _save(model, None, folder)


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
