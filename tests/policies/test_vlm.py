"""The policy: exactness of its log-probabilities, independence of the batch, adapters, every family through one path."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policies import PolicyConfig, families, load, processor
from policies.families import CONNECTOR
from policies.loading import NANO
from policies.policy import Situation
from policies.precision import autocast
from tests.families import FAMILIES

LOW, HIGH = -np.ones(3), np.ones(3)
# Families in which replies do not share a prompt: their image tokens see each other in both directions, their layers have a window or a state, or
# their prompts have further keys.
SEPARATE = ("gemma", "gemma4", "paligemma", "paligemma2", "idefics2", "qwen3_5", "llava_next", "mistral3", "lfm2")


def make(family: str, request: pytest.FixtureRequest, **more: Any) -> Any:
    model = str(request.getfixturevalue("folder_of")(family))
    words = {"codec": "bins"} if family == "nano" else {"codec": "digits", "precision": "float32"}
    return load(PolicyConfig(model=model, chunk_size=2, batch_size=4, **{**words, **more}), LOW, HIGH)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("temperature", "thought"), [(1.0, ""), (1.6, ""), (1.0, "it is # and # far ? #")])
def test_logprobs_of_acting_equal_those_of_learning(family: str, temperature: float, thought: str, request: Any, situations: list[Situation]) -> None:
    policy = make(family, request, temperature=temperature, thought=thought)
    if (
        family == "nano"
    ):  # its float32 logits are near 30, where rounding alone can reach 4e-5 (docs/log/2026-11-26.md): the computations are compared
        policy.model.double()
        single = load(PolicyConfig(), LOW, HIGH)
        policy.features = lambda frames: single.features(frames).double()
    noise = np.random.default_rng(1).random((len(situations), policy.reply_length))
    decisions = policy.act(situations, noise)
    again = policy.logprobs(situations, np.stack([d.tokens for d in decisions])).detach().numpy()
    np.testing.assert_allclose(again, np.stack([d.logprobs for d in decisions]), atol=1e-5)
    assert all(np.array_equal(policy.codec.decode(d.tokens), d.actions) for d in decisions)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("thought", ["", "it is # and # far ? #"])
def test_replies_to_one_situation_share_its_prompt(family: str, thought: str, request: Any, situations: list[Situation]) -> None:
    """Several replies in one pass have the probabilities and the gradient of separate passes; families that cannot do so make separate passes."""
    policy = make(family, request, thought=thought, precision="float32")
    rows = [0, 1, 0, 2, 1, 0, 3]
    noise = np.random.default_rng(0).random((len(rows), policy.reply_length))
    asked = [situations[i] for i in rows]
    tokens = np.stack([d.tokens for d in policy.act(asked, noise)])
    count: list[int] = []
    watched = policy.base.get_input_embeddings().register_forward_hook(lambda module, inputs, output: count.append(inputs[0].numel()))
    found, sizes = [], []
    for each in (asked, [replace(situation) for situation in asked]):
        policy.model.zero_grad()
        count.clear()
        logprobs = policy.logprobs(each, tokens)
        (logprobs * torch.linspace(-1, 1, logprobs.numel()).reshape(logprobs.shape)).sum().backward()
        found.append((logprobs.detach(), torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])))
        sizes.append(sum(count))
    watched.remove()
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=5e-5 if family == "nano" else 1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=1e-5 * float(found[1][1].abs().max()))
    shares = family not in SEPARATE
    assert sizes[0] < 0.75 * sizes[1] if shares else sizes[0] == sizes[1]
    lengths = [policy.num_tokens(situation) for situation in situations]
    assert all((once > 0) == shares for once, _ in lengths)


@pytest.mark.parametrize("family", FAMILIES)
def test_frames_that_were_encoded_before_mean_what_the_whole_model_sees(family: str, request: Any, situations: list[Situation]) -> None:
    policy, situation = make(family, request, precision="float32"), situations[0]
    chat = policy.prompts.chat(policy.config.ask(situation.instruction), len(situation.frames))
    whole = policy.prompts.whole(chat, situation.frames)
    split = policy._inputs([policy.prompts.of(situation)], policy.features([situation.frames]))
    with torch.no_grad():
        torch.testing.assert_close(policy.model(**split).logits[:, -1], policy.model(**whole).logits[:, -1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_decision_does_not_depend_on_its_neighbours(family: str, request: Any, situations: list[Situation]) -> None:
    policy = make(family, request)
    noise = np.random.default_rng(2).random((len(situations), policy.reply_length))
    together = policy.act(situations, noise)
    for i in (0, 3, 4):
        alone = policy.act([situations[i]], noise[[i]])[0]
        np.testing.assert_array_equal(alone.tokens, together[i].tokens)
        np.testing.assert_array_equal(alone.logprobs, together[i].logprobs)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_reply_parses_and_greedy_takes_the_most_probable(family: str, request: Any, situations: list[Situation]) -> None:
    policy = make(family, request)
    greedy = policy.act(situations, None)
    for extreme in (0.0, 1 - 1e-12):
        for decision in policy.act(situations, np.full((len(situations), policy.reply_length), extreme)):
            assert np.isfinite(decision.logprobs).all() and (np.abs(decision.actions) <= 1).all()
    first = [d.logprobs[0] for d in greedy]
    sampled = policy.act(situations, np.random.default_rng(3).random((len(situations), policy.reply_length)))
    assert all(a >= b.logprobs[0] - 1e-6 for a, b in zip(first, sampled, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_adapter_equals_the_base(family: str, request: Any, situations: list[Situation]) -> None:
    base, adapted = make(family, request), make(family, request, train="lora")
    tokens = np.stack([d.tokens for d in base.act(situations, None)])
    torch.testing.assert_close(adapted.logprobs(situations, tokens), base.logprobs(situations, tokens))
    assert 0 < sum(p.numel() for p in adapted.parameters()) < sum(p.numel() for p in base.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_weights_take_two_bytes_where_the_precision_is_half(family: str, request: Any, situations: list[Situation], monkeypatch: Any) -> None:
    """As on a GPU, here by force: the same adapters in float32 over weights in bfloat16 act and learn nearly alike."""
    whole = make(family, request, train="lora", precision="bfloat16")
    assert all(p.dtype == torch.float32 for p in whole.model.parameters()), "on a CPU all is float32"
    monkeypatch.setattr("policies.vlm.frozen_dtype", lambda precision, device: torch.bfloat16)
    policy = make(family, request, train="lora", precision="bfloat16")
    assert {p.dtype for p in policy.model.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert {p.dtype for p in policy.parameters()} == {torch.float32} and policy.base_name == whole.base_name
    decisions = policy.act(situations, None)
    tokens, acted = np.stack([d.tokens for d in decisions]), torch.tensor(np.stack([d.logprobs for d in decisions]))
    with autocast("bfloat16", "cpu"):
        learnt, before = (each.logprobs(situations, tokens) for each in (policy, whole))
    assert float((learnt - before).abs().mean().detach()) < 0.05 and float((learnt - acted).abs().mean().detach()) < 0.05
    learnt.sum().backward()
    assert sum(float(p.grad.abs().sum()) for p in policy.parameters() if p.grad is not None) > 0
    assert 0 <= policy.probability("is it done ?", situations[0].frames) <= 1 and isinstance(policy.answer("done ?", situations[0].frames), str)


def test_options_of_adapters_are_those_of_peft(request: Any, situations: list[Situation]) -> None:
    def count(**options: Any) -> int:
        return sum(p.numel() for p in make("smolvlm", request, train="lora", lora=options).parameters())

    assert count(r=4) * 4 == count() and count(use_dora=True) > count(use_rslora=True) == count()
    assert 0 < count(target_modules=["q_proj", "v_proj"]) < count()
    adapted = make("smolvlm", request, train="lora", lora={"target_modules": ["q_proj"]}).model
    assert not [name for name, _ in adapted.named_parameters() if "lora_" in name and "vision" in name], "the vision tower has such layers too"
    with pytest.raises(ValueError, match=r"policy\.train is 'auto'; set policy\.train to lora, or leave policy\.lora out"):
        make("smolvlm", request, lora={"r": 4})
    with pytest.raises(ValueError, match=r"policy\.lora has no option 'lora_dropout'; it has r, lora_alpha, use_rslora, use_dora, target_modules"):
        make("smolvlm", request, train="lora", lora={"lora_dropout": 0.1})
    with pytest.raises(ValueError, match=r"names no linear layer of the text model; it has .*q_proj"):
        make("smolvlm", request, train="lora", lora={"target_modules": ["no_such_layer"]})


@pytest.mark.parametrize("train", ["text", "all", "lora"])
def test_weights_survive_the_disk(train: str, request: Any, situations: list[Situation], tmp_path: Path) -> None:
    policy = make("nano", request, train=train)
    tokens = np.stack([d.tokens for d in policy.act(situations, None)])
    before, name = policy.logprobs(situations, tokens).detach(), policy.name
    optimiser = torch.optim.SGD(policy.parameters(), lr=0.1)
    for _ in range(2):  # LoRA's first step moves only B
        optimiser.zero_grad()
        policy.logprobs(situations, tokens).sum().backward()
        optimiser.step()
    after = policy.logprobs(situations, tokens).detach()
    assert not torch.allclose(before, after)
    policy.save(tmp_path / "policy.safetensors")
    other = make("nano", request, train=train)
    assert other.name == name
    other.load(tmp_path / "policy.safetensors")
    torch.testing.assert_close(other.logprobs(situations, tokens).detach(), after, rtol=0, atol=0)
    assert other.name != name


def test_weights_of_another_model_are_refused(request: Any) -> None:
    with pytest.raises(ValueError, match="another model"):
        make("nano", request, train="lora").load(make("nano", request).weights())


@pytest.mark.parametrize("family", FAMILIES)
def test_it_speaks(family: str, request: Any, situations: list[Situation]) -> None:
    policy, frames = make(family, request), situations[0].frames
    assert isinstance(policy.answer("where is the red ball in view 1 ?", frames), str)
    yes = policy.probability("is it done: touch the red ball ?", frames)
    no = policy.probability("is it done: touch the red ball ?", frames, yes="no", no="yes")
    assert yes + no == pytest.approx(1.0)


def test_an_unknown_model_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # without a network the hub is asked again and again
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(PolicyConfig(model="no/such-folder-here"), LOW, HIGH)


@pytest.mark.parametrize("device", ["gpu", "meta", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_there_is_one_sentence(device: str) -> None:
    with pytest.raises(ValueError, match=f"policy.device is '{device}': .*; give cpu, or cuda where torch finds a GPU"):
        load(PolicyConfig(device=device), LOW, HIGH)


def test_frames_are_not_cut_into_tiles(tmp_path: Path) -> None:
    shutil.copytree(NANO, tmp_path / "tiled")
    file = tmp_path / "tiled" / "processor_config.json"
    content = json.loads(file.read_text())
    assert content["image_processor"]["do_image_splitting"] is False
    content["image_processor"]["do_image_splitting"] = True  # as SmolVLM has it
    side = content["image_processor"]["max_image_size"]["longest_edge"]
    content["image_processor"]["size"] = {"longest_edge": 4 * side}
    file.write_text(json.dumps(content))
    images = processor.load(str(tmp_path / "tiled")).image_processor
    assert images.do_image_splitting is False and images.size["longest_edge"] == side


def test_a_model_that_writes_no_chats_is_one_sentence(folder_of: Any, tmp_path: Path) -> None:
    shutil.copytree(folder_of("smolvlm"), tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="has no chat template: use an instruction-tuned model"):
        load(PolicyConfig(model=str(tmp_path / "plain"), codec="digits"), LOW, HIGH)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_damaged_folder_of_a_model_is_one_sentence(name: str, tmp_path: Path) -> None:
    shutil.copytree(NANO, tmp_path / "damaged")
    file = tmp_path / "damaged" / name
    for left in (file.read_bytes()[:1000], b""):
        file.write_bytes(left)
        with pytest.raises(ValueError, match=r"Model '.*damaged' cannot be loaded: "):
            load(PolicyConfig(model=str(tmp_path / "damaged")), LOW, HIGH)


def test_a_processor_that_lacks_more_than_videos_says_what(tmp_path: Path, folder_of: Any) -> None:
    shutil.copytree(folder_of("llava"), tmp_path / "broken")
    (tmp_path / "broken" / "processor_config.json").unlink()
    with pytest.raises(ValueError, match=r"cannot be loaded: .*processor"):
        load(PolicyConfig(model=str(tmp_path / "broken"), codec="digits"), LOW, HIGH)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_and_its_processor_can_be_saved_and_loaded_again(family: str, request: Any, situations: list[Situation], tmp_path: Path) -> None:
    policy = make(family, request)
    policy.base.save_pretrained(tmp_path)
    policy.processor.save_pretrained(tmp_path)
    again = load(policy.config.model_copy(update={"model": str(tmp_path)}), LOW, HIGH)
    for one, other in zip(policy.act(situations, None), again.act(situations, None), strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)


def test_bins_need_number_tokens(request: Any) -> None:
    with pytest.raises(ValueError, match="use 'digits'"):
        make("llava", request, codec="bins")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_thought_is_the_beginning_of_the_greedy_reply(family: str, request: Any, situations: list[Situation]) -> None:
    policy = make(family, request, thought="it is # and # far ? #")
    for thought, decision in zip(policy.think(situations), policy.act(situations, None), strict=True):
        assert len(thought) == policy.codec.thought_length == 3 * policy.codec.width
        np.testing.assert_array_equal(decision.tokens[: len(thought)], thought)
        assert decision.actions.shape == (2, 3)


@pytest.mark.parametrize("explore", ["reply", "action"])
def test_what_is_explored_is_sampled(explore: str, situations: list[Situation]) -> None:
    policy = load(PolicyConfig(thought="###", sample=explore, temperature=2.0), LOW, HIGH)  # type: ignore[arg-type]
    noise = np.random.default_rng(0).random((2, len(situations), policy.reply_length))
    thoughts, (one, other) = policy.think(situations), [policy.act(situations, each) for each in noise]
    sure = [np.array_equal(decision.tokens[:3], thought) for decision, thought in zip(one, thoughts, strict=True)]
    assert all(sure) if explore == "action" else not all(sure)
    assert any(not np.array_equal(a.actions, b.actions) for a, b in zip(one, other, strict=True))


def test_a_thought_of_the_embedded_model_is_its_answer(situations: list[Situation]) -> None:
    question = "touch the red ball : how far to the first ?"
    policy = load(PolicyConfig(prompt=question, thought="###"), LOW, HIGH)
    for situation, thought in zip(situations, policy.think(situations), strict=True):
        assert policy.processor.tokenizer.decode(thought) == policy.answer(question, situation.frames)


def test_a_thought_of_words_alone_needs_no_choice(situations: list[Situation]) -> None:
    policy = load(PolicyConfig(thought="now move"), LOW, HIGH)
    assert policy.codec.thought_length == 0 and policy.reply_length == 3
    tokens = np.stack([d.tokens for d in policy.act(situations, None)])
    np.testing.assert_allclose(policy.logprobs(situations, tokens).detach(), np.stack([d.logprobs for d in policy.act(situations, None)]), atol=1e-5)


def test_a_training_example_may_ask_for_a_bad_reply_and_whoever_acts_asks_for_a_good_one(situations: list[Situation]) -> None:
    policy = load(PolicyConfig(prompt="{instruction} {advantage} : how far ?"), LOW, HIGH)
    assert policy.config.ask("touch it") == "touch it good : how far ?" and policy.config.ask("touch it", False) == "touch it bad : how far ?"
    asked = situations[0], replace(situations[0], advantage=False)
    tokens = policy.act([asked[0]], None)[0].tokens[None]
    good, bad = (policy.logprobs([each], tokens).sum().item() for each in asked)
    assert good != bad


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_and_the_connector_are_trained_and_saved_together(family: str, request: Any, situations: list[Situation], tmp_path: Path) -> None:
    policy = make(family, request, train="lora+connector", precision="float32")
    names = policy.weights().keys()
    assert any("lora_A" in name for name in names) and any(CONNECTOR.search(name) for name in names)
    assert not [name for name in names if "lora_" not in name and not CONNECTOR.search(name)], "nothing else is trained"
    before = policy.features([situations[0].frames]).detach()
    tokens = np.stack([decision.tokens for decision in policy.act(situations[:2], None)])
    policy.logprobs(situations[:2], tokens).sum().backward()
    felt = {name for name, p in policy.model.named_parameters() if p.grad is not None and float(p.grad.abs().sum()) > 0}
    assert any(CONNECTOR.search(name) for name in felt) and felt <= names, "the gradient reaches the connector, and ends there"
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05)
    after = policy.features([situations[0].frames]).detach()
    assert not torch.allclose(before, after), "image tokens that change are not stored"
    policy.save(tmp_path / "weights.safetensors")
    other = make(family, request, train="lora+connector", precision="float32")
    other.load(tmp_path / "weights.safetensors")
    torch.testing.assert_close(other.features([situations[0].frames]).detach(), after)


def test_merged_adapters_say_what_they_said_before(request: Any, situations: list[Situation], tmp_path: Path) -> None:
    policy = make("smolvlm", request, train="lora+connector", precision="float32")
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    tokens = np.stack([decision.tokens for decision in policy.act(situations, None)])
    before = policy.logprobs(situations, tokens).detach()
    policy.merged().save_pretrained(tmp_path)
    policy.processor.tokenizer.save_pretrained(tmp_path)
    for file in request.getfixturevalue("smolvlm").iterdir():
        if not (tmp_path / file.name).exists():
            shutil.copy(file, tmp_path)
    again = load(PolicyConfig(model=str(tmp_path), codec="digits", chunk_size=2, batch_size=4, precision="float32"), LOW, HIGH)
    torch.testing.assert_close(again.logprobs(situations, tokens).detach(), before, atol=1e-4, rtol=0)
    assert not [name for name, _ in again.base.named_parameters() if "lora" in name]


def test_merged_adapters_keep_small_changes_of_weights_in_bfloat16(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, here by force: a change of a thousandth is a third of the distance between two numbers of bfloat16."""
    monkeypatch.setattr("policies.vlm.frozen_dtype", lambda precision, device: torch.bfloat16)
    policy = make("smolvlm", request, train="lora", precision="bfloat16")
    layer = next(part for name, part in policy.model.named_modules() if "text_model" in name and name.endswith("layers.0.self_attn.q_proj"))
    with torch.no_grad():
        layer.lora_B["default"].weight.fill_(1e-3)
    before, change = layer.base_layer.weight.float().clone(), layer.get_delta_weight("default").float().clone()
    merged = dict(policy.merged().named_parameters())
    after = next(value for name, value in merged.items() if "text_model" in name and name.endswith("layers.0.self_attn.q_proj.weight"))
    torch.testing.assert_close(after - before, change, rtol=1e-2, atol=1e-6)


def test_a_model_without_a_connector_that_is_known(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "CONNECTOR", re.compile("bridge"))
    with pytest.raises(ValueError, match=r"'lora\+connector', and no connector is found in .*, which has vision_model, connector, text_model; use"):
        make("smolvlm", request, train="lora+connector")


@pytest.mark.parametrize("thought", ["", "it is # and # far ? #"])
def test_a_forced_token_costs_no_pass(thought: str, request: Any, situations: list[Situation]) -> None:
    policy, passes = make("smolvlm", request, thought=thought), []
    policy.base.lm_head.register_forward_hook(lambda module, given, result: passes.append(len(given[0])))
    decision = policy.act(situations[:1] * 4, np.full((4, policy.reply_length), 0.5))[0]  # a full batch
    forced = [policy.codec.forced(place) for place in range(policy.reply_length)]
    assert any(forced) and len(passes) == policy.reply_length - sum(forced)
    assert all(decision.logprobs[place] == 0 for place, each in enumerate(forced) if each)
