"""Whether a model answers questions better than it could without seeing anything: against the best single answer to all questions of a kind."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binomtest

from agent.ground.scenes import Scene
from policies import codec

TRIED = 50  # most frequent answers of a kind, of which the best one is taken


def constant_answers(policy: Any, scenes: Sequence[Scene]) -> dict[str, float]:
    """Return, for each kind of question, the share that the best single answer to all of them gets right: what a model reaches that sees nothing."""
    numerals_NK = codec.numerals(policy.processor.tokenizer, policy.config.codec)
    number = {tuple(row): i for i, row in enumerate(numerals_NK.tolist())}
    given: dict[str, Counter[str]] = defaultdict(Counter)
    for question in (question for scene in scenes for question in scene.questions):
        given[question.kind][question.answer] += 1
    tokens = {answer: codec.begun(policy.processor.tokenizer, answer) for answers in given.values() for answer in answers}

    def right(one: str, other: str) -> bool:
        both = tokens[one], tokens[other]
        return len(both[0]) == len(both[1]) and near(list(zip(*both, strict=True)), number, numerals_NK.shape[1])

    return {
        kind: max(sum(count for other, count in answers.items() if right(one, other)) for one, _ in answers.most_common(TRIED)) / answers.total()
        for kind, answers in sorted(given.items())
    }


def no_better(right: Mapping[str, tuple[float, int]], constant: Mapping[str, float]) -> list[str]:
    """Return the kinds whose share of correct answers is not above that of one constant answer, by a one-sided binomial test at 5 %."""
    return [kind for kind, (share, n) in right.items() if binomtest(round(share * n), n, constant[kind], "greater").pvalue > 0.05]


def near(tokens: Sequence[tuple[int, int]], number: Mapping[tuple[int, ...], int], width: int) -> bool:
    """Return whether an answer's predicted tokens are the given ones, but for numbers that are off by one.

    Args:
        tokens: (predicted, given) tokens of an answer, in its order.
        number: the tokens of a number -> its index.
        width: K, how many tokens a number has.
    """
    place = 0
    while place < len(tokens):
        predicted, given = zip(*tokens[place : place + width], strict=True)
        if given in number:
            near, place = predicted in number and abs(number[predicted] - number[given]) <= 1, place + width
        else:
            near, place = predicted[0] == given[0], place + 1
        if not near:
            return False
    return True
