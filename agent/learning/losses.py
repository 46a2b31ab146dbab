"""Losses: pure functions of tensors, each with its equation.

Shapes: B replies, L tokens of a reply, U tokens that are allowed somewhere in it. Log-probabilities in nats.
"""

from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

PreferenceKind = Literal["sigmoid", "ipo", "robust"]


def imitation(logprobs_BL: Tensor, weight_B: Tensor) -> Tensor:
    """Return the weighted negative log-likelihood per token: -sum_b w_b mean_l log pi(y_bl) / sum_b w_b."""
    return -(weight_B * logprobs_BL.mean(1)).sum() / weight_B.sum()


def preference(margin_B: Tensor, beta: float, kind: PreferenceKind = "sigmoid", flipped: float = 0.1) -> Tensor:
    """Return the mean loss of preferring chosen to rejected replies by the margin m = (c - c_ref) - (r - r_ref).

    `sigmoid`: -log s(beta m), DPO, equation 7 of arXiv 2305.18290. `ipo`: (m - 1 / (2 beta))^2, equation 17 of arXiv 2310.12036, which is content
    with a finite margin. `robust`: (-(1 - e) log s(beta m) + e log s(-beta m)) / (1 - 2 e), equation 12 of arXiv 2403.00409, unbiased where a share e
    of the pairs is the wrong way round.

    Args:
        margin_B: of log-probabilities of whole replies, c and r under the policy, c_ref and r_ref under the champion, without gradient.
        beta: strength of the pull towards the champion.
        kind: which loss.
        flipped: e, below 0.5.
    """
    if kind == "ipo":
        return (margin_B - 1 / (2 * beta)).square().mean()
    if kind == "robust":
        right_B, wrong_B = logsigmoid(beta * margin_B), logsigmoid(-beta * margin_B)
        return (-(1 - flipped) * right_B + flipped * wrong_B).mean() / (1 - 2 * flipped)
    return -logsigmoid(beta * margin_B).mean()


def policy_gradient(logprobs_BL: Tensor, sampled_BL: Tensor, advantage_B: Tensor, low: float, high: float, guard: float = float("inf")) -> Tensor:
    """Return the clipped surrogate, equation 7 of arXiv 1707.06347, per token and with a higher upper clip (arXiv 2503.14476).

    Args:
        logprobs_BL: under the policy.
        sampled_BL: when the replies were sampled, without gradient.
        advantage_B: of the decision that the reply made; every token that is given shares the credit.
        low: the ratio is clipped from below to 1 - low.
        high: the ratio is clipped from above to 1 + high.
        guard: tokens with a ratio above this count nothing; where the advantage is negative the clip would let them through, however far they are.
    """
    ratio_BL = (logprobs_BL - sampled_BL).exp()
    advantage_B1 = advantage_B[:, None]
    clipped_BL = ratio_BL.clamp(1 - low, 1 + high)
    gain_BL = (ratio_BL * advantage_B1).minimum(clipped_BL * advantage_B1)
    return -gain_BL.masked_fill(ratio_BL.detach() > guard, 0.0).mean()


def drift(logprobs_BL: Tensor, sampled_BL: Tensor) -> Tensor:
    """Return an unbiased, never negative estimate of KL(champion || policy) from replies of the champion, nats a token.

    At tokens drawn from the champion q, mean of r - 1 - log r with r = p / q: the estimator k3 of Schulman, "Approximating KL divergence" (2020).
    """
    log_ratio_BL = logprobs_BL - sampled_BL
    return (log_ratio_BL.exp() - 1 - log_ratio_BL).mean()


def entropy(logprobs_BLU: Tensor) -> Tensor:
    """Return the mean entropy, nats a token."""
    return -(logprobs_BLU.exp() * logprobs_BLU.clamp(min=-1e4)).sum(-1).mean()
