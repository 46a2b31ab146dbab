"""Questions in plain English with numbers as the codec writes them: the same facts, and any model with LoRA learns from them."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from agent.ground import chance
from agent.ground.questions import scenes
from agent.ground.train import quiz, see
from agent.ground.wording import EMBEDDED, ENGLISH, OWN, Wording, wording_of
from envs import EnvConfig
from envs.adapt import Adapter
from policies import PolicyConfig, load
from policies.codec import numerals

LOW, HIGH = -np.ones(3), np.ones(3)
PLAIN = Wording(english=True, numbers="digits")


def draw(wording: Wording, count: int, task: str = "etude/Push-v0") -> list[Any]:
    stream = scenes(Adapter(EnvConfig(id=task)), itertools.count(49_660_000), np.random.default_rng(0), wording=wording)
    return list(itertools.islice(stream, count))


def shares(answer: str) -> list[float]:
    tokens = [int(each) / 64 for each in re.findall(r"<n(\d+)>", answer)]
    return tokens or [int(each) / 99 for each in re.findall(r" (\d\d)", answer)]


def test_both_wordings_state_the_same_facts() -> None:
    compared = 0
    for own, plain in zip(draw(OWN, 30), draw(PLAIN, 30), strict=True):
        assert np.array_equal(own.frames, plain.frames) and own.places == plain.places
        extra = [q for q in plain.questions if "then the move to it" in q.question]
        for one, other in zip(own.questions, [q for q in plain.questions if q not in extra], strict=True):
            assert one.kind == other.kind and "<n" not in other.question + other.answer
            np.testing.assert_allclose(shares(one.answer), shares(other.answer), atol=0.014)  # half a bin of each: 1/128 and 1/198
            assert re.sub(r"<n\d+>| \d\d", "", one.answer) == re.sub(r" \d\d", "", other.answer), "words stay"
            compared += len(shares(one.answer))
        by_question = {q.question: q.answer for q in plain.questions}
        for question in extra:
            text = question.question.split("Task: ")[1].removesuffix(".")
            seen = by_question[f"Where in view 1 is the first object? Task: {text}."]
            assert question.answer == f"{seen} move{by_question[f'How far is it from the tool to the first object? Task: {text}.']}"
    assert compared > 500 and ENGLISH.keys() - EMBEDDED.keys() == {"look and move"}


def test_a_state_that_is_no_number_is_not_written() -> None:
    assert PLAIN.write(0.0, 1.2, -1.0) == " 00 99 00" and OWN.write(0.5, np.inf) == "<n32><n64>"
    with pytest.raises(ValueError, match="not a number"):
        PLAIN.write(float("nan"))


def readme_policy() -> dict[str, Any]:
    blocks = re.findall(r"```yaml\n(.*?)```", Path("README.md").read_text(), re.S)
    return next(block["policy"] for block in map(yaml.safe_load, blocks) if "thought" in block.get("policy", {}))


def test_the_thought_of_the_readme_is_taught_token_by_token(smolvlm: Path) -> None:
    given = {**readme_policy(), "model": str(smolvlm), "device": "cpu"}
    policy = load(PolicyConfig(**given), LOW, HIGH)
    plan = next(q for scene in draw(wording_of(policy), 9, "etude/Lift-v0") for q in scene.questions if "then the move to it" in q.question)
    instruction = plan.question.split("Task: ")[1].removesuffix(".")
    assert policy.config.ask(instruction, state=" 50").endswith(plan.question), "the prompt ends with the question"
    tokenizer = policy.processor.tokenizer
    numbers = [numerals(tokenizer, "digits")[int(each)] for each in re.findall(r" (\d\d)", plan.answer)]
    said, _ = policy._full_reply(torch.tensor(np.concatenate(numbers))[None])
    assert said[0].tolist() == tokenizer.encode(plan.answer, add_special_tokens=False)


def test_a_number_of_several_digits_may_be_off_by_one() -> None:
    number = {(0, tens, ones): 10 * tens + ones for tens in range(1, 5) for ones in range(1, 8)}
    given = [(0, 2, 3), (0, 4, 4)]

    def near(*predicted: tuple[int, ...], word: int = 9) -> bool:
        tokens = [(a, b) for one, other in zip(predicted, given, strict=True) for a, b in zip(one, other, strict=True)]
        return chance.near([*tokens, (word, 9)], number, 3)

    assert near(*given) and near((0, 2, 4), (0, 4, 3))
    assert not near((0, 2, 5), (0, 4, 4)), "two off"
    assert not near((0, 3, 3), (0, 4, 4)), "ten off"
    assert not near((7, 2, 3), (0, 4, 4)), "no number"
    assert not near(*given, word=8), "another word"


def test_any_model_is_grounded_with_lora_and_its_connector(smolvlm: Path) -> None:
    policy = load(PolicyConfig(model=str(smolvlm), codec="digits", train="lora+connector", precision="float32"), LOW, HIGH)
    assert wording_of(policy) == PLAIN and wording_of(load(PolicyConfig(), LOW, HIGH)) == OWN
    drawn = draw(wording_of(policy), 40, "etude/Reach-v0")
    before = {name: p.detach().clone() for name, p in policy.base.named_parameters()}
    rows: list[dict[str, float]] = []
    see(policy, drawn, steps=12, batch=8, learning_rate=5e-2, watch=lambda step, figures: rows.append(figures))
    for name in ("answering", "reading"):
        assert np.mean([r[name] for r in rows[-3:]]) < np.mean([r[name] for r in rows[:3]])
    changed = {name for name, p in policy.base.named_parameters() if not torch.equal(before[name], p)}
    assert any("connector" in name for name in changed) and all("connector" in name or "lora_" in name for name in changed)
    right = quiz(policy, drawn[:8], 4)
    assert {kind: count for kind, (_, count) in right.items()} == {
        kind: sum(q.kind == kind for scene in drawn[:8] for q in scene.questions) for kind in right
    }
