"""What is not a model that etude can use is refused in one sentence, before anything is collected."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from policies import PolicyConfig, check, load
from policies.loading import _has_parts
from tests.pieces import TOWER
from tests.policies.test_vlm import HIGH, LOW


def given(model: Path | str, **more: Any) -> Any:
    return load(PolicyConfig(model=str(model), codec="digits", precision="float32", batch_size=2, **more), LOW, HIGH)


@pytest.fixture
def copied(folder_of: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Returns a copy of a family's tiny model, which a test may damage."""
    return lambda family: Path(shutil.copytree(folder_of(family), tmp_path / family))


@pytest.mark.parametrize(
    ("rows", "sentence"), [(0, "its files lack 1 of its weights"), (7, "1 of its weights have other shapes than config.json says")]
)
def test_weights_that_are_not_in_the_files_are_not_drawn(rows: int, sentence: str, copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "model.safetensors"
    weights = load_file(file)
    name = next(each for each in weights if each.endswith("layers.0.mlp.gate_proj.weight"))
    cut = weights.pop(name)[:rows].clone()
    save_file(weights | ({name: cut} if rows else {}), file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"cannot be loaded: {sentence}, such as .*gate_proj.weight"):
        given(file.parent)


@pytest.mark.parametrize("part", ["lm_head.weight", "vision_tower.embeddings.class_embedding", "encoder.layers.1.self_attn.k_proj.weight"])
def test_weights_that_are_no_numbers_are_found_in_files_too(part: str, copied: Callable[[str], Path]) -> None:
    """In float32 no decision shows those of the last part: the attention kernel passes over them."""
    file = copied("llava") / "model.safetensors"
    weights = load_file(file)
    weights[next(name for name in weights if name.endswith(part))].view(-1)[0] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"cannot be loaded: its weights are damaged: \S*{part} holds numbers that are not finite"):
        given(file.parent)


def test_layers_of_the_files_are_dropped_only_where_somebody_asks_for_it(copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "config.json"
    described = json.loads(file.read_text())
    described["text_config"]["num_hidden_layers"] = 1
    described["text_config"].pop("layer_types", None)
    file.write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"its files have 2 text layers, and its config.json names 1; correct num_hidden_layers"):
        given(file.parent)
    assert len(given(file.parent, layers=1).base.model.language_model.layers) == 1


def test_weights_that_are_no_numbers_are_found(copied: Callable[[str], Path]) -> None:
    policy = given(copied("llava"))
    policy.base.lm_head.weight.data[:] = torch.nan
    (fault,) = check.cheap_faults(policy, (2, 64, 64, 3))
    assert fault.startswith("The numbers that '") and "are not finite" in fault


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("", "there is no such folder"),
        ("model.gguf", "it has no config.json"),
        ("config.yaml", r"it is a run; name the folder that `etude export \S* OUT` writes"),
        ("adapter_config.json", r"it holds a LoRA adapter; merge it into its base model \(peft: merge_and_unload\)"),
    ],
)
def test_a_folder_without_a_whole_model_is_one_sentence(file: str, sentence: str, tmp_path: Path) -> None:
    if file:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / file).write_text("{}")
        if file.endswith("gguf"):
            with pytest.raises(ValueError, match=r"it is a file, and a folder as on the hub is needed, .*; GGUF cannot be trained"):
                given(tmp_path / "model" / file)
    with pytest.raises(ValueError, match=f"cannot be loaded: {sentence}"):
        given(tmp_path / "model")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (hf.Qwen3Config, "qwen3 is no image-text-to-text model of transformers"),
        (hf.CLIPConfig, "clip is no image-text-to-text model of transformers"),
        (hf.MllamaConfig, r"mllama takes no image tokens that were computed before its forward pass \(mm_encoder_outputs\)"),
        (hf.T5Config, "t5 has an encoder and a decoder"),
    ],
)
def test_a_model_that_reads_no_images_as_tokens_is_refused_before_its_weights_are_read(config: Any, sentence: str, tmp_path: Path) -> None:
    config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        given(tmp_path)


def test_a_model_with_other_parts_is_refused() -> None:
    text: dict[str, Any] = {
        "model_type": "opt",
        "hidden_size": 64,
        "ffn_dim": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "word_embed_proj_dim": 64,
    }
    between: dict[str, Any] = {**TOWER, "num_hidden_layers": 1, "encoder_hidden_size": 32, "vocab_size": 30}
    tower: dict[str, Any] = {**TOWER, "image_size": 28, "patch_size": 14}
    config = hf.Blip2Config(vision_config=tower, qformer_config=between, text_config={**text, "vocab_size": 30})
    with pytest.raises(ValueError, match=r"Blip2ForConditionalGeneration has no model\.language_model and no lm_head, where other families"):
        _has_parts(hf.Blip2ForConditionalGeneration(config))


def test_code_that_comes_with_a_model_is_named_with_its_key(tmp_path: Path) -> None:
    own = {"model_type": "own", "auto_map": {"AutoConfig": "code.Config", "AutoModelForImageTextToText": "code.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    with pytest.raises(ValueError, match=r"it comes with Python code of its own; if you trust its author, set policy\.trust_remote_code true"):
        given(tmp_path)


@pytest.mark.skipif(find_spec("timm") is not None, reason="with timm it is loaded")
def test_a_library_that_is_missing_is_named(copied: Callable[[str], Path]) -> None:
    folder = copied("llava")
    hf.FastVlmConfig().save_pretrained(folder)
    with pytest.raises(ValueError, match=r"its code needs timm, which is not installed: pip install timm\.$"):
        given(folder)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ("{% if part['type'] == 'image' %}<image>{% endif %}", "leaves out the words of a prompt"),
        (
            "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}",
            r"cannot write and read a chat about two frames \(The total number of",
        ),
        ("{{ raise_exception('give a system message') }}", r"cannot write and read a chat about two frames \(give a system message\)"),
        ("{{ part['text'", "cannot write and read a chat about two frames"),
    ],
)
def test_a_chat_template_that_loses_something_is_one_sentence(parts: str, sentence: str, copied: Callable[[str], Path]) -> None:
    folder = copied("llava")
    (folder / "chat_template.jinja").write_text(
        "{% for message in messages %}{% for part in message['content'] %}" + parts + "{% endfor %}{% endfor %}assistant:"
    )
    with pytest.raises(ValueError, match=sentence):
        given(folder)


def test_a_tokenizer_without_an_end_is_one_sentence(copied: Callable[[str], Path]) -> None:
    file = copied("qwen3") / "tokenizer_config.json"
    file.write_text(json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != "eos_token"}))
    with pytest.raises(ValueError, match="its tokenizer has no token that ends a text; set eos_token"):
        given(file.parent)


def test_no_end_of_text_stands_before_the_reply(copied: Callable[[str], Path]) -> None:
    """A tokenizer that ends each text (T5's, some of BERT's) would end the prompt."""
    file = copied("llava") / "tokenizer.json"
    content = json.loads(file.read_text())
    content["post_processor"]["single"].append({"SpecialToken": {"id": "</s>", "type_id": 0}})
    content["post_processor"]["special_tokens"]["</s>"] = {"id": "</s>", "ids": [2], "tokens": ["</s>"]}
    file.write_text(json.dumps(content))
    policy = given(file.parent)
    assert policy.processor.tokenizer.encode("touch it")[-1] == 2
    tokens = policy.prompts.tokenised(policy.prompts.chat("touch it", 1), np.zeros((1, 64, 64, 3), np.uint8))["input_ids"]
    assert 2 not in tokens and policy.prompts.adds_special_tokens("touch it") is False
    assert policy.processor.tokenizer.encode("touch it")[0] == 1 and tokens[0, 0] == 1 and 1 not in tokens[0, 1:], "the beginning stays, once"


def test_frames_are_prepared_with_what_the_processor_tells_its_image_processor(copied: Callable[[str], Path]) -> None:
    """Pixtral tells it that patches are merged: else prompts have other numbers of image tokens than frames."""
    policy = given(copied("internvl"))
    policy.processor.images_kwargs = {**policy.processor.images_kwargs, "image_mean": [0.1, 0.2, 0.3]}
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    own = policy.prompts.whole(policy.prompts.chat("touch it", 2), frames)["pixel_values"]
    told = type(policy.pixels)(policy.processor.image_processor, "cpu", policy.prompts.image_settings())
    assert told.recipe((64, 64)) is not None
    torch.testing.assert_close(told([frames])["pixel_values"], own, rtol=0, atol=0)
    assert not torch.allclose(policy.pixels([frames])["pixel_values"], own)


def test_layers_that_depend_on_others_are_not_dropped(folder_of: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=r"policy\.layers is 1, and layers of gemma4 share keys or embeddings with others; leave the key out"):
        given(folder_of("gemma4"), layers=1)


def test_a_limit_of_the_tokenizer_cuts_no_prompt(copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "tokenizer.json"
    content = json.loads(file.read_text())
    content["truncation"] = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    file.write_text(json.dumps(content))
    policy = given(file.parent)
    tokens = policy.prompts.tokenised(policy.prompts.chat("touch it", 2), np.zeros((2, 64, 64, 3), np.uint8))["input_ids"]
    assert policy.processor.tokenizer.decode(tokens[0]).endswith("touch itassistant:")


def test_an_image_in_the_users_own_words_is_refused(copied: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=r"policy\.prompt holds <image>, which stands for a frame in this model's prompts; leave it out"):
        load(PolicyConfig(model=str(copied("llava")), codec="digits", prompt="<image> {instruction}"), LOW, HIGH)


def test_a_prompt_that_is_longer_than_the_model_was_made_for_is_said(copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file = copied("llava") / "config.json"
    content = json.loads(file.read_text())
    content["text_config"]["max_position_embeddings"] = 16
    file.write_text(json.dumps(content))
    monkeypatch.setattr(check, "lost_bins", lambda codec: pytest.fail("nothing else is tried, as it would take hours"))
    (fault,) = check.cheap_faults(given(file.parent), (2, 64, 64, 3))
    assert fault.startswith("A prompt with its reply has 78 tokens, and this model was made for 16; show fewer")


def test_weights_that_are_quantised_already_are_refused(copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}))
    with pytest.raises(ValueError, match=r"its weights are quantised \(bitsandbytes\); name the model in full precision, and set policy\.precision"):
        given(file.parent)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, r"its weights are quantised \(fp8\)"),
        ({"quantization_config": {}}, r"its config\.json has an empty quantization_config; take that key out"),
        ({"auto_map": None}, r"its config\.json has an empty auto_map; take that key out"),
        ({"quantization_config": None}, ""),
    ],
)
def test_what_a_config_says_of_quantisation_is_read_in_all_its_parts(change: dict[str, Any], sentence: str, copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "config.json"
    content = json.loads(file.read_text())
    content.update({name: {**content[name], **value} if name == "text_config" else value for name, value in change.items()})
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=sentence) if sentence else nullcontext():
        given(file.parent)


def test_a_home_folder_may_be_named_by_its_sign(copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied("llava")
    monkeypatch.setenv("HOME", str(folder.parent))
    assert given(Path("~") / folder.name).codec.num_bins == 100


def test_numbers_that_share_tokens_are_refused(copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "tokenizer.json"
    content = json.loads(file.read_text())
    content["normalizer"] = {"type": "Replace", "pattern": {"Regex": "[0-9]"}, "content": "0"}
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"a tokenizer that tells all of ' 00' \.\. ' 99' apart"):
        given(file.parent)


Q_PROJ = "model.language_model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([f"{Q_PROJ}.bias"], r"its files hold 1 weights that .* would drop, such as \S*q_proj\.bias; correct config.json"),
        ([f"{Q_PROJ}.weight_scale"], r"would drop, such as \S*q_proj\.weight_scale"),
        (
            [f"{Q_PROJ}.lora_A.default.weight", f"{Q_PROJ}.lora_B.default.weight"],
            r"hold 2 weights .*q_proj\.lora_A\.\S*; .* merge adapters",
        ),
        (["model.language_model.layers.0.self_attn.q_norm.weight"], r"would drop, such as \S*q_norm\.weight"),
        (["model.vision_tower.encoder.layers.2.mlp.fc1.weight"], r"would drop, such as \S*encoder\.layers\.2\.mlp\.fc1\.weight"),
        (["model.language_model.layers.0.self_attn.rotary_emb.inv_freq", "model.vision_tower.embeddings.position_ids"], ""),
        (["model.vision_tower.head.attention.weight", "mtp.layers.0.mlp.weight"], ""),
    ],
)
def test_what_the_files_hold_for_a_layer_is_not_dropped(names: list[str], sentence: str, copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "model.safetensors"
    weights = load_file(file)
    save_file(weights | {name: torch.ones(4) for name in names}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=sentence) if sentence else nullcontext():
        given(file.parent)


@pytest.mark.parametrize(("kind", "named"), [(torch.float8_e4m3fn, "F8_E4M3"), (torch.int8, "I8")])
def test_weights_that_need_scales_are_refused_without_a_word_in_the_config(kind: Any, named: str, copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "model.safetensors"
    weights = load_file(file)
    name = next(each for each in weights if each.endswith("layers.0.mlp.gate_proj.weight"))
    save_file(weights | {name: weights[name].to(kind)}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"its weights are quantised \(\S*gate_proj\.weight holds {named}\); name the model in full precision"):
        given(file.parent)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_pointer_of_git_is_named(name: str, copied: Callable[[str], Path]) -> None:
    folder = copied("llava")
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:46\nsize 513028808\n")
    with pytest.raises(ValueError, match=rf"cannot be loaded: {name} is a pointer of Git LFS, .*; fetch it with `git lfs pull`"):
        given(folder)


@pytest.mark.parametrize("left", [0, 100])
def test_a_file_that_was_cut_short_is_named(left: int, copied: Callable[[str], Path]) -> None:
    folder = copied("llava")
    model = given(folder).base
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="100KB")
    given(folder)
    shard = sorted(folder.glob("model-*"))[1]
    shard.write_bytes(shard.read_bytes()[:left])
    with pytest.raises(ValueError, match=rf"cannot be loaded: {shard.name} is damaged or cut short \(.*\); fetch it again"):
        given(folder)


def test_an_answer_is_greedy_whatever_the_model_says_of_generation(copied: Callable[[str], Path]) -> None:
    folder, frames = copied("llava"), np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), dtype=np.uint8)
    plain = given(folder).answer("is it done ?", frames)
    beams = {"num_beams": 4, "repetition_penalty": 5.0, "return_dict_in_generate": True, "output_scores": True, "eos_token_id": [2, 7]}
    (folder / "generation_config.json").write_text(json.dumps({"suppress_tokens": list(range(4, 90)), **beams}))
    policy = given(folder)
    assert policy.base.generation_config.eos_token_id == [2, 7]
    policy.base.generation_config.eos_token_id = 2
    assert policy.answer("is it done ?", frames) == plain


def test_a_template_that_writes_the_date_is_the_same_on_every_day(copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "chat_template.jinja"
    own = file.read_text()
    file.write_text("{% if strftime_now is defined %}{{ 'Today is ' + strftime_now('%d %b %Y %H:%M:%S') + '. ' }}{% endif %}" + own)
    assert given(file.parent).prompts.chat("touch it", 1).startswith("Today is 01 Jan 2025 12:00:00. ")
    file.write_text("{% set form = '%S' %}{{ strftime_now(form) }}" + own)
    with pytest.raises(ValueError, match=r"its chat template writes the time in a form that is not known here; write a date into"):
        given(file.parent)


def test_a_zero_by_which_pixels_would_be_divided_is_named(copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "processor_config.json"
    content = json.loads(file.read_text())
    content["image_processor"]["image_std"] = [0, 0, 0]
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"divides by image_std, which is \[0, 0, 0\]; give numbers above 0"):
        given(file.parent)


def test_an_end_that_is_no_token_of_the_model_is_named(copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token": "<|nope|>"}))
    with pytest.raises(ValueError, match=r"its eos_token '<\|nope\|>' is no token that the model knows; correct it in its tokenizer_config"):
        given(file.parent)


def test_a_tokenizer_of_a_larger_model_is_named(copied: Callable[[str], Path]) -> None:
    file = copied("llava") / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["7"] = 5000
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"its tokenizer writes token 5000, and its embeddings have \d+ rows; name a folder where both are of one"):
        given(file.parent)
