"""The gradient of one step, in micro-batches: it is that of the whole step, and memory holds the activations of one micro-batch.

Each micro-batch evaluates the loss of the *whole* step. Its own replies have a gradient, those of other micro-batches are constants. Where a term
does not mix replies, its derivative by one reply does not depend on another. So the gradients add up to that of the whole step, and means and sums of
weights inside the terms need no correction. There are three exceptions:

* DPO mixes the replies of a pair. Those to one situation are in one micro-batch. For pairs of episodes that are split, an additional pass without
  gradient computes the true log-probabilities.
* Displacement (`terms.dpo_term`) is a decision about all pairs. Where a micro-batch decided otherwise than the whole step, the step is repeated.
* A term of the user's may mix replies. It gets the true log-probabilities of all replies, from the additional pass.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from agent.config.keys import TuneConfig
from agent.learning.batches import Batches, Step, Unit
from agent.learning.memory import fitting
from agent.learning.terms import Term, displaced, total


@dataclass(frozen=True)
class Part:
    """A micro-batch: places of replies of the step, and indices of QA examples."""

    replies: list[int]
    answers: list[int]


def split(units: Sequence[Unit], most: int) -> list[Part]:
    """Return the units in parts of at most `most` tokens, or of one reply that has more; the replies of a part are in the order of the step."""
    groups: list[list[Unit]] = []
    # One situation with many replies may exceed a micro-batch, and is cut between replies.
    for unit in itertools.chain.from_iterable(unit.cut(most) for unit in units):
        if not groups or sum(each.tokens for each in groups[-1]) + unit.tokens > most:
            groups.append([])
        groups[-1].append(unit)
    return [
        Part(sorted(place for unit in group for place in unit.replies), [unit.answer for unit in group if unit.answer is not None])
        for group in groups
    ]


def step_gradient(
    batches: Batches, step: Step, config: TuneConfig, terms: Sequence[Term], most: int, clear: Callable[[], None]
) -> tuple[float, dict[str, float]]:
    """Add the gradient of a step's loss to the parameters; return the loss, and the figures of the step.

    Args:
        batches: of the training.
        step: the training data of the step.
        config: coefficients of the terms.
        terms: of the loss.
        most: largest number of tokens of a micro-batch; it is halved where memory runs out, and then is the figure `micro_batch_tokens`. The figure
            `checkpointing` is 1 from where layers are computed again.
        clear: removes the gradient from the parameters.

    Raises:
        ValueError: not even one reply fits into memory.
    """

    def attempt(most: int) -> tuple[float, dict[str, float]]:
        parts = split(step.units, most)
        known = _known(batches, step, parts, bool(config.loss))  # of this division: a smaller one splits other pairs
        while True:
            clear()  # of what an unfinished attempt has added
            loss, figures, agreed, known = _accumulate(batches, step, config, terms, parts, known)
            if agreed:  # in the second round at the latest: then all that is known is true
                return loss, figures

    def relieved() -> int:
        nonlocal most
        batches.checkpoint_layers()
        most = config.micro_batch_tokens  # what was halved before may fit now
        return min(most, step.size)

    begin = min(most, step.size)  # halving more than the step has would repeat the same attempt
    # The longest single reply or question: no part can be smaller.
    least = min(begin, max(part.tokens for unit in step.units for part in unit.cut(1)))
    # Checkpointing is the last resort, once: where layers are checkpointed already, there is nothing to spare.
    (loss, figures), fitted = fitting(attempt, begin, least, "tokens", None if batches.checkpointing else relieved)
    most = most if fitted == min(most, step.size) else fitted  # the step's size says nothing about memory
    figures |= {} if most == config.micro_batch_tokens else {"micro_batch_tokens": float(most)}
    return loss, figures | ({"checkpointing": 1.0} if batches.checkpointing else {})


def _known(batches: Batches, step: Step, parts: Sequence[Part], mixing: bool) -> torch.Tensor:
    """Return float32[N, 2, L]: the result of `Batches.replies` for replies whose values other micro-batches need, 0 for others; no gradient.

    Args:
        batches: of the training.
        step: the training data of the step.
        parts: its micro-batches.
        mixing: whether a term mixes any replies; else those of pairs whose replies are in several parts are needed.
    """
    part_of = {place: number for number, part in enumerate(parts) for place in part.replies}
    # The loss of a pair needs the values of all its replies.
    apart = {place for pair in step.places_of_pairs for place in pair if len({part_of[each] for each in pair}) > 1}
    needed = apart if not mixing else set(part_of) if len(parts) > 1 else set()  # in one part every reply is there with its gradient
    with torch.no_grad():
        known = torch.zeros(len(step.rows_N), 2, step.tokens_NL.shape[1], device=batches.policy.config.device)
        for part in parts:
            known = _filled(batches, step, [place for place in part.replies if place in needed], known)
    return known


def _filled(batches: Batches, step: Step, places: Sequence[int], known: torch.Tensor) -> torch.Tensor:
    """Return `known` with the replies at some places as they are now."""
    return known.index_copy(0, torch.tensor(places, device=known.device), batches.replies(step, places)) if places else known


def _accumulate(
    batches: Batches, step: Step, config: TuneConfig, terms: Sequence[Term], parts: Sequence[Part], known: torch.Tensor
) -> tuple[float, dict[str, float], bool, torch.Tensor]:
    """Add the gradient of each part; return loss and figures of the step, whether the parts agreed on displacement, and all replies."""
    decisions, answering = set(), 0.0
    loss, figures = torch.zeros(()), {}
    first_pair = len(step.samples) + len(step.demonstrations)  # replies of pairs are the last of a step
    for part in parts:
        known = _filled(batches, step, part.replies, known)  # these with a gradient, all others as constants
        loss, figures = total(batches.forward(step, known), config, terms) if step.rows_N else (torch.zeros(()), {})
        if part.replies and part.replies[-1] >= first_pair:  # sorted, so the last one tells whether the part has any
            decisions.add(displaced(figures))
        whole = loss
        if part.answers:
            answers = batches.answers(step, part.answers)
            answering += float(answers.detach())
            whole = loss + batches.qa_coef * answers
        whole.backward()
        known = known.detach()  # values alone: the next part must not go back through this graph
    if step.num_answer_tokens:
        figures = {**figures, "detector_loss": answering}
    decisions.add(displaced(figures))  # that of the whole step: all replies are known by now
    return float(loss.detach()) + batches.qa_coef * answering, figures, len(decisions) == 1, known
