"""Losses: pure functions of tensors, each with its equation.

Shapes: B replies, L tokens of a reply, U tokens that are allowed somewhere in it. Log-probabilities in nats.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid


def imitation(logprobs_BL: Tensor, weight_B: Tensor) -> Tensor:
    """Return the weighted negative log-likelihood per token: -sum_b w_b mean_l log pi(y_bl) / sum_b w_b."""
    return -(weight_B * logprobs_BL.mean(1)).sum() / weight_B.sum()


def preference(chosen_B: Tensor, rejected_B: Tensor, chosen_reference_B: Tensor, rejected_reference_B: Tensor, beta: float) -> Tensor:
    """Return the DPO loss, equation 7 of arXiv 2305.18290: mean of -log sigmoid(beta ((c - c_ref) - (r - r_ref))).

    Args:
        chosen_B: summed log-probabilities of whole preferred replies under the policy.
        rejected_B: those of the others.
        chosen_reference_B: of the preferred replies under the champion, without gradient.
        rejected_reference_B: of the others under the champion, without gradient.
        beta: strength of the pull towards the champion.
    """
    margin_B = (chosen_B - chosen_reference_B) - (rejected_B - rejected_reference_B)
    return -logsigmoid(beta * margin_B).mean()


def policy_gradient(logprobs_BL: Tensor, sampled_BL: Tensor, advantage_B: Tensor, low: float, high: float) -> Tensor:
    """Return the clipped surrogate, equation 7 of arXiv 1707.06347, per token and with a higher upper clip (arXiv 2503.14476).

    Args:
        logprobs_BL: under the policy.
        sampled_BL: when the replies were sampled, without gradient.
        advantage_B: of the decision that the reply made; every token that is given shares the credit.
        low: the ratio is clipped from below to 1 - low.
        high: the ratio is clipped from above to 1 + high.
    """
    ratio_BL = (logprobs_BL - sampled_BL).exp()
    advantage_B1 = advantage_B[:, None]
    clipped_BL = ratio_BL.clamp(1 - low, 1 + high)
    return -(ratio_BL * advantage_B1).minimum(clipped_BL * advantage_B1).mean()


def divergence(reference_BLU: Tensor, logprobs_BLU: Tensor) -> Tensor:
    """Return the mean of KL(p_ref || p) = sum_u p_ref (log p_ref - log p), nats a token; tokens that are not allowed (-inf in both) count nothing."""
    reference_BLU, logprobs_BLU = reference_BLU.clamp(min=-1e4), logprobs_BLU.clamp(min=-1e4)
    return (reference_BLU.exp() * (reference_BLU - logprobs_BLU)).sum(-1).mean()


def entropy(logprobs_BLU: Tensor) -> Tensor:
    """Return the mean entropy, nats a token."""
    return -(logprobs_BLU.exp() * logprobs_BLU.clamp(min=-1e4)).sum(-1).mean()
