"""The loop of a run: collect, label, curate, tune, evaluate; then the candidate is promoted or rolled back."""

from dataclasses import replace
from functools import partial

import numpy as np

from agent.collect.curriculum import exploration_shrinks
from agent.collect.stage import collect
from agent.config.idle import idle
from agent.curate.stage import curate
from agent.curate.warm_start import warm_start_data
from agent.demonstrate.stage import demonstrate
from agent.evaluate.guards import tasks_forgotten
from agent.evaluate.stage import close_cycle, gate, gate_warm_start, test_evaluation
from agent.evaluate.statistics import beats, compare
from agent.ground.known import in_a_sentence
from agent.ground.stage import ground
from agent.label.base_detector import make_base_detector
from agent.label.stage import detector_examples, label, rated, steps_to_go_examples
from agent.learning.training import base_model
from agent.records import DRAWS, Checkpoint
from agent.report import examples, remaining, videos
from agent.rollout.session import Session
from agent.run.files import load
from agent.run.folder import Cycle, Run
from agent.run.further import wrong_twice
from agent.run.recognise import recognise
from agent.run.tracking import Track
from agent.tune.guards import training_collapses
from agent.tune.stage import clone_behaviour, tune


def improve(session: Session, track: Track) -> None:
    """Run all cycles of a run, from its warm start to its test evaluation.

    A kill at any point loses at most the work of the present stage: each stage writes its result once, and a later start reads it.
    """
    run = session.run
    if run.changes:
        track.note(f"This run goes on with another config: {run.changes}.")
    if changed := recognise(run, session.environments.firsts):
        track.note(changed)
    if said := in_a_sentence(session.config, session.environments.firsts):
        track.note(said)
    for said in idle(session.config):
        track.note(said)
    ground(session, track)  # first: it makes the base model that all of the following start from
    starts = {"base": base_model(session)}
    warm = warm_start(session, track)
    if warm.name != starts["base"].name:  # equal where there was no demonstration to imitate
        starts["warm_start"] = warm
    champion = latest(run, gate_warm_start(session, starts["base"], warm, track))
    session.record_champion(champion)
    for cycle in run.cycles():
        if alarms := wrong_twice(run.folder, cycle.number):
            track.note(f"cycle {cycle.number} is not begun: {alarms}; the last two cycles ended so without training, and so would this one")
            break
        champion = turn(session, champion, cycle, track)
    first, before, after = test_evaluation(session, starts, champion, track, partial(rated, session, run.cycle(len(run.results()))))
    if session.config.track.videos:
        videos.show(track, lambda: videos.before_and_after(session, first, champion, before, after))
        videos.show(track, lambda: remaining.failures(session, champion, after))


def turn(session: Session, champion: Checkpoint, cycle: Cycle, track: Track) -> Checkpoint:
    """Run one cycle and return the champion after it: the cycle's candidate if it is promoted, else `champion`."""
    run = session.run
    videos.drop_former(cycle, run.folder)
    collect(session, champion, cycle, track)
    alarms = label(session, champion, cycle, track)
    training_data = curate(session, champion, cycle, track, partial(detector_examples, run))
    examples.of_cycle(session, cycle, training_data, track)
    videos.of_cycle(session, cycle, training_data, track)
    shrunk = shrinks(run, cycle)  # a warning only: unlike alarms it prevents no promotion
    if not training_data and not alarms:
        track.note(f"cycle {cycle.number}: nothing to learn from")
    if alarms or not training_data:
        run.finished("tune")  # without a candidate there is no stage `tune`, and `--until tune` stops here
        close_cycle(session, cycle, champion, None, track, [*alarms, *shrunk])
        return champion
    candidate = tune(session, champion, training_data, cycle, track)
    if alarms := training_collapses(load(cycle.folder / "tune.json")["rows"]):  # not worth the time of a gate evaluation
        close_cycle(session, cycle, champion, None, track, [*alarms, *shrunk])
        return champion
    before, after = gate(session, cycle, champion, candidate, track, partial(rated, session, cycle))
    alarms = tasks_forgotten([env.title for env in session.config.envs], before, after)
    promoted = beats(after, before, session.config.evaluate.gate_alpha) and not alarms
    champion = candidate if promoted else champion
    close_cycle(session, cycle, champion, (compare(after, before), after, promoted), track, [*alarms, *shrunk])
    return champion


def shrinks(run: Run, cycle: Cycle) -> list[str]:
    """Return a warning if far fewer practice seeds are solved at least once than in the best earlier cycle, else []."""
    return exploration_shrinks([load(run.cycle(number).folder / "curate.json")["figures"]["pass_at_k"] for number in range(1, cycle.number + 1)])


def warm_start(session: Session, track: Track) -> Checkpoint:
    """Return the base model after behaviour cloning of demonstrations; without demonstrations, the base model's weights."""
    run, folder = session.run, session.run.folder / "start"
    demonstrate(session, track)
    if run.config.label.detector == "base":
        # Before the behaviour cloning: the frozen detector is trained from the base model's weights.
        run.keep(folder / "base_detector.json", lambda: make_base_detector(session, track))
    # Episodes are decoded only if the warm start is still to be trained.
    shown = run.episodes(folder) if not (folder / "tune.json").exists() else []
    # Failures of an expert are accidents of its noise or script, and not imitated in any way; those of a dataset were recorded on purpose.
    shown = [episode for episode in shown if episode.success or run.config.demonstrate.dataset]
    rng = np.random.default_rng([run.config.seed, 0, 0, 0, DRAWS["pairs"]])
    training_data = warm_start_data(shown, run.config.at(1).curate, rng)
    if any(episode.success for episode in shown):
        training_data = replace(training_data, qa_examples=tuple(steps_to_go_examples(run)))
    return clone_behaviour(session, training_data, track)


def latest(run: Run, champion: Checkpoint) -> Checkpoint:
    """Return the champion after the finished cycles, given the one before the first cycle."""
    for number, result in enumerate(run.results(), 1):
        if result["promoted"]:  # the candidate's weights stay in the folder of the cycle that made it
            champion = Checkpoint(run.cycle(number).folder / "policy.safetensors", result["champion"])
    return champion
