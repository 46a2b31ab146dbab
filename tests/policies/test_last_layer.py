"""The last layer computes what is read of it, and nothing that is read changes."""

from typing import Any

import numpy as np
import pytest
import torch

from policies import PolicyConfig, families, load
from policies.checkpointing import gradient_checkpointing
from policies.last_layer import last_tokens
from policies.policy import Situation

LOW, HIGH = -np.ones(3), np.ones(3)


def policy_of(family: str, request: Any, **more: Any) -> Any:
    words = {} if family == "nano" else {"codec": "digits"}
    return load(PolicyConfig(model=str(request.getfixturevalue("folder_of")(family)), precision="float32", batch_size=4, **words, **more), LOW, HIGH)


@pytest.mark.parametrize(("family", "train"), [("nano", "text"), ("nano", "lora"), ("qwen3", "text"), ("gemma", "text")])
def test_what_is_read_is_as_ever_and_has_the_same_gradient(family: str, train: str, request: Any, situations: list[Situation]) -> None:
    policy = policy_of(family, request, train=train)
    alike = [situations[0], situations[2]]  # prompts of one length
    inputs = policy._inputs([policy.prompts.of(each) for each in alike], policy.features([each.frames for each in alike]))
    results = []
    for count in (10_000, 3):
        policy.model.zero_grad()
        with last_tokens(policy.base, count):
            logits = policy.model(**inputs, logits_to_keep=3).logits
        logits.log_softmax(-1)[..., 5].sum().backward()
        results.append((logits.detach(), torch.cat([each.grad.flatten() for each in policy.parameters() if each.grad is not None])))
    (whole, gradient), (part, other) = results
    torch.testing.assert_close(part, whole, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(other, gradient, atol=1e-3 * float(gradient.abs().max()), rtol=0)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_acting_and_learning_read_few_tokens_of_the_last_layer(checkpointed: bool, request: Any, situations: list[Situation]) -> None:
    """A checkpointed layer is computed again in the backward pass, so it computes everything both times."""
    policy, seen = policy_of("nano", request), []
    families.text_model(policy.base).layers[-1].mlp.down_proj.register_forward_hook(lambda module, given, result: seen.append(given[0].shape[1]))
    (decision,) = policy.act(situations[:1], None)
    assert len(seen) >= policy.reply_length and set(seen) == {1}, "more often where two sizes of a batch are compared"
    seen.clear()
    distribution = policy.distribution(situations[:1], decision.tokens[None])
    assert seen == [policy.reply_length]
    if checkpointed:
        seen.clear()
        with gradient_checkpointing(policy.model):
            again = policy.distribution(situations[:1], decision.tokens[None])
        again.sum().backward()
        length = policy.prompts.of(situations[0])["input_ids"].shape[1]
        assert set(seen) == {length + policy.reply_length - 1}
        torch.testing.assert_close(again, distribution, atol=1e-4, rtol=1e-5)
