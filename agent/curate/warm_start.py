"""Training data of the warm start, from demonstrations: their decisions, and what failed ones among them teach."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from agent.config.keys import CurateConfig
from agent.curate.credit import LabelledEpisode
from agent.curate.rules import PAIRS_PER_SEED, decision_pairs, trajectory_pairs
from agent.records import Demonstration, Episode, Label, TrainingData, decisions


def warm_start_data(shown: Sequence[Episode], config: CurateConfig, rng: np.random.Generator) -> TrainingData:
    """Return what the warm start learns from the episodes of an expert or of a dataset.

    Successes are imitated. A failure makes preference pairs with successes that begin in the same state, if there are any. With
    `curate.conditioned_weight`, its decisions are imitated for prompts that ask for a bad one (RECAP, arXiv 2511.14759). As an example for the
    success detector it is used elsewhere, whenever the detector is trained.

    Args:
        shown: the episodes.
        config: `pairs_by` and `conditioned_weight`.
        rng: of the choice of pairs.
    """
    won, lost = ([each for each in shown if each.success is success and len(each)] for success in (True, False))
    if not won:  # bad replies alone show nobody how to act
        return TrainingData()
    imitated = [demonstration for episode in won for demonstration in decisions(episode)]
    if config.conditioned_weight:
        imitated += [_bad(episode, t, config.conditioned_weight) for episode in lost for t in range(len(episode))]
    groups: dict[Hashable, list[LabelledEpisode]] = defaultdict(list)
    for episode in [*won, *lost] if lost else ():  # comparing frames takes time, and without failures there is no pair
        groups[_beginning(episode)].append((episode, Label.of(episode)))
    make = {"decision": decision_pairs, "trajectory": trajectory_pairs}[config.pairs_by]
    pairs = [pair for attempts in groups.values() for pair in make(attempts, PAIRS_PER_SEED, rng)]
    return TrainingData(tuple(imitated), tuple(pairs))


def _bad(episode: Episode, t: int, weight: float) -> Demonstration:
    return Demonstration(replace(episode.situation(t), advantage=False), episode.tokens[t], weight)


def _beginning(episode: Episode) -> Hashable:
    """Return what episodes share that begin in the same state with the same instruction: their seed or, where it is not known, all that is seen."""
    if episode.seed >= 0:
        return episode.task, episode.instruction, episode.seed
    return episode.task, episode.instruction, episode.frames[0].tobytes(), b"" if episode.states is None else episode.states[0].tobytes()
