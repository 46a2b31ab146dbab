"""Every family through one path: equal to the plain whole model, from pixels, when it acts, learns, is asked and is asked with gradients."""

from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from policies import PolicyConfig, families, load
from policies.checkpointing import gradient_checkpointing
from policies.policy import Situation
from policies.prompts import THOUGHTS
from policies.scoring import choice_probabilities, localise, score
from tests.families import FAMILIES
from tests.policies.test_pixels import CALLED
from tests.policies.test_vlm import HIGH, LOW, make

OTHERS = [family for family in FAMILIES if family != "nano"]
PROJECTIONS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
QUESTION = "is it done: touch the red ball ?"


def whole(policy: Any, text: str, frames: np.ndarray, reply: np.ndarray) -> torch.Tensor:
    """Logits [J, V] that predict a reply and what follows it, from the processor's output and pixels alone."""
    inputs, extra = dict(policy.prompts.whole(policy.prompts.chat(text, len(frames)), frames)), torch.as_tensor(reply)[None]
    types = {"attention_mask": 1, "mm_token_type_ids": 0, "token_type_ids": 1 if policy.base.config.model_type == "paligemma" else 0}
    for name, value in types.items():
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.full_like(extra, value)], dim=1)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], extra], dim=1)
    return policy.base(**inputs).logits[0, -1 - len(reply) :]


@pytest.mark.parametrize("family", OTHERS)
@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (2, 48, 64, 3)])
def test_each_family_equals_its_plain_whole_model(family: str, shape: tuple[int, ...], request: Any, situations: list[Situation]) -> None:
    policy, rng = make(family, request), np.random.default_rng(3)
    seen = [replace(each, frames=rng.integers(0, 255, shape, dtype=np.uint8)) for each in situations[:3]]
    assert (policy.pixels.recipe(shape[1:3]) is None) == (family in CALLED)
    decisions = policy.act(seen, rng.random((3, policy.reply_length)))
    tokens = np.stack([each.tokens for each in decisions])
    with torch.no_grad():
        logits = torch.stack([whole(policy, policy.config.ask(s.instruction), s.frames, row[:-1]) for s, row in zip(seen, tokens, strict=True)])
        plain = policy.picked(policy._log_softmax(logits, policy.codec.masks(tokens)), tokens).numpy()
    np.testing.assert_allclose(np.stack([each.logprobs for each in decisions]), plain, atol=1e-5)  # acting
    np.testing.assert_allclose(policy.logprobs(seen, tokens).detach().numpy(), plain, atol=1e-5)  # learning
    words = [policy.processor.tokenizer.encode(word, add_special_tokens=False)[0] for word in ("yes", "no")]
    assert words[0] != words[1]
    with torch.no_grad():
        yes = [whole(policy, QUESTION, s.frames, np.zeros(0, np.int64))[-1, words].softmax(-1)[0].item() for s in seen]
    assert len(set(yes)) == 3
    np.testing.assert_allclose([policy.probability(QUESTION, s.frames) for s in seen], yes, atol=1e-5)
    np.testing.assert_allclose(choice_probabilities(policy, [s.frames for s in seen], [QUESTION] * 3)[:, 0], yes, atol=1e-5)  # detector


@pytest.mark.parametrize("family", OTHERS)
def test_what_is_learnt_of_an_answer_is_what_the_whole_model_learns(family: str, request: Any, situations: list[Situation]) -> None:
    policy, frames = make(family, request), situations[0].frames
    tokens = policy.processor.tokenizer.encode("12 34", add_special_tokens=False)
    weights = [p for p in policy.parameters() if p.requires_grad]
    target = torch.tensor(tokens)[:, None]
    policy.features([frames])  # cached without gradients, as in training
    plain = whole(policy, QUESTION, frames, np.array(tokens[:-1])).log_softmax(-1).gather(1, target).sum()
    expected = torch.autograd.grad(plain, weights, allow_unused=True)
    largest = max(float(each.abs().max()) for each in expected if each is not None)
    for checkpointing in (False, True):
        with gradient_checkpointing(policy.model) if checkpointing else nullcontext():
            questions = [[("where ?", "no"), (QUESTION, "12 34")], [("what is it ?", "yes")]]
            asked = score(policy, policy.features([frames] * 2), [frames] * 2, questions, cached=not checkpointing)
            mine = (asked.owner == [0, 1]).all(1)
            got = torch.autograd.grad(asked.logprobs[mine][:-1].sum(), weights, allow_unused=True)  # without the end of text
        for one, other in zip(expected, got, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                torch.testing.assert_close(one, other, atol=1e-5 * max(1.0, largest), rtol=1e-4)


@pytest.mark.parametrize("family", OTHERS)
def test_with_all_weights_trained_the_vision_tower_learns_too(family: str, request: Any, situations: list[Situation]) -> None:
    policy, frames = make(family, request, train="all"), [each.frames for each in situations[:2]]
    tower = [p for name, p in policy.base.named_parameters() if "vision" in name or "visual" in name]
    tokens = np.stack([each.tokens for each in policy.act(situations[:2], None)])
    for loss in (policy.logprobs(situations[:2], tokens), score(policy, policy.features(frames), frames, [[(QUESTION, "12 34")]] * 2).logprobs):
        policy.model.zero_grad()
        loss.sum().backward()
        assert sum(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in tower) > len(tower) / 2


@pytest.mark.parametrize("family", OTHERS)
def test_a_frame_is_one_piece_and_a_phrase_is_found_in_it(family: str, request: Any, situations: list[Situation]) -> None:
    policy = make(family, request)
    features = policy.features([each.frames for each in situations[:2]])
    tokens = {"llava_next": 5, "llava_onevision": 5, "gemma4": 64}.get(family, 4)  # LLaVA's end with one more; Gemma 4 enlarges a frame
    assert features.shape[1] == 2 * tokens
    near, phrase = localise(policy, features, [0, 1], ["red ball", "blue ball"])
    assert near.shape == (2, 2 * tokens) and phrase.shape == (2, 64)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("llava", PROJECTIONS),
        ("glm4v", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"}),
        ("qwen3_5", {*(f"in_proj_{part}" for part in ("qkv", "z", "a", "b")), "out_proj", *PROJECTIONS}),
    ],
)  # fmt: skip
def test_adapters_sit_on_every_linear_layer_of_the_text_model(family: str, expected: set[str], request: Any) -> None:
    policy = make(family, request)
    names = families.lora_targets(policy.base)
    assert {name.split(".")[-1] for name in names} == expected and all("language_model" in name for name in names)
    with pytest.raises(ValueError, match=r"target_modules names 'nothere', and the model has no such linear layer; its text model has"):
        families.lora_targets(policy.base, [min(expected), "nothere"])
    for part in policy.base.modules():  # as quantised models have it: none of their layers is a plain linear one
        for name, child in list(part.named_children()):
            if isinstance(child, torch.nn.Linear) and "language_model" not in name and child is not policy.base.lm_head:
                setattr(part, name, torch.nn.Identity())
    with pytest.raises(ValueError, match=r"needs linear layers in the text model, .* of these names alone: lm_head; set policy\.train to text"):
        families.lora_targets(policy.base)


def test_a_model_keeps_its_first_layers(request: Any, situations: list[Situation]) -> None:
    for family in ("smolvlm", "qwen2", "gemma"):
        full, short = make(family, request), make(family, request, layers=1)
        blocks = families.text_model(full.base).layers
        assert len(families.text_model(short.base).layers) == 1
        families.text_model(full.base).layers = blocks[:1]
        for one, other in zip(full.act(situations, None), short.act(situations, None), strict=True):
            np.testing.assert_array_equal(one.logprobs, other.logprobs)
    with pytest.raises(ValueError, match=r"policy\.layers is 3, and its text model has 2 layers; give fewer"):
        make("smolvlm", request, layers=3)
    with pytest.raises(ValueError, match=r"policy\.layers is 1, and the first attention layer of its text model is number 2; give that or more"):
        make("qwen3_5", request, layers=1)


def test_a_model_with_a_decoder_of_its_own_is_refused(request: Any) -> None:
    with pytest.raises(ValueError, match="florence2 has an encoder and a decoder, and a model is needed that continues its prompt"):
        make("florence2", request)


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="with torchvision they work")
@pytest.mark.parametrize("family", ["mistral3", "lfm2"])
def test_what_needs_torchvision_says_so(family: str, request: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot be loaded: its processor is written for torchvision, .*: pip install torchvision\.$"):
        make(family, request)


def test_where_a_model_lacks_a_kernel_transformers_chooses_another(request: Any) -> None:
    assert make("paligemma2", request).base.config.get_text_config()._attn_implementation == "eager"
    assert make("paligemma", request).base.config.get_text_config()._attn_implementation == "sdpa"


@pytest.mark.parametrize("asks", [True, False])
def test_no_action_stands_inside_an_open_thought(asks: bool, request: Any) -> None:
    policy = make("qwen3_5", request)
    if not asks:  # as the templates of models that always think
        policy.processor.chat_template = policy.processor.chat_template.replace("enable_thinking", "something_else")
    chat = policy.prompts.chat("touch it", 1)
    assert chat.count("<think>") == chat.count("</think>") == 1
    assert chat.endswith("<think></think>" if asks else "<think>\n</think>\n\n")


@pytest.mark.parametrize(("begin", "end"), THOUGHTS.items())
def test_thoughts_of_any_spelling_are_closed_and_those_of_the_user_left(begin: str, end: str, request: Any) -> None:
    policy = make("llava", request)
    assert policy.prompts.chat(f"{begin} touch it", 1).count(end) == 0
    policy.processor.chat_template += begin
    assert policy.prompts.chat("reach it", 1).endswith(f"{begin}\n{end}\n\n")


def test_the_embedded_model_reads_capitals_as_it_knows_them(request: Any, situations: list[Situation]) -> None:
    policy = load(PolicyConfig(), LOW, HIGH)
    shouted = [replace(each, instruction=each.instruction.title()) for each in situations]
    for one, other in zip(policy.act(situations, None), policy.act(shouted, None), strict=True):
        np.testing.assert_array_equal(one.logprobs, other.logprobs)
    one, other = (choice_probabilities(policy, [situations[0].frames], [question]) for question in (QUESTION, QUESTION.upper()))
    np.testing.assert_array_equal(one, other)
    other = make("smolvlm", request)
    assert other.prompts.chat("Touch The Ball", 1) != other.prompts.chat("touch the ball", 1)
