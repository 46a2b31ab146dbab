"""Stage `curate` of a run: from labelled episodes, of this cycle and of earlier ones, to training data."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from agent.curate.rules import own, relabel, training_data_from
from agent.records import Checkpoint, Episode, QAExample, TrainingData
from agent.rollout.session import Session
from agent.rollout.thoughts import ponder
from agent.run.files import load
from agent.run.folder import Cycle, Run
from agent.run.labels import credible, labelled, labels_of
from agent.run.layout import LOOKAHEAD
from agent.run.tracking import Track

POOL = 2  # cycles whose episodes are used, at most: this one and, if it was rolled back, the one before, whose episodes are by the same champion


def curate(
    session: Session,
    champion: Checkpoint,
    cycle: Cycle,
    track: Track,
    qa_examples: Callable[[Sequence[Episode], np.random.Generator], Sequence[QAExample]],
) -> TrainingData:
    """Stage `curate`: return the training data of a cycle, and write their figures into `curate.json`.

    Episodes of a rolled-back cycle before this one are used again: they are by the same champion, so they are still on policy.

    Args:
        session: of the run.
        champion: the policy that collected the episodes.
        cycle: the present one.
        track: for figures.
        qa_examples: returns the QA examples for the detector, from labelled episodes and a random generator.
    """
    run = session.run
    # Cycles with alarms are left out: their labels cannot be trusted.
    cycles = [each for each in [*credible(run, cycle), cycle] if load(each.folder / "collect.json")["policy"] == champion.name]
    cycles = cycles[-POOL:]
    by_cycle = [(each, labelled(run, each)) for each in cycles]
    episodes, labels = [e for _, part in by_cycle for e in part], [label for each, part in by_cycle for label in labels_of(run, each, part)]
    rng = np.random.default_rng([run.config.seed, cycle.number, 1])
    if cycle.config.curate.rule:  # of the cycle, not of the run: `phases` may change it
        training_data = own(cycle.config.curate.rule, episodes, labels)
    else:
        library = _library(run, cycle, episodes) if cycle.config.tune.bc_coef else []  # reading all earlier cycles is slow
        lookahead = [episode for episode in run.episodes(cycle.folder / LOOKAHEAD) if not episode.faults]
        relabelled, thought = relabel(episodes, labels) if cycle.config.curate.hindsight_weight else [], 0
        # With thoughts: the actions stay, and the policy makes a new thought about the new instruction before each.
        if relabelled and (thought := session.policy.codec.thought_length):
            relabelled = list(ponder(session.load_checkpoint(champion), [replace(each, tokens=each.tokens[:, thought:]) for each in relabelled]))
        training_data = training_data_from(
            episodes, labels, library, cycle.config.curate, rng, relabelled, thought, lookahead, mixed_only=cycle.config.collect.dynamic_sampling > 0
        )
    # Without other training data there is no candidate, so QA examples are not needed.
    training_data = replace(training_data, qa_examples=tuple(qa_examples(episodes, rng)) if training_data else ())
    counts = {name: len(getattr(training_data, name)) for name in ("demonstrations", "pairs", "samples", "qa_examples")}
    counts["earlier"] = len(episodes) - load(cycle.folder / "collect.json")["recorded"]["episodes"]
    # Only the figures are written. A resumed run makes the same training data again, from the episodes on disk and the seed.
    run.keep(cycle.folder / "curate.json", lambda: {"figures": {**counts, **training_data.notes}})
    track.log(run.metrics())
    run.finished("curate")
    return training_data


def _library(run: Run, cycle: Cycle, episodes: Sequence[Episode]) -> list[Episode]:
    """Return the episodes for replay: successful demonstrations, successes of earlier champions, and all earlier look-ahead episodes.

    Look-ahead episodes need no success: each target is at least as good as the policy's own decision, one decision ahead.

    Args:
        run: whose folder is read.
        cycle: the present one; only earlier cycles with credible labels are read.
        episodes: those used as practice now; other episodes of their policies are left out.
    """
    present = {e.policy for e in episodes}
    past = credible(run, cycle)
    library = [episode for episode in run.episodes(run.folder / "start") if episode.success and not episode.faults]
    for each in past:  # in a loop, so that the frames of a cycle's failures are freed before the next cycle is read
        library += [episode for episode in labelled(run, each) if episode.policy not in present and episode.success and not episode.faults]
    return library + [episode for each in past for episode in run.episodes(each.folder / LOOKAHEAD) if not episode.faults]
