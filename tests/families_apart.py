"""Tiny models of families that have a part in an unusual place, that need torchvision, or that are refused."""

import json
from pathlib import Path
from typing import Any

import transformers as hf

from tests.pieces import PLAIN, TEXT, TOWER, byte_tokenizer, llama_tokenizer, save_parts, template


def deepseek_vl(folder: Path) -> None:
    """Only its inner model encodes images."""
    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", "<image_placeholder>"])
    tokenizer.chat_template = template("<image_placeholder>")
    tokenizer.init_kwargs["image_token"] = "<image_placeholder>"
    config = hf.DeepseekVLConfig(
        text_config=hf.LlamaConfig(**PLAIN, vocab_size=len(tokenizer)),
        vision_config=hf.SiglipVisionConfig(**TOWER, image_size=28, patch_size=14, vision_use_head=False),
        image_token_id=3,
    )
    images = hf.DeepseekVLImageProcessorPil(size={"height": 28, "width": 28}, min_size=14)
    told = {"processor_class": "DeepseekVLProcessor", "num_image_tokens": 4}
    save_parts(hf.DeepseekVLForConditionalGeneration(config), tokenizer, images, told, folder)


def llava_next_video(folder: Path) -> None:
    """As LLaVA-NeXT, with a processor whose video part comes first."""
    tokenizer, grid = llama_tokenizer(["<pad>", "<s>", "</s>", "<image>", "<video>"]), [[28, 56], [56, 28], [56, 56]]
    tokenizer.chat_template = template("<image>\n")
    config = hf.LlavaNextVideoConfig(
        vision_config=hf.CLIPVisionConfig(**TOWER, image_size=28, patch_size=14),
        text_config=hf.LlamaConfig(**PLAIN, vocab_size=len(tokenizer)),
        image_token_index=3,
        video_token_index=4,
        image_grid_pinpoints=grid,
        vision_feature_layer=-2,
    )
    images = hf.LlavaNextImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=grid)
    told = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    save_parts(hf.LlavaNextVideoForConditionalGeneration(config), tokenizer, images, {"processor_class": "LlavaNextVideoProcessor", **told}, folder)


def gemma4(folder: Path) -> None:
    """Gemma 4 E: layers that share keys and values, embeddings of each layer, capped logits; its processor must be given a video part."""
    named = {"boi_token": "<|image>", "eoi_token": "<image|>", "image_token": "<|image|>", "audio_token": "<|audio|>"}
    named |= {"boa_token": "<|audio>", "eoa_token": "<audio|>"}
    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", *named.values(), "<|video|>"])
    tokenizer.init_kwargs.update(named)
    tokenizer.chat_template = template("<|image|>")
    layers = {"num_hidden_layers": 3, "layer_types": ["sliding_attention", "full_attention", "full_attention"], "num_kv_shared_layers": 1}
    text: dict[str, Any] = {
        **TEXT,
        **layers,
        "vocab_size": len(tokenizer),
        "sliding_window": 32,
        "global_head_dim": 16,
        "num_global_key_value_heads": 2,
    }
    own = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": len(tokenizer), "final_logit_softcapping": 0.5}
    eye = {"num_key_value_heads": 2, "head_dim": 16, "patch_size": 14, "pooling_kernel_size": 2, "position_embedding_size": 64}
    tokens: dict[str, Any] = {"boi_token_id": 3, "eoi_token_id": 4, "image_token_id": 5, "audio_token_id": 6, "video_token_id": 9}
    config = hf.Gemma4Config(text_config={**text, **own}, vision_config={**TOWER, **eye, "default_output_length": 70}, audio_config=None, **tokens)
    images = hf.Gemma4ImageProcessorPil(patch_size=14, pooling_kernel_size=2, max_soft_tokens=70)
    save_parts(hf.Gemma4ForConditionalGeneration(config), tokenizer, images, {"processor_class": "Gemma4Processor"}, folder)


def mistral3(folder: Path) -> None:
    """Its processor needs torchvision."""
    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", "[IMG]", "[IMG_BREAK]", "[IMG_END]"])
    tokenizer.chat_template = template("[IMG]")
    config = hf.Mistral3Config(
        text_config={"model_type": "mistral", **TEXT, "vocab_size": len(tokenizer)},
        vision_config={"model_type": "pixtral", **TOWER, "head_dim": 16, "image_size": 56, "patch_size": 14},
        image_token_index=3,
        spatial_merge_size=2,
    )
    images = hf.PixtralImageProcessorPil(size={"longest_edge": 56}, patch_size={"height": 14, "width": 14})
    told = {"processor_class": "PixtralProcessor", "patch_size": 14, "spatial_merge_size": 2}
    save_parts(hf.Mistral3ForConditionalGeneration(config), tokenizer, images, told, folder)


def lfm2(folder: Path) -> None:
    """Its processor needs torchvision."""
    named = {"image_token": "<image>", "image_start_token": "<|image_start|>", "image_end_token": "<|image_end|>"}
    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", *named.values(), "<|img_thumbnail|>"])
    tokenizer.chat_template = template("<image>")
    text = {**PLAIN, "vocab_size": len(tokenizer), "layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}
    config = hf.Lfm2VlConfig(
        text_config={"model_type": "lfm2", **text},
        vision_config={"model_type": "siglip2_vision_model", **TOWER, "patch_size": 14, "num_patches": 16, "vision_use_head": False},
        image_token_id=3,
        projector_hidden_size=64,
    )
    hf.Lfm2VlForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    told = {"image_processor_type": "Lfm2VlImageProcessor", "tile_size": 56, "encoder_patch_size": 14, "max_num_patches": 16, "max_image_tokens": 4}
    (folder / "preprocessor_config.json").write_text(json.dumps({**told, "min_image_tokens": 1, "processor_class": "Lfm2VlProcessor"}))
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Lfm2VlProcessor"}))


def ovis2(folder: Path) -> None:
    """Its text model reads more of the vision tower than image tokens, which etude does not keep."""
    special = ["<image>", "<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", *special])
    tokenizer.chat_template = template("<image>")
    eye = {**TOWER, "image_size": 28, "patch_size": 7, "vocab_size": 64, "num_visual_indicator_tokens": 5, "hidden_stride": 2}
    text = {"model_type": "qwen2", **PLAIN, "vocab_size": len(tokenizer)}
    tokens: dict[str, Any] = {"image_token_id": 4, "visual_indicator_token_ids": [5, 6, 7, 8, 9]}
    config = hf.Ovis2Config(text_config=text, vision_config=eye, hidden_size=64, vocab_size=len(tokenizer), **tokens)
    images = hf.Ovis2ImageProcessorPil(size={"height": 28, "width": 28}, crop_to_patches=False)
    told = {"processor_class": "Ovis2Processor", "image_seq_length": 4}
    save_parts(hf.Ovis2ForConditionalGeneration(config), tokenizer, images, told, folder)


def florence2(folder: Path) -> None:
    """An encoder and a decoder, which etude refuses."""
    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", "<image>"])
    sides = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))}
    text = {"model_type": "bart", "d_model": 32, "vocab_size": len(tokenizer), **sides}
    tower = {"depths": (1,), "patch_size": (7,), "patch_stride": (4,), "patch_padding": (3,), "patch_prenorm": (False,)}
    eye = {**tower, "embed_dim": (32,), "num_heads": (2,), "num_groups": (2,), "window_size": 4, "projection_dim": 32}
    config = hf.Florence2Config(text_config=text, vision_config=eye, image_token_id=3)
    images = hf.CLIPImageProcessorPil(size={"height": 28, "width": 28}, crop_size={"height": 28, "width": 28})
    save_parts(hf.Florence2ForConditionalGeneration(config), tokenizer, images, {"processor_class": "Florence2Processor"}, folder)
