"""Pieces of tiny models: two kinds of tokenizer, a chat template, and the way in which folders of the hub are written."""

import json
from pathlib import Path
from typing import Any

import transformers as hf

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
PLAIN = {name: value for name, value in TEXT.items() if name != "head_dim"}  # for classes that compute it
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def byte_tokenizer(special: list[str]) -> Any:
    """A byte-level tokenizer without merges: every model family can live with it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*special, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=special[0], bos_token=special[1], eos_token=special[2])


def llama_tokenizer(special: list[str]) -> Any:
    """As LLaVA's: what begins a text, after its specials, gets a space of its own, and every text a `<s>`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    merges = [("▁", "y"), ("▁", "n")]  # "yes" and "no" begin with tokens of their own
    alphabet = ["▁", "\n", *(chr(i) for i in range(33, 127)), *map("".join, merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*special, *alphabet])}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(special)
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=special[0], bos_token=special[1], eos_token=special[2])


def llama1_tokenizer(special: list[str]) -> Any:
    """As Llama 1's: every text gets a space before it, also one that begins with a space."""
    from tokenizers import normalizers, pre_tokenizers

    tokenizer = llama_tokenizer(special)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def template(image: str) -> str:
    """A chat template that writes `image` for each image."""
    parts = "{% for part in message['content'] %}{% if part['type'] == 'image' %}" + image + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    return "{% for message in messages %}{{ message['role'] }}: " + parts + "\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"


def save_parts(model: Any, tokenizer: Any, images: Any, told: dict[str, Any] | None, folder: Path) -> None:
    """Save as the hub's folders are: without torchvision there is no whole processor to save."""
    tokenizer.save_pretrained(folder)
    images.save_pretrained(folder)
    if told is not None:
        (folder / "processor_config.json").write_text(json.dumps(told))
    save(model, None, folder)


def save(model: Any, processor: Any, folder: Path) -> None:
    """Save a model, and its processor where it is whole."""
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
