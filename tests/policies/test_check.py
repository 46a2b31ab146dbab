"""What `etude check-model` finds, what every run begins with, and estimated beside measured memory."""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import families as page
from policies import check
from policies.check import ROUGH, agreement, cheap_faults, examine, lost_bins, tolerance
from policies.codec import Codec
from tests.families import MAKERS
from tests.policies.test_vlm import make

SHAPE = (2, 64, 64, 3)


@pytest.mark.parametrize("family", ["nano", "llava", "internvl"])
def test_weights_in_bfloat16_are_no_fault(family: str, request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, here by force."""
    monkeypatch.setattr("policies.vlm.frozen_dtype", lambda precision, device: torch.bfloat16)
    policy = make(family, request, train="lora")
    assert tolerance(policy) == ROUGH and not examine(policy, SHAPE).faults


@pytest.mark.parametrize("family", ["nano", "qwen3", "paligemma2"])
@pytest.mark.parametrize("train", ["text", "lora"])
def test_a_sound_model_has_no_fault(family: str, train: str, request: Any) -> None:
    findings = examine(make(family, request, train=train), SHAPE)
    assert not findings.faults
    about = ("family", "image tokens", "frames", "actions", "LoRA targets", "memory")
    assert tuple(findings.lines) == (*about, "codec", "acting = learning", "whole model", "detector", "shared prompts", "grounding")
    assert findings.lines["LoRA targets"].startswith("q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj: ")
    if family == "qwen3":
        assert findings.lines["family"].startswith("qwen3_vl: Qwen3VLForConditionalGeneration, 0.3 M parameters, 2 text layers")
        assert findings.lines["image tokens"].startswith("4 for a frame of 64 x 64 pixels")
        assert findings.lines["frames"] == "prepared in batches on the device"
        assert findings.lines["actions"] == "digits: 100 bins, 3 tokens a number; 18 tokens for 6 numbers"
        assert findings.lines["codec"] == "100 of 100 bins come back"


def test_the_layers_under_adapters_are_those_that_were_named(request: Any) -> None:
    policy = make("llava", request, train="lora", lora={"target_modules": ["q_proj", "v_proj"]})
    assert examine(policy, SHAPE).lines["LoRA targets"] == "q_proj, v_proj: 4 layers"


@pytest.mark.parametrize("family", ["deepseek_vl", "llava_next_video"])
def test_a_neighbour_has_no_fault(family: str, request: Any) -> None:
    policy = make(family, request)
    findings = examine(policy, SHAPE)
    assert not findings.faults and check.whole_gap(policy, SHAPE) < 1e-5
    one, other = (policy.first_logits("touch it", np.full(SHAPE, colour, np.uint8)) for colour in (0, 255))
    assert not torch.allclose(one, other)  # it sees


def test_a_model_that_sees_other_frames_than_its_processor_shows_it_is_found(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, own = make("llava", request), check.whole_gap
    monkeypatch.setattr(policy, "pixels", lambda observations, pixels=policy.pixels: {name: -each for name, each in pixels(observations).items()})
    assert agreement(policy, SHAPE) < 1e-5 < check.AGREEMENT < own(policy, SHAPE)
    assert examine(policy, SHAPE).faults[0].startswith("Frames that are encoded apart mean something else to this model than frames within it")


def test_sizes_in_another_form_leave_out_memory_alone(request: Any) -> None:
    policy = make("llava", request)
    vars(policy.base.config)["vision_config"] = SimpleNamespace(hidden_size=32)  # a convolution, as Gemma 3n has it
    findings = examine(policy, SHAPE)
    assert not findings.faults and findings.lines["memory"].startswith("not estimated")


def test_a_model_whose_first_decision_fails_is_one_sentence(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.ready import can_decide

    policy = make("ovis2", request)
    with pytest.raises(ValueError, match=r"A first decision of '.*ovis2.*' fails \(AttributeError: .*visual_indicator_features.*\); choose another"):
        can_decide(policy, SHAPE)


def test_a_model_that_cannot_be_asked_is_one_sentence_where_it_is_asked(request: Any) -> None:
    """Its template writes images behind the words, so that nothing of a chat comes before every question."""
    from agent.ready import can_decide

    policy = make("llava", request)
    words, images = "{{ message['content'][-1]['text'] }}", "<image>" * SHAPE[0]
    policy.processor.chat_template = "{% for message in messages %}user: " + words + images + "\nassistant:{% endfor %}"
    policy.prompts.chat.cache_clear()
    can_decide(policy, SHAPE)
    with pytest.raises(ValueError, match=r"Questions about frames cannot be asked of this model \(.*\); set label\.by env"):
        can_decide(policy, SHAPE, questions=True)


def test_a_model_whose_learning_is_another_one_is_found(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make("paligemma", request)
    assert agreement(policy, SHAPE) < 1e-5 and not cheap_faults(policy, SHAPE)
    policy.family = type(policy.family)(reply_type=0)  # the prompt then sees the reply when it learns
    assert agreement(policy, SHAPE) > check.AGREEMENT
    assert cheap_faults(policy, SHAPE)[0].startswith("Acting and learning give log-probabilities that differ by ")


def test_a_model_that_is_asked_wrongly_is_found(request: Any) -> None:
    policy = make("paligemma2", request)
    policy.family = type(policy.family)(reply_type=1, caps_logits=True)  # as if a question changed nothing that stands before it
    assert any(fault.startswith("Questions asked together are answered otherwise than alone") for fault in examine(policy, SHAPE).faults)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_every_bin_comes_back_and_one_that_does_not_is_counted(scale: float) -> None:
    numerals = np.arange(33)[:, None]
    codec = Codec(numerals, np.array([-1.0, 0, 5]), np.array([1.0, 3, 5]), 2, np.array([0, 4, 0]), scale=scale)
    assert lost_bins(codec) == 0
    codec.encode = lambda actions, whole=codec.encode: np.where(whole(actions) == 20, 21, whole(actions))  # type: ignore[method-assign]
    assert lost_bins(codec) == 1


def test_a_run_that_cannot_learn_does_not_begin() -> None:
    from agent.ready import can_decide

    class Deaf:  # its replies get other probabilities when it learns
        config, model = SimpleNamespace(state={}), torch.nn.Linear(1, 1)
        codec, reply_length = Codec(np.arange(5)[:, None], np.zeros(2), np.ones(2), 1), 2

        def act(self, situations: Any, noise: Any) -> list[Any]:
            return [SimpleNamespace(tokens=np.zeros(2, np.int64), logprobs=np.zeros(2, np.float32)) for _ in situations]

        def distribution(self, situations: Any, tokens: Any) -> torch.Tensor:
            return torch.full((len(situations), 2, 5), -np.log(5))

    with pytest.raises(ValueError, match=r"differ by 1\.6 nats a token"):
        can_decide(Deaf(), SHAPE)


@pytest.mark.parametrize("training", ["", "training"])
def test_estimated_memory_is_near_what_is_measured(training: str) -> None:
    estimated, measured = 0.0, 0.0
    for _ in range(3):  # a kernel that takes idle pages back makes a growth look smaller than it was, never larger
        done = subprocess.run([sys.executable, page.__file__, "nano", "64", training], capture_output=True, text=True)
        estimated, growth = json.loads(done.stdout.splitlines()[-1])
        measured = max(measured, growth)
        if estimated < 2 * measured:
            break
    assert 0.5 < estimated / measured < 2, (estimated, measured)


def test_the_page_of_families_has_a_row_for_each() -> None:
    table = (page.ROOT / "docs" / "families.md").read_text().partition("## Memory")[0]
    assert table.count("\n| ") == 1 + 1 + len(MAKERS)  # the head, nano and the others
