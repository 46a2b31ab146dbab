"""The loop: collect, label, curate, tune, evaluate; promote or roll back."""

from functools import partial

from agent.collect.curriculum import exploration_shrinks
from agent.collect.stage import practise
from agent.curate.stage import study
from agent.demonstrate.stage import show
from agent.evaluate.guards import tasks_forgotten
from agent.evaluate.stage import admit, conclude, gate, settle
from agent.evaluate.statistics import beats, compare
from agent.ground.stage import bearings
from agent.label.referee import raise_referee
from agent.label.stage import countdown_lessons, critic_lessons, judge
from agent.learning.training import base_model
from agent.records import Lessons, Player, decisions
from agent.report import videos
from agent.rollout.session import Session
from agent.run.files import load
from agent.run.folder import Cycle, Run
from agent.run.recognise import recognise
from agent.run.tracking import Track
from agent.tune.guards import training_collapses
from agent.tune.stage import imitate, learn


def improve(session: Session, track: Track) -> None:
    """Collect, label, curate, tune, and keep the better of two policies; once per cycle.

    Stopping at any point is safe: what a stage has finished is on disk, and is read instead of made again.
    """
    run = session.run
    if changed := recognise(run, session.workers.firsts):
        track.note(changed)
    bearings(session, track)
    starts = {"base": base_model(session)}
    warm = warm_start(session, track)
    if warm.name != starts["base"].name:
        starts["warm_start"] = warm
    champion = latest(run, admit(session, starts["base"], warm, track))
    session.crown(champion)
    for cycle in run.cycles():
        if wrong := wrong_twice(run, cycle):
            track.note(f"no cycle {cycle.number}: {wrong}; two cycles have come to this, and another would")
            break
        champion = turn(session, champion, cycle, track)
    first, before, after = conclude(session, starts, champion, track)
    if session.config.track.films:
        videos.show(track, lambda: videos.contrast(session, first, champion, before, after))


def turn(session: Session, champion: Player, cycle: Cycle, track: Track) -> Player:
    """Return the champion after one cycle: the candidate that it makes, or the one before."""
    run = session.run
    practise(session, champion, cycle, track)
    alarms = judge(session, champion, cycle, track)
    lessons = study(session, champion, cycle, track, partial(critic_lessons, run))
    videos.of_cycle(session, cycle, lessons, track)
    shrunk = shrinks(run, cycle)
    if not lessons and not alarms:
        track.note(f"cycle {cycle.number}: nothing to learn from")
    if alarms or not lessons:
        run.finished("tune")  # there is nothing to wait for
        settle(session, cycle, champion, None, track, [*alarms, *shrunk])
        return champion
    challenger = learn(session, champion, lessons, cycle, track)
    if alarms := training_collapses(load(cycle.folder / "tune.json")["rows"]):
        settle(session, cycle, champion, None, track, [*alarms, *shrunk])
        return champion
    before, after = gate(session, cycle, champion, challenger, track)
    alarms = tasks_forgotten([env.title for env in session.config.envs], before, after)
    promoted = beats(after, before, session.config.evaluate.alpha) and not alarms
    champion = challenger if promoted else champion
    settle(session, cycle, champion, (compare(after, before), after, promoted), track, [*alarms, *shrunk])
    return champion


def shrinks(run: Run, cycle: Cycle) -> list[str]:
    """Return a sentence where far fewer practice seeds are ever solved than in the best cycle before."""
    return exploration_shrinks([load(run.cycle(number).folder / "curate.json")["figures"]["pass_at_k"] for number in range(1, cycle.number + 1)])


def warm_start(session: Session, track: Track) -> Player:
    """Return the base model after imitation of a few episodes of an expert or of a dataset."""
    run, folder = session.run, session.run.folder / "start"
    show(session, track)
    if run.config.label.judge == "referee":
        run.keep(folder / "referee.json", lambda: raise_referee(session, track))
    shown = [episode for episode in run.episodes(folder) if episode.success] if not (folder / "tune.json").exists() else []
    lessons = Lessons(tuple(d for episode in shown for d in decisions(episode)), answers=tuple(countdown_lessons(run) if shown else ()))
    return imitate(session, lessons, track)


def wrong_twice(run: Run, cycle: Cycle) -> str:
    """Return what made the labels of the last two cycles incredible, if it is the same to the letter: a judge that learns nothing stays as it is."""
    last, before = (load(run.cycle(cycle.number - back).folder / "label.json").get("alarms") if cycle.number > back else [] for back in (1, 2))
    return "; ".join(last or []) if last == before else ""


def first_champion(session: Session) -> Player:
    """Return what a run's first cycle began from: the warm start, or the base model where the gate rolled the warm start back."""
    file = session.run.folder / "start" / "evaluate.json"
    return base_model(session) if file.exists() and not load(file)["figures"]["promoted"] else session.run.player(session.run.folder / "start")


def latest(run: Run, champion: Player) -> Player:
    """Return the champion after the finished cycles."""
    for number, result in enumerate(run.results(), 1):
        if result["promoted"]:
            champion = Player(run.cycle(number).folder / "policy.safetensors", result["champion"])
    return champion
