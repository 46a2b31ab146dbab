"""The success detector: scores of frames by the model or by a user's function, labels and rewards from them, and its training examples.

It sees frames and the instruction, never the environment's reward or success. T = decisions in an episode.
"""

import reprlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from agent.config.plugins import plugin
from agent.records import DetectorScore, Episode, QAExample
from agent.run.labels import cut_at_detected_success
from envs.faults import in_words
from policies.codec import NUMBERS, REACH

CLOSE = 0.01  # metres: proximity is linear in distances far below this, and logarithmic in those far above


class Detector(Protocol):
    """A user's own success detector (`label.detector`)."""

    def __call__(self, frames: np.ndarray, instruction: str) -> np.ndarray:
        """Return the probability of success at each observation.

        Args:
            frames: uint8[T + 1, F, h, w, 3], RGB, of one episode: before the first decision and after each.
            instruction: what the policy was told to do.

        Returns:
            float[T + 1], probabilities in [0, 1]; they need not be calibrated.
        """
        ...


def detect_with_own(name: str, episodes: Sequence[Episode]) -> list[np.ndarray]:
    """Return float64[T + 1] an episode: the scores of a user's own detector, as `detect` returns those of the model.

    Args:
        name: `label.detector`.
        episodes: to be scored; one without a decision is not passed on, and has float64[0].

    Raises:
        ValueError: the detector fails, or returns no probabilities; the message names the episode.
    """
    return [own_scores(name, each.frames, each.instruction, each.id) if len(each) else np.zeros(0) for each in episodes]


def own_scores(name: str, frames: np.ndarray, instruction: str, title: str) -> np.ndarray:
    """Return float64[T + 1]: the scores of a user's own detector on one episode.

    Args:
        name: `label.detector`.
        frames: uint8[T + 1, F, h, w, 3], RGB.
        instruction: of the episode.
        title: id of the episode, for error sentences.

    Raises:
        ValueError: the detector fails, or returns no probabilities.
    """
    detect: Any = plugin("label.detector", name)
    try:
        # A copy: a function that writes into the frames must not change the episode.
        predicted = np.asarray(detect(frames.copy(), instruction), np.float64)
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise ValueError(f"label.detector {name!r} failed on episode {title}: {in_words(error)}.") from error
    if predicted.shape != (len(frames),) or not ((predicted >= 0) & (predicted <= 1)).all():  # NaN fails both comparisons
        excerpt = reprlib.repr(predicted.tolist())
        raise ValueError(
            f"label.detector {name!r} returned {excerpt} for the {len(frames)} observations of {title}; return one probability in [0, 1] for each."
        )
    return predicted


def detect(policy: Any, episodes: Sequence[Episode], question: str) -> list[np.ndarray]:
    """Return float64[T + 1] an episode: P(yes) at each observation, before the first decision and after each; not calibrated.

    Args:
        policy: a `Vlm`.
        episodes: to be scored; one without a decision has float64[0].
        question: a yes-or-no question with `{instruction}`.
    """
    from policies.scoring import choice_probabilities  # imports torch

    # Episodes without a decision are left out here, and put back below.
    observations = [episode.frames for episode in episodes if len(episode)]
    asked = [question.replace("{instruction}", episode.instruction) for episode in episodes if len(episode)]
    # One call for all observations of all episodes, so that batches are full.
    probabilities = choice_probabilities(
        policy, [frames for own in observations for frames in own], [q for q, own in zip(asked, observations, strict=True) for _ in own]
    )
    parts = iter(np.split(probabilities[:, 0], np.cumsum([len(own) for own in observations])[:-1]))  # column 0 is yes
    return [next(parts) if len(episode) else np.zeros(0) for episode in episodes]


def proximity(policy: Any, episodes: Sequence[Episode], question: str) -> list[np.ndarray]:
    """Return float64[T + 1] an episode: how near to the goal the policy estimates each observation to be, on a logarithmic scale.

    1 is at the goal, 0 at `REACH` (40 cm) from it, negative beyond.

    Args:
        policy: a `Vlm` with number tokens.
        episodes: to be scored; one without a decision has float64[0].
        question: with `{instruction}`; its answer is an offset in three number tokens, as in grounding.
    """
    from policies.scoring import expected_numbers

    asked = [question.replace("{instruction}", episode.instruction) for episode in episodes if len(episode) for _ in episode.frames]
    # Expected values of the number tokens: finer than one token, which is 1.25 cm.
    numbers = expected_numbers(policy, [frames for episode in episodes if len(episode) for frames in episode.frames], asked, 3)
    distance = np.linalg.norm(2 * REACH * (numbers / (NUMBERS - 1) - 0.5), axis=1)  # metres; the middle number token is an offset of 0
    proximity = 1 - np.log1p(distance / CLOSE) / np.log1p(REACH / CLOSE)
    parts = iter(np.split(proximity, np.cumsum([len(episode.frames) for episode in episodes if len(episode)])[:-1]))
    return [next(parts) if len(episode) else np.zeros(0) for episode in episodes]


def detector_score(probability_T: np.ndarray) -> DetectorScore:
    """Return an episode's score and its explanation, from the calibrated probability after each decision, or at the end alone (T = 1)."""
    peak, count = int(probability_T.argmax()), len(probability_T)
    probability = float(probability_T[peak])
    if count == 1:
        return DetectorScore(probability, f"{'fulfilled' if probability >= 0.5 else 'not fulfilled'} at the end ({probability:.0%})")
    if probability >= 0.5:  # argmax of a boolean array is its first True
        return DetectorScore(probability, f"fulfilled at decision {int((probability_T >= 0.5).argmax()) + 1} of {count} ({probability:.0%})")
    # Fallen to less than half of the peak: close to success, then away from it.
    lost = ", lost again after that" if peak + 1 < count and probability_T[-1] < 0.5 * probability else ""
    return DetectorScore(probability, f"not fulfilled; nearest to it at decision {peak + 1} of {count} ({probability:.0%}){lost}")


def as_detector_labels(episode: Episode, probability_T1: np.ndarray, reward_T1: np.ndarray | None = None) -> Episode:
    """Return an episode as the detector labels it: it succeeds, and ends, after the first decision whose probability is at least 0.5.

    No reward or success of the environment is left in it, so none can reach the training data. The episode on disk stays as it was.

    Args:
        episode: at least one decision.
        probability_T1: float64[T + 1], calibrated, before the first decision and after each.
        reward_T1: float64[T + 1], the new rewards, such as `proximity`; None: the probabilities.
    """
    reward_T1 = probability_T1 if reward_T1 is None else reward_T1
    reached = np.flatnonzero(probability_T1[1:] >= 0.5)  # not before the first decision: a success belongs to a decision
    hit = int(reached[0]) if len(reached) else None
    return cut_at_detected_success(episode, np.stack([reward_T1[:-1], reward_T1[1:]], axis=1).astype(np.float32), hit)


def with_detector_rewards(episode: Episode, probability_T1: np.ndarray) -> Episode:
    """Return an episode with the detector's probabilities as rewards, float32[T, 2]; success stays the environment's.

    Args:
        episode: at least one decision.
        probability_T1: float64[T + 1], calibrated, before the first decision and after each.
    """
    # Two rewards a decision, before and after it: credit by steps to go needs the one before the first decision.
    return replace(episode, rewards=np.stack([probability_T1[:-1], probability_T1[1:]], axis=1).astype(np.float32))


def num_rewards(episode: Episode) -> int:
    """Return the number of different rewards in an episode, without the last one of a success: that says no more than the success does."""
    rewards = episode.rewards[~np.isnan(episode.rewards)]  # NaN: steps after the end
    return len(set((rewards[:-1] if episode.success else rewards).tolist()))


def qa_examples(episodes: Sequence[Episode], question: str, count: int, rng: np.random.Generator) -> list[QAExample]:
    """Return training examples for the detector, as many with the answer yes as with no.

    Yes: frames of a success, and those after it if the episode also ends in success. No, a third of each kind as far as there are enough:

    * frames before a success;
    * frames of failed episodes;
    * frames of a success with the instruction of another episode, which the environment does not list as achieved.

    Args:
        episodes: episodes whose success is known.
        question: with `{instruction}`.
        count: largest number of examples.
        rng: of the choice.
    """
    yes, before, failed, other = [], [], [], []  # `other`: a success that is asked about another instruction
    instructions = sorted({episode.instruction for episode in episodes})
    for episode in (each for each in episodes if len(each) and not each.faults):
        asked, hit, frames = question.replace("{instruction}", episode.instruction), episode.first_success, episode.frames
        if hit is None:
            failed += [QAExample(each, asked, "no") for each in frames]
            continue
        # Frame hit + 1 is the one after the decision that succeeded. After a success that was lost the class is unknown.
        done = frames[hit + 1 :] if episode.success_at_end else frames[hit + 1 : hit + 2]
        before += [QAExample(each, asked, "no") for each in frames[: hit + 1]]
        yes += [QAExample(each, asked, "yes") for each in done]
        unfulfilled = [each for each in instructions if each not in (episode.instruction, *episode.achieved)]
        if unfulfilled and episode.achieved:  # without `achieved`, another wording of the same instruction may be among them
            drawn = rng.integers(len(unfulfilled), size=len(done))
            other += [QAExample(each, question.replace("{instruction}", unfulfilled[i]), "no") for each, i in zip(done, drawn, strict=True)]
    per_answer = min(len(yes), len(before) + len(failed) + len(other), count // 2)
    no = evenly((before, failed, other), per_answer, rng)
    return evenly((yes,), per_answer, rng) + no


def evenly(kinds: Collection[Sequence[QAExample]], count: int, rng: np.random.Generator) -> list[QAExample]:
    """Return up to `count` examples, as many of each kind as possible; the others share what a rare kind lacks."""
    chosen: list[QAExample] = []  # in the order of the episodes: the draws decide which, not in what order
    # From the rarest kind to the commonest: each gets an equal share of the places that are still free.
    for left, own in zip(range(len(kinds), 0, -1), sorted(kinds, key=len), strict=True):
        chosen += [own[i] for i in sorted(rng.permutation(len(own))[: (count - len(chosen)) // left])]
    return chosen
