"""The heart: one function, one loop. Below it, each stage is bound to its place in the run's folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.collect.curriculum import by_seed, by_task
from agent.collect.jobs import guided_jobs, practice_jobs, refill_jobs
from agent.curate.rules import curate, relabel
from agent.demonstrate.stage import ponder
from agent.evaluate.stage import conclude, gate
from agent.evaluate.statistics import Comparison, beats, compare, exam_name
from agent.ground.stage import bearings
from agent.label.guards import exploration_shrinks, tasks_forgotten, training_collapses
from agent.label.stage import believed, critic_lessons, judge, takes
from agent.records import Episode, Label, Lessons, Player, Scorecard
from agent.report import videos
from agent.rollout.pool import perform
from agent.rollout.rollout import Job, tolerate
from agent.run.files import load
from agent.run.folder import Cycle, Run
from agent.run.recognise import recognise
from agent.run.tracking import Track
from agent.warm_start import base_model, store, train, warm_start

GUIDED = "guided"  # folder of a cycle's guided takes


def improve(run: Run, track: Track) -> None:
    """Practise, judge, learn, and keep the better of two policies; once per cycle.

    Stopping at any point is safe: what a stage has finished is on disk, and is read instead of made again.
    """
    if changed := recognise(run):
        track.note(changed)
    bearings(run, track)
    starts = {"base": base_model(run)}
    warm = warm_start(run, track)
    if warm.name != starts["base"].name:
        starts["warm_start"] = warm
    champion = latest(run, admit(run, starts["base"], warm, track))
    for cycle in run.cycles():
        if wrong := wrong_twice(run, cycle):
            track.note(f"no cycle {cycle.number}: {wrong}; two cycles have come to this, and another would")
            break
        practise(run, champion, cycle, track)
        episodes, labels, alarms = judge(run, champion, cycle, track)
        lessons = study(run, champion, episodes, labels, cycle, track)
        if not lessons and not alarms:
            track.note(f"cycle {cycle.number}: nothing to learn from, all takes of each seed ended alike")
        if alarms or not lessons:
            run.finished("tune")  # there is nothing to wait for
            settle(run, cycle, champion, None, track, alarms)
            continue
        challenger = learn(run, champion, lessons, cycle, track)
        if alarms := training_collapses(load(cycle.folder / "tune.json")["rows"]):
            settle(run, cycle, champion, None, track, alarms)
            continue
        before, after = gate(run, cycle, champion, challenger, track)
        verdict, alarms = compare(after, before), tasks_forgotten([env.title for env in run.config.envs], before, after)
        promoted = beats(after, before, run.config.evaluate.alpha) and not alarms
        settle(run, cycle, challenger if promoted else champion, (verdict, after, promoted), track, alarms)
        champion = challenger if promoted else champion
    conclude(run, starts, champion, track)


def wrong_twice(run: Run, cycle: Cycle) -> str:
    """Return what made the labels of the last two cycles incredible, if it is the same to the letter: a judge that learns nothing stays as it is."""
    last, before = (load(run.cycle(cycle.number - back).folder / "label.json").get("alarms") if cycle.number > back else [] for back in (1, 2))
    return "; ".join(last or []) if last == before else ""


def latest(run: Run, champion: Player) -> Player:
    """Return the champion after the finished cycles."""
    for number, result in enumerate(run.results(), 1):
        if result["promoted"]:
            champion = Player(run.cycle(number).folder / "policy.safetensors", result["champion"])
    return champion


def admit(run: Run, base: Player, warm: Player, track: Track) -> Player:
    """Return the first champion: the warm start, if it passes the gate that every candidate has to pass, else the base model.

    Where the base model passes no gate seed there is nothing to lose, and the warm start stays. What it was is written as cycle 0 of `evaluate`.
    """
    file = run.folder / "start" / "evaluate.json"
    gated = file.exists() or (run.folder / "exams" / f"{exam_name('gate', base.name, cycle=0)}.json").exists()
    if warm.name == base.name or (not gated and run.cycle(1).folder.exists()):  # a run that began without this gate goes on without
        return warm

    def go() -> dict[str, Any]:
        before, after = gate(run, run.cycle(0), base, warm, track)
        alarms = tasks_forgotten([env.title for env in run.config.envs], before, after)
        promoted = (beats(after, before, run.config.evaluate.alpha) or not any(before.outcomes.values())) and not alarms
        said = f"warm start: {after.success}, base model: {before.success}, {compare(after, before)}: {'promoted' if promoted else 'rolled back'}"
        track.note("; ".join([said, *alarms]))
        rates = {"base_rate": before.success.rate} | {f"base_rate/{task}": rate for task, rate in by_task(run.config.envs, before.outcomes).items()}
        return {"figures": {**gate_figures(run, compare(after, before), after, promoted), **rates}, "alarms": alarms}

    promoted = run.keep(file, go)["figures"]["promoted"]
    track.log(run.metrics())
    return warm if promoted else base


def practise(run: Run, champion: Player, cycle: Cycle, track: Track) -> None:
    """Stage `collect`: K hot takes on each of the cycle's seeds."""
    config, jobs = cycle.config.collect, practice_jobs(run, cycle)

    def play(title: str, todo: list[Job], folder: Path = cycle.folder) -> list[Episode]:
        kept = run.episodes(folder)
        with track.bar(f"cycle {cycle.number}: {title}", len(todo), len(kept)) as step:
            made = perform(run, champion, todo[len(kept) :], practice=True)
            spoilt = sum(bool(episode.faults) for episode in kept)
            store(run, folder, tolerate(made, len(todo), config.max_fault_share, spoilt), lambda episode: step(1))
        return run.episodes(folder)

    def go() -> dict[str, Any]:
        tried, episodes = jobs, play("collect", jobs)
        while more := refill_jobs(run, cycle, episodes):
            tried = [*tried, *more]
            episodes = play("collect, refill", tried)
        guided = play("collect, guided", guided_jobs(run, cycle), cycle.folder / GUIDED) if config.guided else []
        faults = [f"seed {episode.seed}: {episode.faults[0]}" for episode in [*episodes, *guided] if episode.faults]
        figures = {
            "success": float(np.mean([episode.success for episode in episodes])),
            "decisions": sum(map(len, [*episodes, *guided])),
            "faults": len(faults),
        }
        if guided:
            figures["guided_success"] = float(np.mean([episode.success for episode in guided]))
            figures["foreseen"] = sum(map(len, guided)) * (config.foresight + 1)
        figures |= {f"success/{task}": rate for task, rate in by_task(run.config.envs, {e.id: e.success for e in episodes}).items()}
        recorded = {"episodes": len(episodes)} | ({f"{GUIDED}/episodes": len(guided)} if guided else {})
        return {"figures": figures, "policy": champion.name, "faults": faults[:20], "seeds": by_seed(episodes), "recorded": recorded}

    run.keep(cycle.folder / "collect.json", go)
    track.log(run.metrics())
    run.finished("collect")


def study(run: Run, champion: Player, episodes: Sequence[Episode], labels: Sequence[Label], cycle: Cycle, track: Track) -> Lessons:
    """Stage `curate`: what this cycle teaches."""
    library = _library(run, cycle, episodes) if cycle.config.tune.imitation else []
    guided = [take for take in run.episodes(cycle.folder / GUIDED) if not take.faults]
    retold, thought = relabel(episodes, labels) if cycle.config.curate.hindsight else [], 0
    if retold and (thought := run.policy.codec.thought_length):  # what was done stays; what is thought of it must be about the other instruction
        retold = list(ponder(run.play(champion), [replace(each, tokens=each.tokens[:, thought:]) for each in retold]))
    rng = np.random.default_rng([run.config.seed, cycle.number, 1])
    lessons = curate(episodes, labels, library, cycle.config.curate, rng, retold, thought, guided)
    lessons = replace(lessons, answers=tuple(critic_lessons(run, episodes, rng)) if lessons else ())
    counts = {name: len(getattr(lessons, name)) for name in ("demonstrations", "pairs", "trials", "answers")}
    if run.config.track.films and not (run.folder / "films" / f"cycle-{cycle.number:03d}-worst.mp4").exists():
        shown = [take for take in run.episodes(cycle.folder) if not take.faults]  # as the environment saw them
        videos.show(track, lambda: videos.extremes(run.workers, shown, run.folder / "films", f"cycle-{cycle.number:03d}"))
        if cycle.number == 1 and (lessons.trials or lessons.demonstrations):
            track.picture(videos.batch(lessons, run.folder / "films" / "first-batch.png"))
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
        library += [take for take in takes(run, each) if take.policy not in mine and take.success and not take.faults]
    return library + [take for each in past for take in run.episodes(each.folder / GUIDED) if not take.faults]


def learn(run: Run, champion: Player, lessons: Lessons, cycle: Cycle, track: Track) -> Player:
    """Stage `tune`: from the champion to a challenger."""

    def go() -> dict[str, Any]:
        from agent.learning.trainer import tune

        return train(run, champion, cycle.folder, lambda policy, watch: tune(
            policy, lessons, cycle.config.tune, seed=(run.config.seed, cycle.number), checkpoint=cycle.folder / "checkpoint.pt", watch=watch
        ), track, f"cycle {cycle.number}: tune")  # fmt: skip

    made = run.keep(cycle.folder / "tune.json", go)
    track.log(run.metrics())
    run.finished("tune")
    return Player(cycle.folder / "policy.safetensors", made["policy"])


def settle(run: Run, cycle: Cycle, champion: Player, result: tuple[Comparison, Scorecard, bool] | None, track: Track, alarms: Sequence[str]) -> None:
    """Write down whether the challenger was promoted, and what the guards said; with this file the cycle is finished."""
    found = [load(run.cycle(number).folder / "curate.json")["figures"]["pass_at_k"] for number in range(1, cycle.number + 1)]
    alarms = [*alarms, *exploration_shrinks(found)]
    figures: dict[str, Any] = {"promoted": False}
    if result is not None:
        figures = gate_figures(run, *result)
    run.keep(cycle.folder / "evaluate.json", lambda: {"figures": figures})
    run.keep(cycle.folder / "cycle.json", lambda: {"figures": {}, "champion": champion.name, **figures, "alarms": alarms})
    track.log(run.metrics())
    for alarm in alarms:
        track.note(f"cycle {cycle.number}: {alarm}")
    if result is not None:
        track.note(f"cycle {cycle.number}: {result[1].success}, {result[0]}: {'promoted' if result[2] else 'rolled back'}")
    run.finished("evaluate")


def gate_figures(run: Run, comparison: Comparison, after: Scorecard, promoted: bool) -> dict[str, Any]:
    """Return what the records keep of a gate evaluation, of several environments for each."""
    rate = after.success
    figures = {"promoted": promoted, "gate_rate": rate.rate, "gate_low": rate.low, "gate_high": rate.high}
    figures |= {f"gate_rate/{task}": rate for task, rate in by_task(run.config.envs, after.outcomes).items()}
    return figures | {"gate_gain": comparison.gain, "gate_p_value": comparison.p_value, "won": comparison.won, "lost": comparison.lost}
