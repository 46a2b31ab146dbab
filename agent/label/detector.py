"""The model's own verdict on takes, and how far it can be trusted. It looks at frames and the instruction, never at reward or success.

T = decisions in an episode.
"""

import reprlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from agent.config.plugins import plugin
from agent.records import Answer, Episode, Verdict
from agent.run.labels import judged
from envs.faults import in_words
from policies.codec import NUMBERS, REACH

CLOSE = 0.01  # metres, within which one way is as short as another


class Detector(Protocol):
    """A success detector of a user's (`label.detector`)."""

    def __call__(self, frames: np.ndarray, instruction: str) -> np.ndarray:
        """Return how probable success is at each moment.

        Args:
            frames: uint8[T + 1, F, h, w, 3], RGB, of an episode: before the first decision and after each.
            instruction: what was to be done.

        Returns:
            float[T + 1], probabilities in [0, 1]; they need not be calibrated.
        """
        ...


def consult(name: str, episodes: Sequence[Episode]) -> list[np.ndarray]:
    """Return float64[T + 1] a take, by a detector of the user's, as `opine` does by the model.

    Args:
        name: `label.detector`.
        episodes: takes; one without a decision is not looked at, and has float64[0].

    Raises:
        ValueError: it fails, or gives no probabilities; says on which episode.
    """
    detect: Any = plugin("label.detector", name)
    told = []
    for episode in episodes:
        try:
            said = np.asarray(detect(episode.frames.copy(), episode.instruction), np.float64) if len(episode) else np.zeros(0)
        except (Exception, SystemExit) as error:  # somebody's function may raise anything
            raise ValueError(f"label.detector {name!r} failed on episode {episode.id}: {in_words(error)}.") from error
        count = len(episode.frames) if len(episode) else 0
        if said.shape != (count,) or not ((said >= 0) & (said <= 1)).all():
            shown = reprlib.repr(said.tolist())
            raise ValueError(f"label.detector {name!r} gave {shown} for {count} moments of {episode.id}; give one probability in [0, 1] for each.")
        told.append(said)
    return told


def opine(policy: Any, episodes: Sequence[Episode], question: str) -> list[np.ndarray]:
    """Return float64[T + 1] a take: how sure the policy is of its success, before the first decision and after each; not calibrated.

    Args:
        policy: a `Vlm`.
        episodes: takes.
        question: with `{instruction}`; to be answered by yes or no. A take without a decision is asked nothing, and has float64[0].
    """
    from policies.scoring import believe

    moments = [episode.frames for episode in episodes if len(episode)]
    asked = [question.replace("{instruction}", episode.instruction) for episode in episodes if len(episode)]
    told = believe(policy, [frames for own in moments for frames in own], [q for q, own in zip(asked, moments, strict=True) for _ in own])
    parts = iter(np.split(told[:, 0], np.cumsum([len(own) for own in moments])[:-1]))
    return [next(parts) if len(episode) else np.zeros(0) for episode in episodes]


def nearness(policy: Any, episodes: Sequence[Episode], question: str) -> list[np.ndarray]:
    """Return how near the policy says it is, before the first decision of each take and after each: float64[T + 1], 0 at 40 cm, 1 at it, by the log.

    Args:
        policy: a `Vlm` with number tokens.
        episodes: takes.
        question: with `{instruction}`; to be answered by a way, in three numbers as `ground` has them.
    """
    from policies.scoring import tell

    asked = [question.replace("{instruction}", episode.instruction) for episode in episodes if len(episode) for _ in episode.frames]
    told = tell(policy, [frames for episode in episodes if len(episode) for frames in episode.frames], asked, 3)
    way = np.linalg.norm(2 * REACH * (told / (NUMBERS - 1) - 0.5), axis=1)
    near = 1 - np.log1p(way / CLOSE) / np.log1p(REACH / CLOSE)
    parts = iter(np.split(near, np.cumsum([len(episode.frames) for episode in episodes if len(episode)])[:-1]))
    return [next(parts) if len(episode) else np.zeros(0) for episode in episodes]


def verdict(probability_T: np.ndarray) -> Verdict:
    """Return what is to be said of a take, from the calibrated probability after each decision (or at the end alone)."""
    best, count = int(probability_T.argmax()), len(probability_T)
    chance = float(probability_T[best])
    if count == 1:
        return Verdict(chance, f"{'fulfilled' if chance >= 0.5 else 'not fulfilled'} at the end ({chance:.0%})")
    if chance >= 0.5:
        return Verdict(chance, f"fulfilled at decision {int((probability_T >= 0.5).argmax()) + 1} of {count} ({chance:.0%})")
    lost = ", lost again after that" if best + 1 < count and probability_T[-1] < 0.5 * chance else ""
    return Verdict(chance, f"not fulfilled; nearest to it at decision {best + 1} of {count} ({chance:.0%}){lost}")


def as_judged(episode: Episode, probability_T1: np.ndarray, reward_T1: np.ndarray | None = None) -> Episode:
    """Return a take as the critic sees it: it succeeded and ended where the probability reaches one half; its rewards are that, or what is given.

    Nothing of the environment's reward or success is left in it, so nothing of that can reach a lesson. The take on disk stays as it was.

    Args:
        episode: at least one decision.
        probability_T1: float64[T + 1], calibrated, before the first decision and after each.
        reward_T1: float64[T + 1], where a probability says too little of how near to success a moment is.
    """
    reward_T1 = probability_T1 if reward_T1 is None else reward_T1
    reached = np.flatnonzero(probability_T1[1:] >= 0.5)
    hit = int(reached[0]) if len(reached) else None
    return judged(episode, np.stack([reward_T1[:-1], reward_T1[1:]], axis=1).astype(np.float32), hit)


def as_seen(episode: Episode, probability_T1: np.ndarray) -> Episode:
    """Return a take with the critic's probabilities for rewards; success stays the environment's.

    Args:
        episode: at least one decision.
        probability_T1: float64[T + 1], calibrated, before the first decision and after each.
    """
    return replace(episode, rewards=np.stack([probability_T1[:-1], probability_T1[1:]], axis=1).astype(np.float32))


def num_rewards(episode: Episode) -> int:
    """Return how many different rewards a take met, but for that of success, which says no more than success does."""
    rewards = episode.rewards[~np.isnan(episode.rewards)]
    return len(set((rewards[:-1] if episode.success else rewards).tolist()))


def answers(episodes: Sequence[Episode], question: str, count: int, rng: np.random.Generator) -> list[Answer]:
    """Return lessons for the critic itself, as many yes as no.

    Yes: a success, and what follows where a take goes on and is successful at its end. No, a third each as far as there are so many: moments before
    a success; moments of takes without one; and, where the environment says what has been achieved, successes of which something else is asked that
    has not, namely what another take was told to do.

    Args:
        episodes: takes whose success is known.
        question: with `{instruction}`.
        count: of lessons at most.
        rng: of the draws.
    """
    yes, before, failed, other = [], [], [], []
    instructions = sorted({episode.instruction for episode in episodes})
    for episode in (each for each in episodes if len(each) and not each.faults):
        asked, hit, frames = question.replace("{instruction}", episode.instruction), episode.first_success, episode.frames
        if hit is None:
            failed += [Answer(each, asked, "no") for each in frames]
            continue
        done = frames[hit + 1 :] if episode.success_at_end else frames[hit + 1 : hit + 2]
        before += [Answer(each, asked, "no") for each in frames[: hit + 1]]
        yes += [Answer(each, asked, "yes") for each in done]
        unasked = [each for each in instructions if each not in (episode.instruction, *episode.achieved)]
        if unasked and episode.achieved:  # else another wording of the same may be among them
            drawn = rng.integers(len(unasked), size=len(done))
            other += [Answer(each, question.replace("{instruction}", unasked[i]), "no") for each, i in zip(done, drawn, strict=True)]
    few = min(len(yes), len(before) + len(failed) + len(other), count // 2)
    no = evenly((before, failed, other), few, rng)
    return evenly((yes,), few, rng) + no


def evenly(kinds: Collection[Sequence[Answer]], count: int, rng: np.random.Generator) -> list[Answer]:
    """Return up to `count` lessons, as many of each kind as can be: what the rarer ones leave is shared by the others."""
    told: list[Answer] = []
    for left, own in zip(range(len(kinds), 0, -1), sorted(kinds, key=len), strict=True):
        told += [own[i] for i in sorted(rng.permutation(len(own))[: (count - len(told)) // left])]
    return told
