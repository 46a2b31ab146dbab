"""Micro-batches: the gradient is that of the whole step, memory that of one micro-batch, and running out of memory costs a repetition."""

import itertools
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agent.config.keys import TuneConfig
from agent.learning.batches import Batches, Unit
from agent.learning.microbatches import Part, split, step_gradient
from agent.learning.terms import TERMS, Forward, own_term
from agent.learning.trainer import train
from agent.records import Demonstration, PolicySample, PreferencePair, QAExample, TrainingData
from benchmarks.memory import peak_memory
from policies import PolicyConfig, families, load
from policies.checkpointing import is_checkpointed
from policies.policy import Situation

ALL: dict[str, Any] = {
    "pg_coef": 1.0,
    "bc_coef": 0.7,
    "filtered_bc_coef": 0.3,
    "dpo_coef": 0.9,
    "kl_coef": 0.2,
    "ent_coef": 0.05,
}
WHOLE = 10**9


def only(term: str) -> dict[str, Any]:
    return {**dict.fromkeys(ALL, 0.0), term: 1.0}


@pytest.fixture
def policy(smolvlm: Path) -> Any:
    config = PolicyConfig(model=str(smolvlm), codec="digits", precision="float32", batch_size=4)
    return load(config, -np.ones(3), np.ones(3))


def examples(policy: Any, situations: list[Situation]) -> TrainingData:
    """Samples off policy, demonstrations of different weights, pairs of single replies and of episodes, and questions."""
    rng = np.random.default_rng(0)
    drawn = [policy.act(situations, rng.random((len(situations), policy.reply_length))) for _ in range(3)]
    samples = [PolicySample(s, d.tokens, d.logprobs + rng.normal(0, 0.2, d.logprobs.shape).astype(np.float32), float(rng.normal()))
               for s, d in zip(situations, drawn[0], strict=True)]  # fmt: skip
    first, second, third = ([Demonstration(s, d.tokens, float(rng.uniform(0.2, 2))) for s, d in zip(situations, each, strict=True)] for each in drawn)
    pairs = [PreferencePair((c,), (r,), "decision", ("a", "b", 0)) for c, r in zip(first, second, strict=True)]
    pairs += [PreferencePair(tuple(second[:3]), tuple(third[1:3]), "trajectory", ("a", "b", 0))]
    asked = [QAExample(s.frames, f"is it done: {s.instruction} ?", "yes" if i % 2 else "not at all") for i, s in enumerate(situations)]
    return TrainingData(tuple(third), tuple(pairs), tuple(samples), tuple(asked))


def gradient(
    policy: Any, data: TrainingData, config: TuneConfig, most: int, terms: Any = TERMS, checkpointing: bool = False
) -> tuple[torch.Tensor, float, dict[str, float]]:
    """Return the gradient of one step of all data, in micro-batches of at most so many tokens, and loss and figures."""
    batches = Batches(policy, config, data.samples, data.demonstrations, data.pairs, data.qa_examples, 0.4)
    if checkpointing:
        batches.checkpoint_layers()
    kinds = (data.samples, data.demonstrations, data.pairs, data.qa_examples)
    step = batches.step([np.arange(len(kind)) for kind in kinds])
    assert len(split(step.units, most)) == 1 or most < step.size
    loss, figures = step_gradient(batches, step, config, terms, most, lambda: policy.model.zero_grad(set_to_none=True))
    return torch.cat([p.grad.flatten() for p in policy.parameters()]), loss, figures


def agree(one: tuple[torch.Tensor, float, dict[str, float]], other: tuple[torch.Tensor, float, dict[str, float]]) -> None:
    torch.testing.assert_close(one[0], other[0], rtol=0, atol=1e-6 * float(one[0].abs().max()))
    known = [{k: v for k, v in figures.items() if k not in ("micro_batch_tokens", "checkpointing")} for _, _, figures in (one, other)]
    assert known[0] == pytest.approx(known[1], rel=1e-5, abs=1e-5) and one[1] == pytest.approx(other[1], rel=1e-5)


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "robust"])
def test_the_gradient_of_micro_batches_is_that_of_the_step(kind: Any, policy: Any, situations: list[Situation]) -> None:
    data, config = examples(policy, situations), TuneConfig(**ALL, dpo_loss_type=kind)
    whole = gradient(policy, data, config, WHOLE)
    assert whole[2].keys() >= {"policy_loss", "filtered_bc_loss", "bc_loss", "dpo_loss", "detector_loss", "entropy", "approx_kl"}
    for most in (300, 1):
        agree(whole, gradient(policy, data, config, most))


@pytest.mark.parametrize("term", ALL)
def test_each_term_alone_has_the_gradient_of_the_step(term: str, policy: Any, situations: list[Situation]) -> None:
    data, config = examples(policy, situations), TuneConfig(**only(term))
    whole = gradient(policy, data, config, WHOLE)
    assert float(whole[0].abs().max()) > 0
    agree(whole, gradient(policy, data, config, 150))


def test_a_step_that_leaves_dpo_out_does_so_in_all_its_micro_batches(policy: Any, situations: list[Situation], monkeypatch: Any) -> None:
    """The champion's displacement is 0: above this threshold. Micro-batches that do not know all pairs yet would decide otherwise."""
    data, config = examples(policy, situations), TuneConfig(**ALL)
    with_dpo = gradient(policy, data, config, WHOLE)
    monkeypatch.setattr("agent.learning.terms.DISPLACEMENT", -0.5)
    whole = gradient(policy, data, config, WHOLE)
    assert not torch.allclose(whole[0], with_dpo[0])
    agree(whole, gradient(policy, data, config, 100))


def test_a_term_of_ones_own_sees_the_whole_step(policy: Any, situations: list[Situation]) -> None:
    """A term that mixes replies: its derivative by one reply depends on all others."""

    def spread(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]]:
        loss = now.demonstrations_BL.sum(1).std() + now.chosen_P.mean() * now.samples_BL.mean() + now.entropy.square()
        return loss, {"spread": float(loss.detach()), "seen": float(len(now.demonstrations_BL))}

    data, config = examples(policy, situations), TuneConfig(**ALL, loss="mine.py:spread")
    terms = (*TERMS, lambda now, config: own_term("spread", spread, now, config))
    whole, parts = (gradient(policy, data, config, most, terms) for most in (WHOLE, 100))
    agree(whole, parts)
    assert parts[2]["seen"] == len(situations)


def test_an_example_that_a_step_draws_twice_counts_twice(policy: Any, situations: list[Situation]) -> None:
    """A batch may end one pass over the data and begin the next."""
    data, config = examples(policy, situations), TuneConfig(**dict.fromkeys(ALL, 0.0))
    batches = Batches(policy, config, data.samples, data.demonstrations, data.pairs, data.qa_examples)
    none, losses = np.zeros(0, np.int64), []
    for drawn in ([0], [1], [0, 0, 1]):
        step = batches.step([none, none, none, np.array(drawn)])
        loss, _ = step_gradient(batches, step, config, TERMS, WHOLE, lambda: policy.model.zero_grad())
        losses.append(loss * step.num_answer_tokens)
    assert losses[2] == pytest.approx(2 * losses[0] + losses[1], rel=1e-5)


def test_units_are_filled_up_to_the_limit_and_larger_ones_are_cut() -> None:
    units = [Unit(2, 1, (0, 5)), Unit(3, 1, (1,)), Unit(5, 2, (2, 3)), Unit(0, 1, (4,)), Unit(2, answer=7), Unit(2, answer=3)]
    assert [unit.tokens for unit in units] == [4, 4, 9, 1, 2, 2]
    assert split(units, 9) == [Part([0, 1, 5], []), Part([2, 3], []), Part([4], [7, 3])]
    assert split(units, 8) == [Part([0, 1, 5], []), Part([2], []), Part([3, 4], []), Part([], [7, 3])]
    assert split(units, 100) == [Part([0, 1, 2, 3, 4, 5], [7, 3])]
    assert len(split(units, 1)) == 8, "each reply alone"


def test_equal_frames_and_situations_are_stored_once(policy: Any, situations: list[Situation]) -> None:
    again = [replace(each, frames=each.frames.copy()) for each in situations]
    tokens = [d.tokens for d in policy.act(situations, None)]
    shown = [
        Demonstration(s, t)
        for s, t in zip([*situations, *again, replace(situations[0], advantage=False)], [*tokens, *tokens, tokens[0]], strict=True)
    ]
    asked = [QAExample(each.frames, "is it done ?", "yes") for each in again]
    batches = Batches(policy, TuneConfig(), (), shown, (), asked)
    assert batches._features is not None and len(batches._features._stored) == len(situations)
    assert len({id(each) for each in batches.situations}) == len(situations) + 1


def test_peak_memory_does_not_grow_with_the_demonstrations(policy: Any) -> None:
    """Sixteen policy samples, and four or sixteen times as many demonstrations beside them in one step."""
    rng = np.random.default_rng(0)
    seen = [Situation("touch the red ball", rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)) for _ in range(272)]
    drawn = policy.act(seen, rng.random((len(seen), policy.reply_length)))
    samples = tuple(PolicySample(s, d.tokens, d.logprobs, 1.0) for s, d in zip(seen[:16], drawn, strict=False))
    shown = [Demonstration(s, d.tokens) for s, d in zip(seen[16:], drawn[16:], strict=True)]
    peaks = {}
    for count, most in itertools.product((64, 256), (1500, WHOLE)):
        data, config = TrainingData(tuple(shown[:count]), samples=samples), TuneConfig(**ALL, micro_batch_tokens=most)
        peaks[count, most] = peak_memory(lambda data=data, config=config, most=most: gradient(policy, data, config, most))
    assert peaks[256, WHOLE] > 3 * peaks[64, WHOLE], "without micro-batches it does"
    assert peaks[256, 1500] < 1.1 * peaks[64, 1500] < 0.6 * peaks[64, WHOLE]


class Small:
    """A real model on a device that holds so many tokens: a larger forward pass in training raises what CUDA raises.

    It holds `relieved` tokens whose layers are computed again.
    """

    def __init__(self, policy: Any, tokens: int, relieved: int = 0) -> None:
        self.failed = 0
        embed = policy.base.get_input_embeddings()

        def look(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            checkpointed = is_checkpointed(families.text_model(policy.base).layers[0])
            if torch.is_grad_enabled() and inputs[0].numel() > (relieved if checkpointed and relieved else tokens):
                self.failed += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        self.remove = embed.register_forward_hook(look).remove


def test_out_of_memory_halves_the_micro_batches_and_loses_nothing(policy: Any, situations: list[Situation], caplog: Any) -> None:
    data, start, caplog_level = examples(policy, situations), policy.weights(), caplog.at_level(logging.WARNING)
    config = TuneConfig(**ALL, epochs=3)
    small = Small(policy, 200)
    with caplog_level:
        rows = train(policy, data, config)
    told = [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()]
    assert small.failed and len(told) == small.failed, "one line each time, and not once a step"
    assert all("the step is repeated in parts of at most" in each for each in told)
    after, fitted = policy.weights(), rows[-1]["micro_batch_tokens"]
    small.remove()
    policy.put(start)
    again = train(policy, data, config.model_copy(update={"micro_batch_tokens": int(fitted)}))
    assert [row["loss"] for row in again] == [row["loss"] for row in rows]
    assert all(torch.equal(after[name], value) for name, value in policy.weights().items()), "as if it had begun so"


def test_layers_are_computed_again_where_not_even_one_reply_fits(policy: Any, situations: list[Situation], caplog: Any) -> None:
    data, start, config = examples(policy, situations), policy.weights(), TuneConfig(**ALL)
    rows = train(policy, data, config)
    plain = policy.weights()
    policy.put(start)
    small = Small(policy, 10, relieved=WHOLE)
    with caplog.at_level(logging.WARNING):
        again = train(policy, data, config)
    small.remove()
    told = [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()]
    assert len(told) == small.failed and "computes layers again" in told[-1] and not any("computes" in each for each in told[:-1])
    assert [row["loss"] for row in again] == pytest.approx([row["loss"] for row in rows], rel=1e-4)
    assert all(row["checkpointing"] and "micro_batch_tokens" not in row for row in again), "with it whole steps fit, as they were meant"
    assert all("checkpointing" not in row for row in rows)
    after = policy.weights()
    moved = max(float((plain[name] - value).abs().max()) for name, value in start.items())
    assert moved > 0 and all(float((after[name] - value).abs().max()) < 0.1 * moved for name, value in plain.items())


class Stop(Exception):
    pass


@pytest.mark.parametrize("relieved", [WHOLE, 120])
def test_a_training_that_goes_on_does_what_memory_forced_upon_it(
    relieved: int, policy: Any, situations: list[Situation], tmp_path: Path, monkeypatch: Any
) -> None:
    """It does not run out of memory a second time, and takes the same steps."""
    monkeypatch.setattr("agent.learning.optimiser.EVERY", 1)
    data, start, file, config = examples(policy, situations), policy.weights(), tmp_path / "steps.pt", TuneConfig(**ALL)
    small = Small(policy, 10, relieved)
    whole, after = train(policy, data, config, steps=4), policy.weights()
    assert ("micro_batch_tokens" in whole[-1]) == (relieved != WHOLE), "with checkpointing it begins again, and is halved as far as it must be"
    policy.put(start)

    def kill(step: int, steps: int, figures: dict[str, float]) -> None:
        if step == 3:
            raise Stop  # after two checkpoints

    with pytest.raises(Stop):
        train(policy, data, config, steps=4, checkpoint=file, watch=kill)
    small.failed = 0
    policy.put(start)  # as the next start does: the champion is the reference of DPO
    resumed = train(policy, data, config, steps=4, checkpoint=file)
    small.remove()
    assert not small.failed and resumed == whole
    assert all(torch.equal(after[name], value) for name, value in policy.weights().items())


def test_a_device_that_holds_not_one_reply_is_one_sentence(policy: Any, situations: list[Situation]) -> None:
    small = Small(policy, 10)
    with pytest.raises(ValueError, match=r"does not fit into the device's memory \(CUDA out of memory.*use a smaller model"):
        train(policy, examples(policy, situations), TuneConfig(**ALL))
    small.remove()


@pytest.mark.parametrize("model", ["smolvlm", "nano"])
def test_gradient_checkpointing_has_the_same_gradient_and_less_memory(model: str, request: Any, situations: list[Situation]) -> None:
    words = {"model": str(request.getfixturevalue(model)), "codec": "digits"} if model != "nano" else {}
    policy: Any = load(PolicyConfig.model_validate({**words, "precision": "float32", "batch_size": 4}), -np.ones(3), np.ones(3))
    many = [replace(each, advantage=bool(i)) for i in range(2) for each in situations]
    shown = tuple(Demonstration(s, d.tokens) for s, d in zip(many, policy.act(many, None), strict=True))
    asked = tuple(QAExample(each.frames, f"is it done: {each.instruction} ?", "yes") for each in many)
    config = TuneConfig(**ALL)
    for data in (TrainingData(shown), TrainingData(qa_examples=asked)):
        found, peaks = [], []
        for on in (False, True):
            peaks.append(peak_memory(lambda on=on, data=data, found=found: found.append(gradient(policy, data, config, WHOLE, checkpointing=on))))
        agree(*found)
        assert peaks[1] < 0.7 * peaks[0]
    assert not [module for module in policy.model.modules() if "forward" in vars(module)], "acting is as before"


def test_pairs_take_hardly_more_memory_than_demonstrations_of_as_many_situations(situations: list[Situation]) -> None:
    policy: Any = load(PolicyConfig(batch_size=4, precision="float32"), -np.ones(3), np.ones(3))
    many = [replace(each, advantage=bool(i)) for i in range(2) for each in situations]
    chosen, rejected = (policy.codec.vocabulary_U[np.full((len(many), policy.reply_length), i)] for i in (3, 20))
    pairs = tuple(PreferencePair.of(s, c, r, "decision", ("a", "b", 0)) for s, c, r in zip(many, chosen, rejected, strict=True))
    peaks = [
        peak_memory(lambda data=data, config=config: gradient(policy, data, config, WHOLE))
        for data, config in (
            (TrainingData(tuple(pair.chosen[0] for pair in pairs)), TuneConfig(**only("bc_coef"))),
            (TrainingData(pairs=pairs), TuneConfig(**only("dpo_coef"))),
        )
    ]
    assert peaks[1] < 1.15 * peaks[0]
