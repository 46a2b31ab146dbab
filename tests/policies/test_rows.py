"""A smaller batch is computed where it has proven to give the bits of a full one, and nowhere else."""

from typing import Any

import numpy as np
import pytest
import torch

from policies import PolicyConfig, load
from policies.policy import Situation
from policies.rows import Rows


@pytest.mark.parametrize(("least", "tried"), [(1, [32, 6, 6, 6, 6]), (8, [32, 6, 32, 8, 8, 8]), (32, [32, 6, 32, 8, 32, 10, 32, 12])])
def test_a_size_is_used_once_it_has_proven_itself(least: int, tried: list[int]) -> None:
    sizes: list[int] = []

    def function(size: int) -> tuple[torch.Tensor, ...]:
        sizes.append(size)
        return torch.arange(size), torch.arange(size) / 3 + (0.0 if size >= least else 1e-7)

    rows = Rows(32)
    for _ in range(4):
        _, result = rows.compute(function, 5, "a shape")
        assert torch.equal(result[:5], torch.arange(5) / 3), "the bits of a full batch"
    assert sizes == tried
    sizes.clear()
    rows.compute(function, 5, "another shape")
    rows.compute(function, 31, "a shape")
    assert sizes == [32, 6, 32], "each shape proves itself, and a full batch needs no proof"


def test_a_lone_decision_is_that_of_a_full_batch_and_may_cost_less(situations: list[Situation]) -> None:
    policy: Any = load(PolicyConfig(batch_size=32), -np.ones(3), np.ones(3))
    seen: list[int] = []
    policy.base.lm_head.register_forward_hook(lambda module, given, result: seen.append(len(given[0])))
    noise = np.random.default_rng(0).random((1, policy.reply_length))
    decisions = [policy.act(situations[:1], noise)[0] for _ in range(4)]
    (full,) = policy.act(situations[:1] * 32, np.repeat(noise, 32, 0))[:1]
    for decision in decisions:
        assert np.array_equal(decision.tokens, full.tokens) and np.array_equal(decision.logprobs, full.logprobs)
    assert set(seen[: 2 * policy.reply_length]) == {32, 2}, "a smaller size is tried; whether it gives the same bits depends on the machine"
