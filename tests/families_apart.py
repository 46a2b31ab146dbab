"""Tiny models of families that need torchvision, or are refused."""

import json
from pathlib import Path

import transformers as hf

from tests.pieces import PLAIN, TEXT, TOWER, byte_tokenizer, save_parts, template


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
