"""Losses: pure functions of tensors, each with its equation.

Shape suffixes: B replies, L tokens of a reply, U tokens of the action vocabulary. Log-probabilities are in nats.
"""

from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

DpoLossType = Literal["sigmoid", "ipo", "robust"]


def bc_loss(logprobs_BL: Tensor, weight_B: Tensor) -> Tensor:
    """Return the weighted negative log-likelihood, nats a token: -sum_b w_b mean_l log pi(y_bl) / sum_b w_b."""
    # Weights are relative within the batch: one of down-weighted demonstrations alone counts in full.
    return -(weight_B * logprobs_BL.mean(1)).sum() / weight_B.sum()


def dpo_loss(margin_B: Tensor, beta: float, kind: DpoLossType = "sigmoid", flipped: float = 0.1) -> Tensor:
    """Return the mean preference loss of pairs with margins m = (c - c_ref) - (r - r_ref); s is the sigmoid.

    * `sigmoid`: -log s(beta m); DPO, equation 7 of arXiv 2305.18290.
    * `ipo`: (m - 1 / (2 beta))^2; equation 17 of arXiv 2310.12036. Its minimum is at a finite margin.
    * `robust`: (-(1 - e) log s(beta m) + e log s(-beta m)) / (1 - 2 e); equation 12 of arXiv 2403.00409. Unbiased where a share e of the pairs has
      chosen and rejected exchanged.

    Args:
        margin_B: margins, with c and r the log-probabilities of the chosen and the rejected reply under the policy, and c_ref and r_ref those under
            the champion, without gradient.
        beta: strength of the pull towards the champion.
        kind: which loss.
        flipped: e, below 0.5; for `robust` alone.
    """
    if kind == "ipo":
        return (margin_B - 1 / (2 * beta)).square().mean()  # in units of margin squared: larger than the others for a small beta
    if kind == "robust":
        # log s(-x) = log(1 - s(x)), and does not underflow.
        right_B, wrong_B = logsigmoid(beta * margin_B), logsigmoid(-beta * margin_B)
        return (-(1 - flipped) * right_B + flipped * wrong_B).mean() / (1 - 2 * flipped)
    return -logsigmoid(beta * margin_B).mean()


def policy_loss(logprobs_BL: Tensor, sampled_BL: Tensor, advantage_B: Tensor, low: float, high: float, guard: float = float("inf")) -> Tensor:
    """Return PPO's clipped surrogate loss (equation 7 of arXiv 1707.06347), per token, with a higher upper clip (arXiv 2503.14476).

    Args:
        logprobs_BL: log-probabilities under the policy.
        sampled_BL: those when the replies were sampled, without gradient.
        advantage_B: of the decision that a reply encodes; all tokens of the reply share it.
        low: the ratio is clipped from below to 1 - low.
        high: the ratio is clipped from above to 1 + high.
        guard: tokens with a larger ratio contribute nothing.
    """
    ratio_BL = (logprobs_BL - sampled_BL).exp()  # 1 in the first step, up to rounding: the policy is still the one that sampled
    advantage_B1 = advantage_B[:, None]
    clipped_BL = ratio_BL.clamp(1 - low, 1 + high)
    # The pessimistic one of both. It leaves large ratios with a negative advantage unclipped: their gradient grows with the ratio. Hence the guard.
    gain_BL = (ratio_BL * advantage_B1).minimum(clipped_BL * advantage_B1)
    return -gain_BL.masked_fill(ratio_BL.detach() > guard, 0.0).mean()  # over all tokens, the guarded ones too


def approx_kl(logprobs_BL: Tensor, sampled_BL: Tensor) -> Tensor:
    """Return an estimate of KL(champion || policy), nats a token, which is unbiased and never negative.

    It is the mean of r - 1 - log r, with r = p / q, over tokens drawn from the champion q; p is the policy. This is the estimator k3 of Schulman,
    "Approximating KL divergence" (2020).

    Args:
        logprobs_BL: log-probabilities under the policy.
        sampled_BL: those under the champion that sampled the replies, without gradient.
    """
    log_ratio_BL = logprobs_BL - sampled_BL
    return (log_ratio_BL.exp() - 1 - log_ratio_BL).mean()


def entropy(logprobs_BLU: Tensor) -> Tensor:
    """Return float32[B, L]: the entropy at each token, nats, of log-probabilities that may be -inf."""
    # 0 x -inf is NaN, 0 x -1e4 is 0: tokens that are not allowed contribute nothing, nor to the gradient.
    return -(logprobs_BLU.exp() * logprobs_BLU.clamp(min=-1e4)).sum(-1)
