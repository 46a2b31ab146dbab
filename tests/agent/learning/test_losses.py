"""Losses against three lines of NumPy each, and what their gradients must do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent.learning import losses


def draws(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(-1, 0.7, shape)


@given(st.integers(0, 10**6), st.floats(0.01, 2))
def test_preferences_equal_their_equations_in_numpy(seed: int, beta: float) -> None:
    margin, share = 3 * draws(seed, 9), 0.2
    right, wrong = np.log1p(np.exp(-beta * margin)), np.log1p(np.exp(beta * margin))
    expected = {"sigmoid": right, "ipo": (margin - 0.5 / beta) ** 2, "robust": ((1 - share) * right - share * wrong) / (1 - 2 * share)}
    for kind, each in expected.items():
        ours = losses.dpo_loss(torch.tensor(margin), beta, kind, share)  # type: ignore[arg-type]
        assert float(ours) == pytest.approx(each.mean(), rel=1e-9, abs=1e-12)


def test_robust_preference_is_unbiased_where_some_pairs_are_the_wrong_way_round() -> None:
    """Its mean over pairs of which a share is flipped is DPO's over clean ones."""
    margin, share = torch.tensor([0.7], dtype=torch.float64), 0.3
    noisy = (1 - share) * losses.dpo_loss(margin, 0.5, "robust", share) + share * losses.dpo_loss(-margin, 0.5, "robust", share)
    assert float(noisy) == pytest.approx(float(losses.dpo_loss(margin, 0.5)), rel=1e-9)


@given(st.integers(0, 10**6))
def test_drift_is_the_divergence_from_the_champion_on_average(seed: int) -> None:
    """Summed over all tokens with the champion's probabilities, value and gradient are those of the exact KL divergence."""
    q = torch.tensor(draws(seed, 6)).log_softmax(-1)
    logits = torch.tensor(draws(seed + 1, 6), requires_grad=True)
    p = logits.log_softmax(-1)
    estimates = torch.stack([losses.approx_kl(p[i].reshape(1, 1), q[i].reshape(1, 1)) for i in range(6)])
    assert (estimates >= 0).all()
    (estimated,) = torch.autograd.grad((q.exp() * estimates).sum(), logits, retain_graph=True)
    exact = (q.exp() * (q - p)).sum()
    assert float((q.exp() * estimates).sum().detach()) == pytest.approx(float(exact.detach()), rel=1e-6, abs=1e-9)
    torch.testing.assert_close(estimated, torch.autograd.grad(exact, logits)[0])


@given(st.integers(0, 10**6))
def test_policy_gradient_equals_ppo_in_numpy(seed: int) -> None:
    new, old, a = draws(seed, 5, 7), draws(seed + 1, 5, 7), draws(seed + 2, 5, 1)
    ratio = np.exp(new - old)
    expected = -np.mean(np.minimum(ratio * a, np.clip(ratio, 0.8, 1.28) * a))
    ours = losses.policy_loss(torch.tensor(new), torch.tensor(old), torch.tensor(a[:, 0]), 0.2, 0.28)
    assert float(ours) == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 10**6))
def test_imitation_equals_weighted_likelihood_in_numpy(seed: int) -> None:
    logprobs, weight = draws(seed, 6, 3), np.abs(draws(seed + 1, 6)) + 0.1
    expected = -(weight * logprobs.mean(1)).sum() / weight.sum()
    assert float(losses.bc_loss(torch.tensor(logprobs), torch.tensor(weight))) == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 10**6))
def test_entropy_equals_its_sum_in_numpy(seed: int) -> None:
    p = np.exp(drawn := draws(seed, 3, 2, 5)) / np.exp(drawn).sum(-1, keepdims=True)
    assert float(losses.entropy(torch.tensor(np.log(p))).mean()) == pytest.approx(-np.mean(np.sum(p * np.log(p), -1)), rel=1e-9)


def test_entropy_leaves_out_what_is_not_allowed() -> None:
    other = torch.tensor([[[1.0, 0.0, -torch.inf]]], requires_grad=True)
    spread = losses.entropy(other.log_softmax(-1)).sum()
    spread.backward()
    assert 0 < float(spread.detach()) < np.log(2) and torch.isfinite(other.grad).all()  # type: ignore[arg-type]


def test_preference_pushes_chosen_up_and_rejected_down() -> None:
    chosen, rejected = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    losses.dpo_loss(chosen - rejected, 0.1).backward()
    assert (chosen.grad < 0).all() and (rejected.grad > 0).all()  # type: ignore[operator]


def test_the_clip_stops_the_gradient_only_where_the_step_has_gone_far_enough() -> None:
    new = torch.tensor([[0.5], [0.5], [-0.5], [-0.5]], requires_grad=True)  # ratios 1.65 and 0.61
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    losses.policy_loss(new, torch.zeros(4, 1), advantage, 0.2, 0.28).backward()
    assert new.grad is not None
    assert new.grad[0] == 0 and new.grad[3] == 0  # already moved in the wanted direction
    assert new.grad[1] > 0 and new.grad[2] < 0


def test_the_guard_silences_what_has_gone_too_far() -> None:
    new = torch.tensor([[2.0], [0.5]], requires_grad=True)  # ratios 7.4 and 1.65, both bad
    for guard, silent in ((5.0, True), (float("inf"), False)):
        new.grad = None
        losses.policy_loss(new, torch.zeros(2, 1), torch.tensor([-1.0, -1.0]), 0.2, 0.28, guard).backward()
        assert new.grad is not None and (new.grad[0] == 0) == silent and new.grad[1] > 0
