"""The champion's log-probabilities on disk: the same bits, computed once, and only for what they are of."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agent.config.keys import TuneConfig
from agent.learning import reference
from agent.learning.batches import Batches
from agent.learning.reference import kept
from agent.records import Demonstration, PreferencePair
from policies import PolicyConfig, load
from policies.policy import Situation


@pytest.fixture(scope="module")
def policy() -> Any:
    return load(PolicyConfig(batch_size=4), -np.ones(3), np.ones(3))


def pairs_of(policy: Any, situations: list[Situation], seed: int = 0) -> list[PreferencePair]:
    rng = np.random.default_rng(seed)
    one, other = (policy.act(situations, rng.random((len(situations), policy.reply_length))) for _ in range(2))
    sides = [[Demonstration(s, d.tokens) for s, d in zip(situations, each, strict=True)] for each in (one, other)]
    return [PreferencePair((c,), (r,), "decision", ("a", "b", 0)) for c, r in zip(*sides, strict=True)]


def logprobs(policy: Any, pairs: list[PreferencePair], file: Path | None) -> torch.Tensor:
    return (
        Batches(policy, TuneConfig(), (), (), pairs, (), reference_file=file)
        .step([np.arange(0)] * 2 + [np.arange(len(pairs)), np.arange(0)])
        .reference_P2
    )


def test_they_are_read_back_bit_by_bit_and_not_computed_again(
    policy: Any, situations: list[Situation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, file = pairs_of(policy, situations), tmp_path / "reference.safetensors"
    without, first = logprobs(policy, pairs, None), logprobs(policy, pairs, file)
    assert torch.equal(without, first) and file.exists()
    monkeypatch.setattr(policy, "distribution", lambda *_: pytest.fail("computed again"))
    assert torch.equal(logprobs(policy, pairs, file), first)


@pytest.mark.parametrize("change", ["a weight", "a frame", "a token", "the instruction", "the order", "sides"])
def test_what_they_depend_on_computes_them_again(change: str, situations: list[Situation], tmp_path: Path) -> None:
    policy = load(PolicyConfig(batch_size=4), -np.ones(3), np.ones(3))
    pairs, file = pairs_of(policy, situations), tmp_path / "reference.safetensors"
    before = logprobs(policy, pairs, file)
    (chosen,), (rejected,) = pairs[0].chosen, pairs[0].rejected
    if change == "a weight":
        with torch.no_grad():
            next(iter(policy.parameters())).add_(0.5)
    elif change == "a frame":
        seen = replace(chosen.situation, frames=255 - chosen.situation.frames)
        pairs[0] = replace(pairs[0], chosen=(replace(chosen, situation=seen),))
    elif change == "a token":
        pairs[0] = replace(pairs[0], chosen=(replace(chosen, tokens=chosen.tokens[::-1].copy()),))
    elif change == "the instruction":
        pairs[0] = replace(pairs[0], chosen=(replace(chosen, situation=replace(chosen.situation, instruction="lift the green block")),))
    elif change == "the order":
        pairs = pairs[::-1]
    else:
        pairs[0] = replace(pairs[0], chosen=(chosen, rejected), rejected=(rejected,))
    now, anew = logprobs(policy, pairs, file), logprobs(policy, pairs, None)
    assert torch.equal(now, anew) and not torch.equal(now, before)


def test_a_damaged_file_is_written_anew(tmp_path: Path) -> None:
    file, sums = tmp_path / "reference.safetensors", torch.arange(4.0).reshape(2, 2)
    assert torch.equal(kept(file, "key", lambda: sums), sums)
    whole = file.read_bytes()
    for content in (b"", whole[:20], whole[:-3]):
        file.write_bytes(content)
        assert torch.equal(kept(file, "key", lambda: sums), sums) and file.read_bytes() == whole


def test_a_hash_of_a_model_of_hugging_face_has_its_processor(smolvlm: Path, situations: list[Situation]) -> None:
    policy = load(PolicyConfig(model=str(smolvlm), codec="digits", precision="float32", batch_size=4), -np.ones(3), np.ones(3))
    replies = [np.zeros(policy.reply_length, np.int64)] * len(situations)
    before = reference.identity(policy, situations, replies, "1")
    images = policy.processor.image_processor
    images.image_mean = [0.1] * 3
    assert reference.identity(policy, situations, replies, "1") != before
