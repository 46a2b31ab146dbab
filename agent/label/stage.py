"""Stage `label` of a run, and `critic` before it: the environment's word on takes, or the model's own."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.config.keys import LabelConfig
from agent.label import countdown
from agent.label.calibration import Calibration, Sight, calibrate, peaks, quality, sight
from agent.label.detector import answers, as_judged, as_seen, consult, nearness, num_rewards, opine, verdict
from agent.label.guards import critic_drifts, labels_contradict
from agent.label.referee import a_few, held_out, knows, learnt_from, referee
from agent.records import Answer, Episode, Label, Player, Verdict
from agent.rollout.session import Session
from agent.run import episodes as dataset
from agent.run.files import load
from agent.run.folder import Cycle, Run
from agent.run.labels import row
from agent.run.tracking import Track


def judge(session: Session, champion: Player, cycle: Cycle, track: Track) -> list[str]:
    """Stage `label`: the environment's word on each take, or the model's own, into `label.json`.

    Returns:
        What makes the labels of this cycle incredible (`guards`).
    """
    run, config = session.run, session.config.label
    if config.by != "env":
        run.keep(cycle.folder / "critic.json", lambda: _criticise(session, champion, cycle))
    if run.config.curate.credit == "steps":
        run.keep(cycle.folder / "countdown.json", lambda: _count_down(session, champion, cycle))

    def go() -> dict[str, Any]:
        told = run.episodes(cycle.folder)
        seen = as_told(run, cycle, told)
        by: Any = "critic" if config.by == "critic" else "env"
        said = verdicts(run, cycle)
        labels = [Label.of(*each) for each in zip(seen, [by] * len(seen), said, strict=True)]
        # Labels are held against the rewards of `told`: those of `seen` may be the model's own word.
        alarms = critic_drifts(load(cycle.folder / "critic.json")["figures"]) if by == "critic" else labels_contradict(told, labels)
        successes = [each.success for each in labels]
        figures = {"episodes": len(labels), "success": float(np.mean(successes))}
        return {"figures": figures, "episodes": list(map(row, told, seen, said)), "alarms": alarms}

    made = run.keep(cycle.folder / "label.json", go)
    track.log(run.metrics())
    run.finished("label")
    return made.get("alarms", [])


def as_told(run: Run, cycle: Cycle, episodes: list[Episode]) -> list[Episode]:
    """Return a cycle's takes; where the critic or the model's countdown has a say, as it sees them."""
    episodes = _criticised(run, cycle, episodes)
    if run.config.curate.credit != "steps":
        return episodes
    told = load(cycle.folder / "countdown.json")["digits"]
    return [countdown.paced(episode, np.array(own)) for episode, own in zip(episodes, told, strict=True)]


def _criticised(run: Run, cycle: Cycle, episodes: list[Episode]) -> list[Episode]:
    if run.config.label.by == "env":
        return episodes
    told = zip(episodes, _probabilities(cycle), strict=True)
    if run.config.label.by == "critic":
        near = load(cycle.folder / "critic.json").get("near") or [None] * len(episodes)
        return [as_judged(e, p, n and np.array(n)) if len(p) else e for (e, p), n in zip(told, near, strict=True)]
    met: dict[str, list[int]] = defaultdict(list)
    for episode in episodes:
        met[episode.task].append(num_rewards(episode))
    silent = {task for task, counts in met.items() if max(counts) == 1}  # in all of its takes: they are compared, so have rewards of one kind
    return [as_seen(e, p) if len(p) and e.task in silent else e for e, p in told]


def verdicts(run: Run, cycle: Cycle) -> list[Verdict | None]:
    """Return the critic's verdict on each of a cycle's takes; None where it was not asked."""
    if not (cycle.folder / "critic.json").exists():
        return [None] * dataset.count(cycle.folder / "episodes")
    return [verdict(p[1:]) if len(p) else None for p in _probabilities(cycle)]  # the first is of the beginning


def countdown_lessons(run: Run) -> list[Answer]:
    """Return what the warm start teaches of counting down, from its demonstrations; nothing where that gives no credit."""
    config = run.config.label
    if run.config.curate.credit != "steps":
        return []
    shown, rng = [episode for episode in run.episodes(run.folder / "start") if episode.success], np.random.default_rng([run.config.seed, 0, 1])
    return countdown.lessons(shown, config.countdown, countdown.pace(shown), config.lessons, rng)


def critic_lessons(run: Run, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Answer]:
    """Return what the critic is to learn in a cycle: of demonstrations and, where it may ask the environment, of the cycle's takes."""
    config, told = run.config.label, []
    asked, counted = config.judge == "champion" and config.by != "env" and not config.detector, run.config.curate.credit == "steps"
    if not (asked or counted):
        return []
    shown = run.episodes(run.folder / "start")
    known = learnt_from(shown) if config.by == "critic" else [*episodes, *shown]
    if asked:
        told += answers(known, config.question, config.lessons, rng)
    if counted:
        won = [episode for episode in shown if episode.success]
        timed = won if config.by == "critic" else [*episodes, *won]
        told += countdown.lessons(timed, config.countdown, countdown.pace(won), config.lessons, rng)
    return told


def _probabilities(cycle: Cycle) -> list[np.ndarray]:
    content = load(cycle.folder / "critic.json")
    calibration = Calibration(*content["calibration"])
    return [calibration(np.array(each)) for each in content["opinions"]]


def _criticise(session: Session, champion: Player, cycle: Cycle) -> dict[str, Any]:
    """Ask the critic about every take of a cycle, calibrate it, and measure it on takes that it was not calibrated on."""
    run, config, episodes = session.run, session.config.label, session.run.episodes(cycle.folder)
    policy: Any = None if config.detector else session.play(champion if config.judge == "champion" else referee(run))
    opinions, near = _asked(config, policy, episodes), []
    asked = [i for i, each in enumerate(opinions) if len(each) and not episodes[i].faults]
    truth = np.array([episodes[i].success for i in asked])
    if alone := config.by == "critic":
        calibration, told, both = _by_demonstrations(run, policy)
        if both:
            near = nearness(policy, episodes, config.way)
            opinions = [both(*each) for each in zip(opinions, near, strict=True)]
        measured = np.ones(len(asked), bool)
    else:
        measured, told = np.array([episodes[i].seed % 2 == 1 for i in asked], bool), {}
        calibration = calibrate(np.array([opinions[i][-1] for i in asked])[~measured], truth[~measured])
    sure = np.array([calibration(opinions[i][1:] if alone else opinions[i][-1:]).max() for i in asked])
    figures = quality(sure[measured], truth[measured]) if measured.any() else {}
    figures |= {"takes": len(asked), "slope": calibration.slope, "offset": calibration.offset, **told}
    said = {"opinions": [each.tolist() for each in opinions], "near": [each.tolist() for each in near]}
    return {"figures": figures, "calibration": [calibration.slope, calibration.offset], **said}


def _asked(config: LabelConfig, policy: Any, episodes: Sequence[Episode]) -> list[np.ndarray]:
    """Return what the success detector says of each moment of each take: the model, or the user's own."""
    return consult(config.detector, episodes) if config.detector else opine(policy, episodes, config.question)


def _by_demonstrations(run: Run, policy: Any) -> tuple[Calibration, dict[str, float], Sight | None]:
    """Calibrate a critic that may not ask the environment, on demonstrations from which it has not learnt.

    Returns:
        The calibration; what it knows of demonstrations; how yes and distance count together, where `label.way` is asked.
    """
    config, shown = run.config.label, run.episodes(run.folder / "start")
    taught = config.judge == "champion" or load(run.folder / "start" / "referee.json")["figures"]["steps"]
    untaught = bool(config.detector) or not taught  # then it has learnt from none
    some = a_few(shown if untaught else held_out(shown))
    words, both = _asked(config, policy, some), None
    if config.way and some:
        seen = nearness(policy, some, config.way)
        both = sight(words, seen, some)
        words = [both(*each) for each in zip(words, seen, strict=True)]
    ends = peaks(words, some, lasting=not config.way)
    return calibrate(*ends), knows(ends), both  # not of what is calibrated: that would turn round who rates the wrong way round


def _count_down(session: Session, champion: Player, cycle: Cycle) -> dict[str, Any]:
    """Ask the model how far each take of a cycle is from success, and measure what it says on those that get there."""
    run = session.run
    episodes, shown = run.episodes(cycle.folder), [episode for episode in run.episodes(run.folder / "start") if episode.success]
    told = countdown.foretell(session.play(champion), episodes, run.config.label.countdown)
    missed = countdown.error(episodes, told, countdown.pace(shown))
    return {"figures": {} if missed is None else {"countdown_error": missed}, "digits": [each.tolist() for each in told]}
