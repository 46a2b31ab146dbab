"""Questions that share their frames, and pointing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from policies import PolicyConfig, codec, load
from policies.policy import Situation
from policies.scoring import _head, choice_probabilities, expected_numbers, localise, score, tokenise
from tests import families
from tests.families import FAMILIES
from tests.pieces import llama1_tokenizer


def test_questions_asked_together_score_as_if_each_were_asked_alone(situations: list[Situation]) -> None:
    policy = load(PolicyConfig(train="all", precision="float32"), -np.ones(3), np.ones(3))
    asked = [
        ("where is the red ball in view 1 ?", "<n3><n9>"),
        ("is it done: touch the red ball ?", "no"),
        ("what colour is <n1><n2> in view 2 ?", "red"),
        ("push the red block onto the blue pad : plan ?", "first<n1><n2><n3> second<n4><n5><n6> between<n7><n8><n9> behind<n10><n11><n12>"),
    ]
    frames = [situations[0].frames, situations[1].frames]
    together = score(policy, policy.features(frames), frames, [asked, asked[:1]])
    for moment, question in ((0, 0), (0, 1), (0, 2), (0, 3), (1, 0)):
        alone = score(policy, policy.features([frames[moment]]), [frames[moment]], [[asked[question]]])
        mine = (together.owner == [moment, question]).all(1)
        torch.testing.assert_close(together.logprobs[mine], alone.logprobs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_believed_of_many_moments_is_what_each_would_say(family: str, request: pytest.FixtureRequest, situations: list[Situation]) -> None:
    model = {"model": str(request.getfixturevalue("folder_of")(family)), "codec": "bins" if family == "nano" else "digits"}
    policy = load(PolicyConfig.model_validate({**model, "precision": "float32", "batch_size": 2}), -np.ones(3), np.ones(3))
    frames, question = [each.frames for each in situations[:3]], "is it done: touch the red ball ?"
    each = [policy.probability(question, seen) for seen in frames]
    np.testing.assert_allclose(choice_probabilities(policy, frames, [question] * 3)[:, 0], each, atol=1e-5)


def test_numbers_are_told_as_the_mean_of_what_the_model_holds_possible(situations: list[Situation]) -> None:
    policy = load(PolicyConfig(precision="float32"), -np.ones(3), np.ones(3))
    frames, far = [each.frames for each in situations[:3]], "touch the red ball : how far to the first ?"
    questions = [far, "where is the purple ball in view 1 ?", far]
    together = expected_numbers(policy, frames, questions, 2)
    assert together.shape == (3, 2) and (together >= 0).all() and (together <= 64).all()
    names = [f"<n{i}>" for i in range(65)]
    chances = choice_probabilities(policy, frames, questions, names)
    np.testing.assert_allclose(together[:, 0], chances @ np.arange(65), atol=1e-3)
    for row, (question, first) in enumerate(zip(questions, chances.argmax(1), strict=True)):  # the second number, after the first
        told = score(policy, policy.features([frames[row]]), [frames[row]], [[(question, names[first] + name) for name in names]])
        second = torch.stack([told.logprobs[(told.owner[:, 1] == i)][1] for i in range(65)]).double().softmax(0).detach().numpy()
        assert together[row, 1] == pytest.approx(float(second @ np.arange(65)), abs=1e-3)


def test_pointing_finds_the_token_that_means_the_phrase(situations: list[Situation]) -> None:
    policy = load(PolicyConfig(train="all"), -np.ones(3), np.ones(3))
    features = torch.randn(2, 32, 128)
    _, phrase = localise(policy, features, [1], ["red ball"])
    features[1, 17] = 3 * phrase[0].detach()
    near, _ = localise(policy, features, [1], ["red ball"])
    assert near.shape == (1, 32) and int(near.argmax()) == 17


def test_words_spelt_many_at_a_time_are_spelt_as_one_by_one() -> None:
    policy = load(PolicyConfig(), -np.ones(3), np.ones(3))
    tokenizer, asked = (
        policy.processor.tokenizer,
        [[("where is the red ball in view 1 ?", "<n3><n9>"), ("is it done: touch it ?", "no")], [("far ?", "yes")]],
    )
    spelt = tokenise(policy, asked)
    assert spelt.owner.tolist() == [[0, 0], [0, 1], [1, 0]]
    for (tokens, count), (question, answer) in zip(spelt.tails, [pair for row in asked for pair in row], strict=True):
        assert tokens[-count:] == [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
        assert tokenizer.decode(tokens).startswith(question) and tokenizer.decode(tokens).endswith(f"{answer}<end_of_utterance>")


def test_a_tokenizer_that_writes_a_space_before_every_text_answers_as_it_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "llama_tokenizer", llama1_tokenizer)
    families.llava(tmp_path)
    config = PolicyConfig(model=str(tmp_path), codec="digits", thought=" ball# , cube# move")
    policy, spaced = load(config, -np.ones(3), np.ones(3)), llama1_tokenizer(["<pad>", "<s>", "</s>", "<image>"])
    assert spaced.tokenize(" 07") == ["▁", "▁", "0", "7"] and spaced.tokenize("yes") == ["▁y", "e", "s"]

    def words(tokens: list[int]) -> list[str]:
        return policy.processor.tokenizer.convert_ids_to_tokens(tokens)

    tails = tokenise(policy, [[("far ?", " 07 12"), ("done ?", "yes")]]).tails
    assert tails[0][0][-tails[0][1] : -1] == policy.codec.numerals_NK[[7, 12]].flatten().tolist()
    assert words(tails[1][0][-tails[1][1] : -1]) == ["▁y", "e", "s"]
    fixed = [words(each) for each in codec.fixed_tokens(policy.processor.tokenizer, config.thought, policy.codec) if each]
    assert fixed == [[*"▁ball"], [*"▁,▁cube"], [*"▁move"]]
    _, phrase = localise(policy, torch.ones(1, 2, 64), [0], ["red ball"])
    embedded = policy.base.get_input_embeddings().weight[policy.processor.tokenizer.convert_tokens_to_ids([*"▁red▁ball"])]
    torch.testing.assert_close(phrase[0], embedded.mean(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_stands_before_a_question_and_its_own_words_are_the_whole_chat(
    family: str, request: pytest.FixtureRequest, situations: list[Situation], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"model": str(request.getfixturevalue("folder_of")(family)), "codec": "bins" if family == "nano" else "digits"}
    policy, frames, question = load(PolicyConfig.model_validate(model), -np.ones(3), np.ones(3)), situations[0].frames, "is it done ?"

    def tell_apart() -> None:
        whole = policy.prompts.tokenised(policy.prompts.chat(question, len(frames)), frames)["input_ids"][0].tolist()
        (tokens, answer), head = tokenise(policy, [[(question, "yes")]]).tails[0], _head(policy, frames)["input_ids"][0].tolist()
        assert head + tokens[:-answer] == whole

    tell_apart()
    if family == "nano":
        return
    twice = policy.processor.chat_template.replace("{{ part['text'] }}", "{{ part['text'] }} Once more: {{ part['text'] }}")
    assert twice != policy.processor.chat_template
    monkeypatch.setattr(policy.processor, "chat_template", twice)
    policy.prompts.chat.cache_clear()
    tell_apart()


def test_what_was_asked_without_gradients_can_be_learnt_afterwards(situations: list[Situation]) -> None:
    policy = load(PolicyConfig(), -np.ones(3), np.ones(3))
    frames = [situations[0].frames]
    choice_probabilities(policy, frames, ["is it done: touch it ?"])
    score(policy, policy.features(frames), frames, [[("is it done: touch it ?", "no")]]).logprobs.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in policy.parameters())
