"""Optimisation: each loss moves the policy its way, the champion stays the reference, and a killed descent goes on bit by bit."""

from typing import Any

import numpy as np
import pytest
import torch

from agent.config.keys import TuneConfig
from agent.learning import losses
from agent.learning.trainer import _rows_of_step, _share, train
from agent.records import Demonstration, PolicySample, PreferencePair, QAExample, TrainingData
from policies import PolicyConfig, load
from policies.policy import Situation
from policies.scoring import choice_probabilities

OFF = {"pg_coef": 0.0, "bc_coef": 0.0, "dpo_coef": 0.0}


@pytest.fixture
def policy() -> Any:
    return load(PolicyConfig(batch_size=8, precision="float32"), -np.ones(3), np.ones(3))


def replies(policy: Any, situations: list[Situation], seed: int) -> Any:
    return policy.act(situations, np.random.default_rng(seed).random((len(situations), policy.reply_length)))


def likelihood(policy: Any, situations: list[Situation], tokens: list[np.ndarray]) -> np.ndarray:
    return policy.logprobs(situations, np.stack(tokens)).sum(1).detach().numpy()


def test_imitation_makes_demonstrations_likelier(policy: Any, situations: list[Situation]) -> None:
    shown = [d.tokens for d in replies(policy, situations, 1)]
    before = likelihood(policy, situations, shown)
    training_data = TrainingData(tuple(Demonstration(s, t) for s, t in zip(situations, shown, strict=True)))
    rows = train(policy, training_data, TuneConfig(**{**OFF, "bc_coef": 1.0}, learning_rate=1e-3), steps=20)
    assert rows[-1]["bc_loss"] < rows[0]["bc_loss"]
    assert (likelihood(policy, situations, shown) > before).all()


def test_preference_widens_the_margin_without_sinking_the_chosen(policy: Any, situations: list[Situation]) -> None:
    drawn = [[d.tokens for d in replies(policy, situations, seed)] for seed in (1, 2)]
    parted = [(s, c, r) for s, c, r in zip(situations, *drawn, strict=True) if not np.array_equal(c, r)]
    situations, chosen = ([each[i] for each in parted] for i in range(2))
    pairs = [PreferencePair.of(s, c, r, "decision", ("a", "b", 0)) for s, c, r in parted]
    before = likelihood(policy, situations, chosen)
    rows = train(
        policy,
        TrainingData(pairs=tuple(pairs)),
        TuneConfig(**{**OFF, "dpo_coef": 1.0}, learning_rate=3e-4, dpo_beta=0.3, rpo_alpha=0.5),
        steps=20,
    )
    assert rows[0]["margins"] == pytest.approx(0, abs=1e-4)  # the reference is the champion itself
    assert rows[-1]["margins"] > 0.5 and rows[-1]["accuracies"] == 1.0
    assert (likelihood(policy, situations, chosen) > before).mean() >= 0.8


def parted_pairs(policy: Any, situations: list[Situation]) -> TrainingData:
    drawn = [[d.tokens for d in replies(policy, situations, seed)] for seed in (1, 2)]
    parted = [(s, c, r) for s, c, r in zip(situations, *drawn, strict=True) if not np.array_equal(c, r)]
    return TrainingData(pairs=tuple(PreferencePair.of(s, c, r, "decision", ("a", "b", 0)) for s, c, r in parted))


def test_a_preference_between_whole_episodes_is_about_the_sum_of_their_replies(policy: Any, situations: list[Situation]) -> None:
    """Sides of different length, in batches that hold some of the pairs: every reply counts for its own side."""
    one, two = (tuple(Demonstration(s, d.tokens) for s, d in zip(situations, replies(policy, situations, seed), strict=True)) for seed in (1, 2))
    pairs = [PreferencePair(one[:2], two[:1], "trajectory", ("a", "b", 0)), PreferencePair(two[2:5], one[3:5], "trajectory", ("c", "d", 0))]
    sums = [sum(likelihood(policy, [d.situation], [d.tokens])[0] for d in side) for pair in pairs for side in (pair.chosen, pair.rejected)]
    config = TuneConfig(**{**OFF, "dpo_coef": 1.0}, learning_rate=3e-4, dpo_beta=0.3)
    first = train(policy, TrainingData(pairs=tuple(pairs)), config, steps=1)[0]
    assert first["margins"] == pytest.approx(0, abs=1e-4)
    assert first["chosen_logps"] == pytest.approx((sums[0] + sums[2]) / 2, abs=1e-3)
    assert first["rejected_logps"] == pytest.approx((sums[1] + sums[3]) / 2, abs=1e-3)
    last = train(policy, TrainingData(pairs=tuple(pairs)), config.model_copy(update={"batch_size": 1}), steps=20)[-1]
    assert last["margins"] > 0.3


@pytest.mark.parametrize("kind", ["ipo", "robust"])
def test_every_preference_widens_the_margin(kind: str, policy: Any, situations: list[Situation]) -> None:
    config = TuneConfig(**{**OFF, "dpo_coef": 1.0}, dpo_loss_type=kind, learning_rate=3e-4, dpo_beta=0.3)  # type: ignore[arg-type]
    rows = train(policy, parted_pairs(policy, situations), config, steps=15)
    assert rows[0]["margins"] == pytest.approx(0, abs=1e-4) and rows[-1]["margins"] > 0.3


def test_where_chosen_replies_sink_the_preference_is_left_out(policy: Any, situations: list[Situation], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.learning.terms.DISPLACEMENT", 0.01)
    config = {**OFF, "dpo_coef": 1.0, "learning_rate": 1e-3, "dpo_beta": 0.3, "rpo_alpha": 0.0}
    rows = train(policy, parted_pairs(policy, situations), TuneConfig(**config), steps=20)
    sunk = [row for row in rows if row["displacement"] > 0.01]
    assert sunk and all(row["grad_norm"] == 0 for row in sunk), "without an anchor nothing is left of such a step"
    assert any(row["grad_norm"] > 0 for row in rows)


def test_the_divergence_from_the_champion_can_be_charged(policy: Any, situations: list[Situation]) -> None:
    decisions, start, far = replies(policy, situations, 1), policy.weights(), {}
    samples = [PolicySample(s, d.tokens, d.logprobs, float(np.sign(d.actions[0, 0]))) for s, d in zip(situations, decisions, strict=True)]
    for kl in (0.0, 10.0):
        policy.load(start)
        config = TuneConfig(**{**OFF, "pg_coef": 1.0}, kl_coef=kl, learning_rate=1e-4)
        far[kl] = train(policy, TrainingData(samples=tuple(samples)), config, steps=20)[-1]["approx_kl"]
    assert far[10.0] < 0.5 * far[0.0]


def test_policy_gradient_follows_the_advantage(policy: Any, situations: list[Situation]) -> None:
    good, bad = (replies(policy, situations, seed) for seed in (1, 2))
    samples = [PolicySample(s, d.tokens, d.logprobs, sign) for sign, row in ((1.0, good), (-1.0, bad)) for s, d in zip(situations, row, strict=True)]
    before = [likelihood(policy, situations, [d.tokens for d in row]) for row in (good, bad)]
    rows = train(
        policy,
        TrainingData(samples=tuple(samples)),
        TuneConfig(**{**OFF, "pg_coef": 1.0}, learning_rate=1e-4, batch_size=10),
        steps=5,
    )
    after = [likelihood(policy, situations, [d.tokens for d in row]) for row in (good, bad)]
    assert (after[0] - before[0]).mean() > 0 > (after[1] - before[1]).mean()
    assert abs(rows[0]["approx_kl"]) < 1e-6 and rows[0]["clip_fraction"] == 0  # on policy in the first step


def test_the_first_step_is_as_long_as_the_rate_and_warm_up_shortens_it(policy: Any, situations: list[Situation]) -> None:
    tokens = [d.tokens for d in replies(policy, situations, 1)]
    samples = TrainingData(samples=tuple(PolicySample(s, t, np.zeros(len(t), np.float32), 1.0) for s, t in zip(situations, tokens, strict=True)))
    start, moved = policy.weights(), {}
    for warmup in (0.0, 0.5):
        policy.load(start)
        config = TuneConfig(**{**OFF, "pg_coef": 1.0}, learning_rate=1e-4, warmup_ratio=warmup)
        at_once = {}
        train(policy, samples, config, steps=10, watch=lambda done, steps, figures, kept=at_once: kept.setdefault("first", policy.weights()))
        moved[warmup] = max(float((at_once["first"][name] - start[name]).abs().max()) for name in start)
    assert moved[0.0] == pytest.approx(1e-4, rel=0.05)  # Adam's first step has the length of the rate, whatever the gradient
    assert moved[0.5] == pytest.approx(moved[0.0] / 5, rel=0.05)


def test_where_thoughts_are_not_explored_the_action_alone_has_the_credit(situations: list[Situation], monkeypatch: pytest.MonkeyPatch) -> None:
    """One step is the step of a policy gradient over the action's tokens."""
    monkeypatch.setattr("agent.learning.trainer.MAX_GRAD_NORM", 1e9)
    config = {**OFF, "pg_coef": 1.0, "learning_rate": 1e-3, "batch_size": 64}
    norms = {}
    for explore in ("reply", "action"):
        policy: Any = load(PolicyConfig(batch_size=8, precision="float32", thought="### what then ? ", sample=explore), -np.ones(3), np.ones(3))
        start, decisions = policy.weights(), replies(policy, situations, 1)
        samples = [PolicySample(s, d.tokens, d.logprobs, float(np.sign(d.actions[0, 0]))) for s, d in zip(situations, decisions, strict=True)]
        norms[explore] = train(policy, TrainingData(samples=tuple(samples)), TuneConfig(**config), steps=1)[0]["grad_norm"]
        policy.load(start)
    tokens, advantage = np.stack([d.tokens for d in decisions]), torch.tensor([sample.advantage for sample in samples])
    sampled = torch.tensor(np.stack([d.logprobs for d in decisions]))
    policy.model.zero_grad()
    losses.policy_loss(policy.logprobs(situations, tokens)[:, 3:], sampled[:, 3:], advantage, 0.2, 0.28).backward()
    expected = float(torch.sqrt(sum((p.grad**2).sum() for p in policy.parameters() if p.grad is not None)))  # type: ignore[arg-type]
    assert norms["action"] == pytest.approx(expected, rel=1e-3)
    assert norms["reply"] != pytest.approx(expected, rel=1e-2)


def test_the_detector_learns_beside_the_actor(policy: Any, situations: list[Situation]) -> None:
    told = [QAExample(s.frames, f"is it done: {s.instruction} ?", "yes" if i % 2 else "no") for i, s in enumerate(situations)]
    shown = tuple(Demonstration(s, d.tokens) for s, d in zip(situations, replies(policy, situations, 1), strict=True))
    config = TuneConfig(**{**OFF, "bc_coef": 1.0}, learning_rate=1e-3, batch_size=8)
    rows = train(policy, TrainingData(shown, qa_examples=tuple(told)), config, qa_coef=1, steps=15)
    assert rows[-1]["detector_loss"] < 0.5 * rows[0]["detector_loss"] and rows[-1]["bc_loss"] < rows[0]["bc_loss"]
    asked, frames = [each.question for each in told], [each.frames for each in told]
    np.testing.assert_array_equal(choice_probabilities(policy, frames, asked)[:, 0] > 0.5, [each.answer == "yes" for each in told])
    assert "detector_loss" not in train(policy, TrainingData(shown, qa_examples=tuple(told)), config, qa_coef=0, steps=1)[0]
    assert train(policy, TrainingData(shown, qa_examples=tuple(told)), config.model_copy(update={"bc_coef": 0.0})) == [], (
        "alone they are no reason to train"
    )


def test_what_is_switched_off_is_not_there(policy: Any, situations: list[Situation]) -> None:
    shown = tuple(Demonstration(s, d.tokens) for s, d in zip(situations, replies(policy, situations, 1), strict=True))
    rows = train(policy, TrainingData(shown), TuneConfig(**{**OFF, "bc_coef": 1.0}), steps=1)
    assert "bc_loss" in rows[0] and not {"policy_loss", "dpo_loss", "margins"} & rows[0].keys()


def test_every_training_data_is_passed_over_equally_often() -> None:
    count, share = 37, 5
    seen = np.concatenate([_rows_of_step(count, share, step, (0,)) for step in range(37)])
    assert (np.bincount(seen, minlength=count) == 5).all()
    assert _share(100, 1000, 256) == 26 and _share(0, 10, 4) == 0 and _share(3, 10, 256) == 3
    assert _share(5400, 16, 256) == 8 * 256 and _share(5400, 5400, 256) == 256 and _share(900, 300, 32) == 96


def test_filtered_imitation_repeats_what_turned_out_well_and_leaves_the_rest(policy: Any, situations: list[Situation]) -> None:
    drawn = replies(policy, situations, 1)
    advantage = [1.0 if i % 2 else -1.0 for i in range(len(drawn))]
    samples = tuple(PolicySample(s, d.tokens, d.logprobs, a) for s, d, a in zip(situations, drawn, advantage, strict=True))
    before = likelihood(policy, situations, [d.tokens for d in drawn])
    rows = train(policy, TrainingData(samples=samples), TuneConfig(**OFF, filtered_bc_coef=1.0, learning_rate=1e-3), steps=12)
    gained = likelihood(policy, situations, [d.tokens for d in drawn]) - before
    good = np.array(advantage) > 0
    assert rows[-1]["filtered_bc_loss"] < rows[0]["filtered_bc_loss"] and rows[0]["policy_loss"] == pytest.approx(-np.mean(advantage), abs=1e-4)
    assert (gained[good] > 0).all() and gained[good].mean() > gained[~good].mean()
