"""The terms of the loss: each a function of the log-probabilities of a whole gradient step.

Shape suffixes: B replies, L tokens of a reply, P pairs. Log-probabilities are in nats.
"""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from agent.config.keys import TuneConfig
from agent.learning import losses
from agent.records import Demonstration, PolicySample, PreferencePair

RATIO_GUARD = 5.0  # tokens with a larger ratio have no gradient: with a negative advantage the clip does not bound it
DISPLACEMENT = 5.0  # nats that chosen replies may lose on average before a step leaves DPO out (likelihood displacement, arXiv 2410.08847)
FLIPPED = 0.1  # share of pairs that robust DPO expects to have chosen and rejected exchanged


@dataclass(frozen=True)
class Forward:
    """One forward pass over the replies of a step: log-probabilities under the policy in training, with gradient."""

    samples: Sequence[PolicySample]
    samples_BL: torch.Tensor  # of the credited tokens: all, or with `policy.sample: action` those of the action alone
    sampled_BL: torch.Tensor  # of the same tokens, when they were sampled; no gradient
    demonstrations: Sequence[Demonstration]
    demonstrations_BL: torch.Tensor
    pairs: Sequence[PreferencePair]
    chosen_P: torch.Tensor  # summed over all replies of a pair's chosen side
    rejected_P: torch.Tensor  # likewise of its rejected side
    chosen_BL: torch.Tensor  # of the chosen replies of all pairs, one after the other
    reference_P2: torch.Tensor  # the champion's sums, of the chosen and of the rejected side; no gradient
    entropy: torch.Tensor  # nats a token, mean over all replies

    @property
    def advantage_B(self) -> torch.Tensor:
        """Return the advantage of each policy sample."""
        return torch.tensor([each.advantage for each in self.samples], device=self.samples_BL.device)


Term = Callable[[Forward, TuneConfig], tuple[torch.Tensor, dict[str, float]] | None]
"""A term of the loss: returns its value times its coefficient, and its figures; None where a step has no data for it."""


def entropy_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the entropy bonus, also with coefficient 0: the guard of the training needs its figure."""
    return -config.ent_coef * now.entropy, {"entropy": float(now.entropy.detach())}


def policy_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the clipped policy gradient, and figures of the distance between policy and champion."""
    if not (now.samples and (config.pg_coef or config.filtered_bc_coef)):  # filtered BC alone needs the figures
        return None
    loss = losses.policy_loss(now.samples_BL, now.sampled_BL, now.advantage_B, config.clip_range[0], config.clip_range[1], RATIO_GUARD)
    ratio = (now.samples_BL.detach() - now.sampled_BL).exp()
    outside = (ratio < 1 - config.clip_range[0]) | (ratio > 1 + config.clip_range[1])
    moved = {"clip_fraction": float(outside.float().mean()), "approx_kl": float((ratio - 1 - ratio.log()).mean())}  # as `losses.approx_kl`
    return config.pg_coef * loss, {"policy_loss": float(loss.detach()), **moved}


def filtered_bc_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return behaviour cloning of the policy samples with a positive advantage."""
    if not (now.samples and config.filtered_bc_coef and (better_B := (now.advantage_B > 0).float()).any()):
        return None
    loss = losses.bc_loss(now.samples_BL, better_B)
    return config.filtered_bc_coef * loss, {"filtered_bc_loss": float(loss.detach())}


def kl_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the KL divergence from the champion; it has no figure of its own, `approx_kl` is that of `policy_term`."""
    return (config.kl_coef * losses.approx_kl(now.samples_BL, now.sampled_BL), {}) if now.samples and config.kl_coef else None


def bc_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return behaviour cloning of demonstrations."""
    if not (now.demonstrations and config.bc_coef):
        return None
    weight_B = torch.tensor([each.weight for each in now.demonstrations], device=now.demonstrations_BL.device)
    loss = losses.bc_loss(now.demonstrations_BL, weight_B)
    return config.bc_coef * loss, {"bc_loss": float(loss.detach())}


def displaced(figures: Mapping[str, float]) -> bool:
    """Return whether the figures of a step say that it leaves DPO out: its chosen replies have lost too much."""
    return figures.get("displacement", 0.0) > DISPLACEMENT


def dpo_term(now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the preference loss with its anchor, the likelihood of chosen replies; the anchor alone where these have lost too much."""
    if not (now.pairs and config.dpo_coef):
        return None
    gained, lost = now.chosen_P - now.reference_P2[:, 0], now.rejected_P - now.reference_P2[:, 1]
    margin = gained - lost
    loss = losses.dpo_loss(margin, config.dpo_beta, config.dpo_loss_type, FLIPPED)
    figures = {"dpo_loss": float(loss.detach()), "margins": float(margin.detach().mean()), "accuracies": float((margin > 0).float().mean())}
    figures |= {"chosen_logps": float(now.chosen_P.detach().mean()), "rejected_logps": float(now.rejected_P.detach().mean())}
    figures["displacement"] = -float(gained.detach().mean())
    contrast = 0.0 if displaced(figures) else 1.0  # DPO can widen the margin while both sides lose; the anchor brings the chosen side back
    return config.dpo_coef * (contrast * loss - config.rpo_alpha * now.chosen_BL.mean()), figures


def own_term(name: str, term: Term, now: Forward, config: TuneConfig) -> tuple[torch.Tensor, dict[str, float]] | None:
    """Return the result of a user's own term (`tune.loss`).

    Raises:
        ValueError: the term fails, or returns neither None nor a loss with figures.
    """
    try:
        made = term(now, config)
        if made is not None:
            loss, figures = made
            made = loss.reshape(()), {str(key): float(value) for key, value in figures.items()}
    except Exception as error:  # a user's function may raise anything
        cause = str(error).strip().split("\n")[0]  # errors of torch have many lines
        raise ValueError(
            f"tune.loss {name!r} failed ({type(error).__name__}: {cause}); it must return None, or a loss of one number and a dict of figures."
        ) from error
    return made


TERMS: tuple[Term, ...] = (entropy_term, policy_term, filtered_bc_term, kl_term, bc_term, dpo_term)  # in the order in which they are added


def total(now: Forward, config: TuneConfig, terms: Sequence[Term]) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the sum of all terms of a step, and their figures."""
    made = [part for term in terms if (part := term(now, config))]
    total = functools.reduce(operator.add, (weighted for weighted, _ in made))
    return total, {name: value for _, figures in made for name, value in figures.items()}
