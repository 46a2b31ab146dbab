"""What a model is asked: the state in the numbers of the codec, errors in one sentence, a bounded memory."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies import PolicyConfig, load
from policies.policy import Situation
from tests.families import FAMILIES
from tests.policies.test_vlm import HIGH, LOW, make


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_tells_what_the_robot_feels(family: str, request: Any, situations: list[Situation]) -> None:
    policy = make(family, request, prompt="{state} {instruction} : how far ?", state={4: (0.0, 2.0), 1: (-1.0, 1.0)})
    felt = [replace(situations[0], state=np.array([9, each, 9, 9, 1], np.float32)) for each in (0.0, 0.0, 0.9, 7.0, 1.0)]
    tokens = policy.act(felt[:1], None)[0].tokens[None].repeat(5, 0)
    same, again, other, beyond, end = policy.logprobs(felt, tokens).sum(1).tolist()
    assert same == again and same != other and beyond == end  # beyond the range a number stays at its end
    with pytest.raises(ValueError, match=r"policy\.state names place 4, and the environment has 3 numbers in its state"):
        policy.act([replace(situations[0], state=np.zeros(3, np.float32))], None)
    with pytest.raises(ValueError, match=r"has no state; see env\.state"):
        policy.act(situations[:1], None)
    asked = [policy.prompts.of(replace(situations[0], state=np.full(5, each, np.float32)))["input_ids"][0] for each in (1.0, np.nan)]
    told = [policy.processor.tokenizer.decode(tokens) for tokens in asked]
    numbers = ("<n32><n64>", "<n0><n32>") if family == "nano" else (" 50 99", " 00 50")
    assert all(number in text for number, text in zip(numbers, told, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_chat_begins_once(family: str, request: Any, situations: list[Situation]) -> None:
    """LLaVA's tokenizer writes the beginning, Gemma's template does too, PaliGemma's writes it behind the images, and the others write none."""
    policy = make(family, request)
    tokens, start = policy.prompts.of(situations[0])["input_ids"][0].tolist(), policy.processor.tokenizer.bos_token_id
    assert tokens.count(start) == (family in ("llava", "llava_next", "gemma", "paligemma", "paligemma2"))
    assert not tokens.count(start) or tokens.index(start) == (8 if "pali" in family else 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_instruction_that_names_an_image_is_refused(family: str, request: Any, situations: list[Situation]) -> None:
    policy = make(family, request)
    mark = getattr(policy.processor, "image_token", "<image>")
    with pytest.raises(ValueError, match=rf"hold {re.escape(str(mark))}, which stands for a frame in this model's prompts"):
        policy.act([replace(situations[0], instruction=f"touch the {mark} ball")], None)


@pytest.mark.parametrize(
    ("family", "mark"), [("qwen3", "<|video_pad|>"), ("gemma", "<image_soft_token>"), ("glm4v", "<|video|>"), ("internvl", "<video>")]
)
def test_an_instruction_that_names_any_picture_or_video_is_refused(family: str, mark: str, request: Any, situations: list[Situation]) -> None:
    with pytest.raises(ValueError, match=rf"hold {re.escape(mark)}, which stands for a frame in this model's prompts"):
        make(family, request).act([replace(situations[0], instruction=f"touch the {mark} ball")], None)


@pytest.mark.parametrize("ends", [False, True])
def test_a_chat_begins_once_where_no_word_says_how(ends: bool, request: Any) -> None:
    policy = make("llava", request)
    tokenizer, frames = policy.processor.tokenizer, np.zeros((1, 64, 64, 3), np.uint8)
    if ends:
        from tokenizers.processors import TemplateProcessing

        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer.bos_token = None
    own = policy.processor.chat_template
    for written in (own, "<s>" + own):
        policy.processor.chat_template = written
        policy.prompts.chat.cache_clear()
        tokens = policy.prompts.tokenised(policy.prompts.chat("touch it", 1), frames)["input_ids"][0].tolist()
        assert tokens[0] == 1 and tokens.count(1) == 1 and 2 not in tokens


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"prompt": "{state} {instruction}"}, "give both, or neither"),
        ({"state": {0: (0, 1)}}, "give both, or neither"),
        ({"prompt": "{state}", "state": {0: (1, 1)}}, "range in policy.state is empty"),
        ({"prompt": "{ instruction }"}, r"nothing replaces \{ instruction \}; the placeholders here are \{instruction\}"),
        ({"prompt": "do {{instruction}}"}, r"nothing replaces \{\{instruction\}\}"),
        ({"prompt": "{the instruction}"}, r"nothing replaces \{the instruction\}"),
        ({"prompt": "do {instruction"}, r"nothing replaces \{instruction; "),
        ({"prompt": "{instruction!r}"}, r"nothing replaces \{instruction!r\}"),
        ({"prompt": "{task}"}, r"nothing replaces \{task\}"),
        ({"model": "https://huggingface.co/A/B"}, "an address is given, and a hub id is needed, as in A/B"),
        ({"chunk_size": 1_000_000}, "less than or equal to 1000"),
        ({"thought": "the {instruction} is at #"}, r"nothing replaces \{instruction\}; there are no placeholders here"),
    ],
)
def test_what_a_prompt_tells_of_the_state_is_named(words: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PolicyConfig(**words)


def test_braces_that_are_no_placeholder_may_stand_in_a_prompt() -> None:
    prompt = '{instruction} Answer as JSON: {"move": [0, 0], "instruction": "{instruction}"}'
    assert PolicyConfig(prompt=prompt).ask("lift") == 'lift Answer as JSON: {"move": [0, 0], "instruction": "lift"}'


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"r": "8"}, "r is '8'; give a whole number from 1 to 4096"),
        ({"r": 10**9}, "r is 1000000000; give a whole number"),
        ({"r": 0}, "r is 0; give a whole number"),
        ({"lora_alpha": 10**400}, "give a number above 0, at most 1,000,000"),
        ({"lora_alpha": 1e308}, r"lora_alpha is 1e\+308; give a number above 0, at most 1,000,000"),
        ({"lora_alpha": 0}, "lora_alpha is 0; give a number above 0"),
        ({"use_dora": "no"}, "use_dora is 'no'; give true or false"),
        ({"target_modules": "["}, r"target_modules is '\['; give a list of names, or a regular expression"),
    ],
)
def test_an_option_of_lora_has_a_kind(option: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PolicyConfig(train="lora", lora=option)


def test_prompts_without_end_are_not_all_kept(situations: list[Situation], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.prompts.KEPT", 2)
    policy = load(PolicyConfig(), LOW, HIGH)
    decisions = policy.act(situations, None)
    assert policy.prompts._tokens.cache_info().currsize == 2
    np.testing.assert_array_equal(decisions[0].tokens, policy.act(situations[:1], None)[0].tokens)
