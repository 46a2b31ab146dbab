"""Builds the untrained `etude-nano`: architecture, tokenizer and processor. `etude pretrain` then trains it to answer questions about frames.

It is an Idefics3 (the architecture of SmolVLM, arXiv 2504.05299) at 1/300 of its size: a SigLIP-style vision tower, pixel shuffle, and a Llama.
It is saved and loaded like any model of the hub, by `AutoModelForImageTextToText` and `AutoProcessor`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

SIZE = 64  # pixels, height and width of a frame
PATCH = 8  # pixels
SHUFFLE = 2  # 2 x 2 patches become one image token: 16 tokens a frame
BINS = 65  # number tokens <n0> .. <n64>, for coordinates, offsets and actions; an odd number, so that zero is the centre of a bin
IMAGE, FAKE, GLOBAL, END = "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"
GAIN = 4.0  # factor on the initial weights of the text model
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", IMAGE, FAKE, GLOBAL, END]
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ ' ' + part['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def build(corpus: Iterable[str], seed: int = 0) -> tuple[Idefics3ForConditionalGeneration, Idefics3Processor]:
    """Return an untrained model of about 1.7 M parameters, and its processor, whose tokenizer is trained on `corpus`.

    Args:
        corpus: texts of questions and answers.
        seed: for the initial weights.
    """
    tokenizer: Any = _tokenizer(corpus)
    images = Idefics3ImageProcessorPil(size={"longest_edge": SIZE}, max_image_size={"longest_edge": SIZE}, do_image_splitting=False, do_pad=False)
    tokens = (SIZE // PATCH // SHUFFLE) ** 2
    processor = Idefics3Processor(images, tokenizer, image_seq_len=tokens, chat_template=TEMPLATE)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.convert_tokens_to_ids("<pad>"),
        bos_token_id=tokenizer.convert_tokens_to_ids("<s>"),
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
    )
    vision = {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": SIZE,
        "patch_size": PATCH,
    }
    config = Idefics3Config(
        vision_config=vision,
        text_config=text,
        scale_factor=SHUFFLE,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Idefics3ForConditionalGeneration(config)
    with torch.no_grad():  # the usual standard deviation, 0.02, suits widths near 1,000; at 128 attention stays nearly uniform for long
        for parameter in model.model.text_model.layers.parameters():
            if parameter.ndim > 1:  # matrices, not the scales of norms
                parameter.mul_(GAIN)
    return model, processor


def inherit(model: Any, tokenizer: Any, base: Path) -> None:
    """Copy the weights of an earlier model into a new one. A token that the earlier tokenizer splits gets the mean embedding of its parts.

    Args:
        model: the result of `build`.
        tokenizer: of that model.
        base: folder of the earlier model, which must have the same architecture; its vocabulary may differ.

    Raises:
        ValueError: the architecture differs.
    """
    earlier, former = Idefics3ForConditionalGeneration.from_pretrained(base, dtype=torch.float32), PreTrainedTokenizerFast.from_pretrained(base)
    tokenise, known = former.backend_tokenizer.model.tokenize, former.get_vocab()
    parts = [
        [known[token]] if token in known else [part.id for part in tokenise(token)]
        for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    ]
    embeddings = earlier.get_input_embeddings().weight
    # Embeddings and the tied output layer are known by their shape: they are the only tensors that depend on the vocabulary.
    others = {name: value for name, value in earlier.state_dict().items() if value.shape != embeddings.shape}
    missing = [name for name, value in model.state_dict().items() if name not in others and value.shape != model.get_input_embeddings().weight.shape]
    if missing:
        raise ValueError(f"{base} has another architecture than etude-nano: it lacks {missing[0]}.")
    with torch.no_grad():
        model.load_state_dict(others, strict=False)
        model.get_input_embeddings().weight.copy_(torch.stack([embeddings[part].mean(0) for part in parts]))


def _tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a BPE tokenizer with byte fallback: frequent words of the corpus become one token each, and unknown characters become bytes."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=600, min_frequency=2, show_progress=False))
    # The trained vocabulary is put behind special, number and byte tokens, so those have the same ids whatever the corpus is.
    merges = [(left, right) for left, right in _merges(trained)]
    names = SPECIAL + [f"<n{i}>" for i in range(BINS)] + [f"<0x{byte:02X}>" for byte in range(256)]
    names += [token for token in sorted(trained.get_vocab()) if token not in names]
    vocabulary = {token: i for i, token in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens([f"<n{i}>" for i in range(BINS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token=END, unk_token="<unk>", padding_side="left"
    )


def _merges(tokenizer: Tokenizer) -> list[list[str]]:
    """Return the BPE merges. The library has no method for them; older versions of its JSON hold 'a b' instead of ['a', 'b']."""
    import json

    return [pair if isinstance(pair, list) else pair.split(" ") for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
