"""The estimate of `etude check-model` beside the measured peak of a gradient step."""

from typing import Any

import numpy as np
import pytest
import torch

from agent.config.keys import TuneConfig
from agent.learning.batches import Batches
from agent.learning.trainer import train
from agent.records import Demonstration, TrainingData
from benchmarks.memory import peak_memory
from policies import PolicyConfig, load
from policies.check import patches
from policies.memory import estimate
from policies.policy import Situation

ROWS, FACTOR = 32, 1.5


@pytest.mark.parametrize("case", ["whole step", "micro-batches", "checkpointing", "frozen weights in bfloat16"])
def test_estimated_memory_of_training_is_near_the_peak(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    half, most = case.startswith("frozen"), 256 if case == "micro-batches" else 1 if case == "checkpointing" else 32768
    if half:  # as on a GPU, here by force
        monkeypatch.setattr("policies.vlm.frozen_dtype", lambda precision, device: torch.bfloat16)
    if case == "checkpointing":
        monkeypatch.setattr(Batches, "checkpointing", property(lambda self: True, lambda self, value: None), raising=False)
    policy: Any = load(PolicyConfig(precision="bfloat16" if half else "float32", train="lora" if half else "text"), -np.ones(7), np.ones(7))
    rng = np.random.default_rng(0)
    seen = [Situation("touch the red ball", rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)) for _ in range(ROWS)]
    tokens = policy.codec.vocabulary_U[rng.integers(0, 33, (ROWS, policy.reply_length))]
    data = TrainingData(tuple(Demonstration(*each) for each in zip(seen, tokens, strict=True)))
    policy.features([each.frames for each in seen])  # cached: the vision tower is no part of a step
    config = TuneConfig(pg_coef=0, dpo_coef=0, bc_coef=1, batch_size=ROWS, micro_batch_tokens=most)
    length = policy.prompts.of(seen[0])["input_ids"].shape[1] + policy.reply_length
    memory = estimate(policy, ROWS, length, patches(policy, seen[0].frames), half, most)
    peak = memory.weights + peak_memory(lambda: train(policy, data, config, steps=1))
    estimated = memory.least if case == "checkpointing" else memory.training
    assert 1 / FACTOR < (estimated - memory.weights) / (peak - memory.weights) < FACTOR
    assert memory.least < memory.training or case == "checkpointing"
