"""Stage `curate` of a run: labelled episodes, and what earlier cycles left -> what the model learns from."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from agent.curate.rules import curate, own, relabel
from agent.records import Answer, Episode, Lessons, Player
from agent.rollout.session import Session
from agent.rollout.thoughts import ponder
from agent.run.files import load
from agent.run.folder import Cycle, Run
from agent.run.labels import believed, labelled, labels_of
from agent.run.layout import GUIDED
from agent.run.tracking import Track


def study(
    session: Session, champion: Player, cycle: Cycle, track: Track, answers: Callable[[Sequence[Episode], np.random.Generator], Sequence[Answer]]
) -> Lessons:
    """Stage `curate`: what this cycle teaches.

    Takes of earlier, rolled-back cycles by the same champion count too, so their work is not lost.

    Args:
        session: of the run.
        champion: whose takes these are.
        cycle: whose.
        track: where figures go.
        answers: takes -> what the model is to learn to say of what it sees, from there.
    """
    run = session.run
    mine = [each for each in [*believed(run, cycle), cycle] if load(each.folder / "collect.json")["policy"] == champion.name]
    mine = mine[-cycle.config.curate.pool :]
    seen = [(each, labelled(run, each)) for each in mine]
    episodes, labels = [e for _, some in seen for e in some], [label for each, some in seen for label in labels_of(run, each, some)]
    rng = np.random.default_rng([run.config.seed, cycle.number, 1])
    if cycle.config.curate.rule:
        lessons = own(cycle.config.curate.rule, episodes, labels)
    else:
        library = _library(run, cycle, episodes) if cycle.config.tune.imitation else []
        guided = [take for take in run.episodes(cycle.folder / GUIDED) if not take.faults]
        retold, thought = relabel(episodes, labels) if cycle.config.curate.hindsight else [], 0
        if retold and (thought := session.policy.codec.thought_length):  # what was done stays; its thought must be about the other instruction
            retold = list(ponder(session.play(champion), [replace(each, tokens=each.tokens[:, thought:]) for each in retold]))
        lessons = curate(episodes, labels, library, cycle.config.curate, rng, retold, thought, guided)
    lessons = replace(lessons, answers=tuple(answers(episodes, rng)) if lessons else ())
    counts = {name: len(getattr(lessons, name)) for name in ("demonstrations", "pairs", "trials", "answers")}
    counts["earlier"] = len(episodes) - load(cycle.folder / "collect.json")["recorded"]["episodes"]
    run.keep(cycle.folder / "curate.json", lambda: {"figures": {**counts, **lessons.notes}})
    track.log(run.metrics())
    run.finished("curate")
    return lessons


def _library(run: Run, cycle: Cycle, episodes: Sequence[Episode]) -> list[Episode]:
    """Return what can be shown again: the oracle's demonstrations, every success of every cycle before this champion's takes, and all guided takes.

    What is told in a guided take is at least as good as the policy's own decision, by one decision of foresight, however the take ends.
    """
    mine = {episode.policy for episode in episodes}
    past = believed(run, cycle)
    library = [take for take in run.episodes(run.folder / "start") if take.success and not take.faults]
    for each in past:  # a cycle's failures are let go before the next one is read
        library += [take for take in labelled(run, each) if take.policy not in mine and take.success and not take.faults]
    return library + [take for each in past for take in run.episodes(each.folder / GUIDED) if not take.faults]
