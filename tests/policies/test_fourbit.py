"""Adapters over weights of four bits: they act as they learn, and a merged model says what they said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bitsandbytes.nn import Linear4bit
from pydantic import ValidationError

from policies.check import agreement
from policies.families import lora_targets
from policies.keys import PolicyConfig
from policies.policy import Situation
from policies.vlm import Vlm

LOW, HIGH = -np.ones(3), np.ones(3)
FAMILIES = ("nano", "smolvlm", "glm4v", "gemma", "qwen3_5")  # fused projections, attention in both directions, linear attention


def writes(model: Path) -> dict[str, Any]:
    """Return how a family writes numbers: the embedded model as number tokens, others as digits."""
    return {"codec": "bins" if str(model) == "nano" else "digits"}


def make(model: Path, **more: Any) -> Vlm:
    """Return a policy with moved adapters over weights of four bits."""
    policy = Vlm(PolicyConfig(model=str(model), precision="4bit", batch_size=4, **{"train": "lora", **writes(model), **more}), LOW, HIGH)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return policy


@pytest.mark.parametrize("family", FAMILIES)
def test_adapted_layers_and_no_others_take_half_a_byte_a_weight_and_act_as_they_learn(
    family: str, folder_of: Any, situations: list[Situation]
) -> None:
    policy = make(folder_of(family))
    small = {name for name, part in policy.base.named_modules() if isinstance(part, Linear4bit)}
    assert {name.removesuffix(".base_layer") for name in small} == set(lora_targets(policy.base))
    assert all(policy.base.get_submodule(name).weight.dtype == torch.uint8 for name in small)
    assert agreement(policy, situations[0].frames.shape) < 1e-4
    tokens = np.stack([each.tokens for each in policy.act(situations, None)])
    policy.logprobs(situations, tokens).sum().backward()
    assert sum(float(p.grad.abs().sum()) for p in policy.parameters() if p.grad is not None) > 0
    plain = Vlm(PolicyConfig(model=str(folder_of(family)), train="lora", batch_size=4, **writes(folder_of(family))), LOW, HIGH)
    assert policy.base_name == plain.base_name and policy.base.num_parameters() == plain.base.num_parameters()


def test_a_merged_model_says_what_adapters_over_four_bits_said(smolvlm: Path, situations: list[Situation]) -> None:
    """Also with a connector that learnt, and DoRA, whose scale depends on the weights under it."""
    for more in ({"train": "lora+connector"}, {"lora": {"r": 4, "use_dora": True}}):
        policy = make(smolvlm, **more)
        tokens = np.stack([each.tokens for each in policy.act(situations, None)])
        with torch.no_grad():
            before = policy.distribution(situations, tokens)
            policy.model = policy.base = policy.merged()
            torch.testing.assert_close(policy.distribution(situations, tokens), before, rtol=0, atol=1e-4)
        assert {p.dtype for p in policy.model.parameters()} == {torch.float32}


def test_without_adapters_nothing_could_learn(smolvlm: Path) -> None:
    with pytest.raises(ValidationError, match="weights of four bits learn by adapters"):
        PolicyConfig(model=str(smolvlm), precision="4bit")


def test_a_missing_package_is_named(smolvlm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.bits.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"policy\.precision 4bit needs bitsandbytes, which is not installed: pip install 'etude\[bits\]'\."):
        make(smolvlm)
