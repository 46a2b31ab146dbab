"""Tiny models of every family with random weights, saved to folders as the hub has them, and loaded through the path that a hub id takes."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.families_apart import deepseek_vl, florence2, gemma4, lfm2, llava_next_video, mistral3, ovis2
from tests.pieces import PLAIN, TEXT, TOWER, byte_tokenizer, llama_tokenizer, save, save_parts, template

EYE = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}  # of Qwen-VL
QWEN_SPECIAL = ["<pad>", "<s>", "</s>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
QWEN_TOKENS = {"image_token_id": 5, "video_token_id": 6, "vision_start_token_id": 3, "vision_end_token_id": 4, "tie_word_embeddings": False}
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
ROTARY = {"rope_type": "default", "rope_theta": 10000.0}
IDEFICS_SPECIAL = ["<pad>", "<s>", "</s>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]


def llava(folder: Path) -> None:
    tokenizer = llama_tokenizer(["<pad>", "<s>", "</s>", "<image>"])
    processor = hf.LlavaProcessor(
        image_processor=hf.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=template("<image>"),
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**TOWER, image_size=28, patch_size=14),
        text_config=hf.LlamaConfig(**PLAIN, vocab_size=len(tokenizer)),
        image_token_index=3,
        image_seq_length=4,
        vision_feature_layer=-1,
    )
    save(hf.LlavaForConditionalGeneration(config), processor, folder)


def llava_next(folder: Path) -> None:
    """Cuts a frame into tiles, unless it is told not to."""
    tokenizer, grid = llama_tokenizer(["<pad>", "<s>", "</s>", "<image>"]), [[28, 56], [56, 28], [56, 56]]
    processor = hf.LlavaNextProcessor(
        image_processor=hf.LlavaNextImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=grid),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=template("<image>\n"),
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**TOWER, image_size=28, patch_size=14),
        text_config=hf.MistralConfig(**PLAIN, vocab_size=len(tokenizer)),
        image_token_index=3,
        image_grid_pinpoints=grid,
        vision_feature_layer=-2,
    )
    save(hf.LlavaNextForConditionalGeneration(config), processor, folder)


def llava_onevision(folder: Path) -> None:
    """Cuts a frame into tiles where it is alone, unless it is told not to."""
    tokenizer, grid = byte_tokenizer(["<pad>", "<s>", "</s>", "<image>", "<video>"]), [[28, 28], [28, 56], [56, 28], [56, 56]]
    tokenizer.chat_template = template("<image>\n")
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**TOWER, image_size=28, patch_size=14, vision_use_head=False),
        text_config=hf.Qwen2Config(**PLAIN, vocab_size=len(tokenizer)),
        image_token_index=3,
        video_token_index=4,
        image_grid_pinpoints=grid,
        vision_feature_layer=-1,
    )
    images = hf.LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=grid)
    told = {"processor_class": "LlavaOnevisionProcessor", "num_image_tokens": 4, "vision_feature_select_strategy": "full"}
    save_parts(hf.LlavaOnevisionForConditionalGeneration(config), tokenizer, images, told, folder)


def qwen2(folder: Path) -> None:
    """Qwen2-VL."""
    tokenizer = byte_tokenizer(QWEN_SPECIAL)
    tokenizer.chat_template = template(QWEN_IMAGE)
    config = hf.Qwen2VLConfig(
        text_config={**PLAIN, "vocab_size": len(tokenizer), "rope_parameters": {**ROTARY, "mrope_section": [2, 3, 3]}},
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14},
        **QWEN_TOKENS,
    )
    images = hf.Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size={"shortest_edge": 56 * 56, "longest_edge": 56 * 56})
    save_parts(hf.Qwen2VLForConditionalGeneration(config), tokenizer, images, None, folder)


def qwen(folder: Path) -> None:
    """Qwen2.5-VL."""
    tokenizer = byte_tokenizer(QWEN_SPECIAL)
    tokenizer.chat_template = template(QWEN_IMAGE)
    config = hf.Qwen2_5_VLConfig(
        text_config={**PLAIN, "vocab_size": len(tokenizer), "rope_parameters": {**ROTARY, "mrope_section": [2, 3, 3]}},
        vision_config={**EYE, "fullatt_block_indexes": [1], "patch_size": 14},
        **QWEN_TOKENS,
    )
    images = hf.Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size={"shortest_edge": 56 * 56, "longest_edge": 56 * 56})
    save_parts(hf.Qwen2_5_VLForConditionalGeneration(config), tokenizer, images, None, folder)


def qwen3(folder: Path) -> None:
    """Qwen3-VL: its text model gets image tokens at three of its layers."""
    tokenizer = byte_tokenizer(QWEN_SPECIAL)
    tokenizer.chat_template = template(QWEN_IMAGE)
    turns = {**ROTARY, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    config = hf.Qwen3VLConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer), "rope_parameters": turns},
        vision_config={**EYE, "depth": 3, "patch_size": 16, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 16},
        **QWEN_TOKENS,
    )
    images = hf.Qwen2VLImageProcessorPil(patch_size=16, merge_size=2, size={"shortest_edge": 64 * 64, "longest_edge": 64 * 64})
    save_parts(hf.Qwen3VLForConditionalGeneration(config), tokenizer, images, None, folder)


def qwen3_5(folder: Path) -> None:
    """Qwen3.5: every other layer has linear attention, whose cache is a state. Its template opens a thought unless it is told not to."""
    tokenizer = byte_tokenizer(QWEN_SPECIAL)
    thought = "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% else %}<think>{% endif %}"
    tokenizer.chat_template = template(QWEN_IMAGE).replace("assistant:", "assistant:" + thought)
    turns = {**ROTARY, "mrope_section": [2, 1, 1], "mrope_interleaved": True, "partial_rotary_factor": 0.5}
    linear = {"linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4}
    kinds = {"layer_types": ["linear_attention", "full_attention"]}
    config = hf.Qwen3_5Config(
        text_config={**TEXT, **linear, **kinds, "vocab_size": len(tokenizer), "rope_parameters": turns},
        vision_config={**EYE, "patch_size": 16, "num_position_embeddings": 16},
        **QWEN_TOKENS,
    )
    images = hf.Qwen2VLImageProcessorPil(patch_size=16, merge_size=2, size={"shortest_edge": 64 * 64, "longest_edge": 64 * 64})
    save_parts(hf.Qwen3_5ForConditionalGeneration(config), tokenizer, images, {"processor_class": "Qwen3VLProcessor"}, folder)


def glm4v(folder: Path) -> None:
    """GLM-4.1V: projections of queries, keys and values are apart, those of the MLP are fused."""
    tokens = {"image_start": 3, "image_end": 4, "video_start": 5, "video_end": 6, "image": 7, "video": 8}
    special = ["<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<|image|>", "<|video|>"]
    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", *special])
    tokenizer.chat_template = template("<|begin_of_image|><|image|><|end_of_image|>")
    config = hf.Glm4vConfig(
        text_config={**PLAIN, "vocab_size": len(tokenizer), "rope_parameters": {**ROTARY, "mrope_section": [2, 3, 3]}},
        vision_config={**EYE, "image_size": 56, "patch_size": 14},
        **{f"{name}_token_id": token for name, token in tokens.items()},
        tie_word_embeddings=False,
    )
    images = hf.Glm4vImageProcessorPil(patch_size=14, merge_size=2, size={"shortest_edge": 56 * 56, "longest_edge": 2 * 56 * 56})
    save_parts(hf.Glm4vForConditionalGeneration(config), tokenizer, images, {"processor_class": "Glm4vProcessor"}, folder)


def paligemma(folder: Path) -> None:
    """Has no chat template, and its prompt attends in both directions."""
    _paligemma(folder, hf.GemmaConfig)


def paligemma2(folder: Path) -> None:
    """As PaliGemma, with a text model that has no `sdpa`, and whose logits are capped."""
    _paligemma(folder, hf.Gemma2Config, query_pre_attn_scalar=16, sliding_window=4096, final_logit_softcapping=0.5)


def _paligemma(folder: Path, kind: Any, **text: Any) -> None:
    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", "<image>"])
    images = hf.SiglipImageProcessorPil(size={"height": 28, "width": 28})
    images.image_seq_length = 4
    processor = hf.PaliGemmaProcessor(image_processor=images, tokenizer=tokenizer)
    config = hf.PaliGemmaConfig(
        text_config=kind(**TEXT, **text, vocab_size=len(processor.tokenizer)),
        vision_config=hf.SiglipVisionConfig(**TOWER, image_size=28, patch_size=14, vision_use_head=False),
        image_token_index=3,
        projection_dim=64,
        vocab_size=len(processor.tokenizer),
    )
    save(hf.PaliGemmaForConditionalGeneration(config), processor, folder)


def gemma(folder: Path) -> None:
    """Gemma 3: the tokens of one image see each other in both directions."""
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = llama_tokenizer(["<pad>", "<s>", "</s>", *named.values()])
    for name, token in named.items():
        setattr(tokenizer, name, token)
        setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
    tokenizer.init_kwargs.update(named)
    processor = hf.Gemma3Processor(
        image_processor=hf.Gemma3ImageProcessorPil(size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template="<s>" + template("<start_of_image>"),
    )
    config = hf.Gemma3Config(
        text_config=hf.Gemma3TextConfig(**TEXT, vocab_size=len(tokenizer), sliding_window=32, query_pre_attn_scalar=16),
        vision_config=hf.SiglipVisionConfig(**TOWER, image_size=28, patch_size=7),
        mm_tokens_per_image=4,
        boi_token_index=3,
        eoi_token_index=4,
        image_token_index=5,
    )
    model = hf.Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.2)  # zero at first: it would see nothing
    save(model, processor, folder)


def smolvlm(folder: Path) -> None:
    """SmolVLM and SmolVLM2; like the hub's it says that frames be cut into tiles."""
    tokenizer = byte_tokenizer(IDEFICS_SPECIAL)
    tokenizer.chat_template = template("<image>")
    images = hf.SmolVLMImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 56}, do_image_splitting=True)
    config = hf.SmolVLMConfig(
        text_config={"model_type": "llama", **TEXT, "vocab_size": len(tokenizer)},
        vision_config={**TOWER, "image_size": 56, "patch_size": 14},
        scale_factor=2,
        image_token_id=3,
        tie_word_embeddings=False,
        pad_token_id=0,
    )
    told = {"image_seq_len": 4, "processor_class": "SmolVLMProcessor"}
    save_parts(hf.SmolVLMForConditionalGeneration(config), tokenizer, images, told, folder)


def idefics2(folder: Path) -> None:
    """Resamples an image of any size to so many tokens; wants a list of images for each prompt."""
    tokenizer = byte_tokenizer(IDEFICS_SPECIAL)
    processor = hf.Idefics2Processor(
        image_processor=hf.Idefics2ImageProcessorPil(size={"shortest_edge": 56, "longest_edge": 56}, do_image_splitting=True),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=template("<image>"),
    )
    config = hf.Idefics2Config(
        text_config={"model_type": "mistral", **TEXT, "vocab_size": len(processor.tokenizer), "pad_token_id": 0},
        vision_config={**TOWER, "image_size": 56, "patch_size": 14},
        perceiver_config={
            "hidden_size": 64,
            "resampler_n_latents": 4,
            "resampler_depth": 1,
            "resampler_n_heads": 4,
            "resampler_head_dim": 16,
            "num_key_value_heads": 2,
        },
        image_token_id=3,
    )
    save(hf.Idefics2ForConditionalGeneration(config), processor, folder)


def internvl(folder: Path) -> None:
    """InternVL 3; its processor cuts pictures into tiles unless it is told not to."""
    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", "<IMG_CONTEXT>", "<img>", "</img>", "<video>"])
    tokenizer.chat_template = template("<IMG_CONTEXT>\n")
    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}
    tokenizer.init_kwargs.update(named)
    config = hf.InternVLConfig(
        text_config={"model_type": "qwen2", **PLAIN, "vocab_size": len(tokenizer)},
        vision_config={**TOWER, "image_size": [28, 28], "patch_size": [7, 7]},
        image_token_id=3,
        image_seq_length=4,
    )
    told = {"image_seq_length": 4, "processor_class": "InternVLProcessor"}
    images = hf.GotOcr2ImageProcessorPil(size={"height": 28, "width": 28}, crop_to_patches=True)
    save_parts(hf.InternVLForConditionalGeneration(config), tokenizer, images, told, folder)


OWN = (llava, llava_next, llava_onevision, qwen2, qwen, qwen3, qwen3_5, glm4v, paligemma, paligemma2, gemma, smolvlm, idefics2, internvl)
PLAIN_WORK = (*OWN, gemma4)
TORCHVISION = (mistral3, lfm2)
MAKERS = {each.__name__: each for each in (*PLAIN_WORK, deepseek_vl, llava_next_video, *TORCHVISION, ovis2, florence2)}
FAMILIES = ["nano", *(each.__name__ for each in (*PLAIN_WORK, *(TORCHVISION if find_spec("torchvision") else ())))]
"""Those that work here: some only with torchvision."""


def make(family: str, folder: Path) -> Path:
    """Write a tiny model of a family to a folder, and return the folder."""
    torch.manual_seed(0)
    MAKERS[family](folder)
    return folder
