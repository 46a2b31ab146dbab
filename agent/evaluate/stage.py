"""Evaluations of a run: greedy episodes on held-out seeds, made once and then read; the gate; and what the run came to in the end."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from agent.evaluate.guards import tasks_forgotten
from agent.evaluate.statistics import Comparison, account, beats, compare, score
from agent.records import SEEDS, Job, Player, Rate, Scorecard
from agent.rollout.session import Session
from agent.rollout.sharing import by_env, by_task, share
from agent.run.base import began_from
from agent.run.files import write_text
from agent.run.folder import Cycle, Run
from agent.run.layout import exam_name
from agent.run.recognise import recorded
from agent.run.tracking import Track
from envs import EnvConfig

START = 9_000_000  # where the warm start's gate seeds begin within their range, beyond those of all cycles


def exam(session: Session, player: Player, kind: str, track: Track, variation: str = "", cycle: int = 1, part: int = 0) -> Scorecard:
    """Return the player's scorecard on the `gate` or `final` seeds, greedy, as they are or in a variation; made once, then read.

    Each cycle has seeds of its own, the warm start (cycle 0) too, and parts after the first are as many further ones each.
    """
    run = session.run
    count = run.config.evaluate.episodes if kind == "gate" else run.config.evaluate.final_episodes
    place = ((cycle - 1) * (1 + run.config.evaluate.prolong) + part) * count if cycle else START + part * count
    jobs = exam_jobs(run.config.envs, count, SEEDS[kind] + place)

    def sit() -> dict[str, Any]:
        with track.bar(f"{kind} exam{f', {variation}' if variation else ''}", count) as step:
            episodes = []
            for episode in session.perform(player, jobs, variation):
                episodes.append(episode)
                step(1)
        faults = [f"seed {episode.seed}: {episode.faults[0]}" for episode in episodes if episode.faults]
        if faults:
            track.note(
                f"{kind} exam{variation and f', {variation}'}: {len(faults)} of {count} seeds failed by a fault of the environment: {faults[0]}"
            )
        return asdict(score(player.name, episodes)) | {"faults": faults}

    content = run.keep(run.folder / "exams" / f"{exam_name(kind, player.name, variation, cycle, part)}.json", sit)
    return Scorecard(content["policy"], content["outcomes"], content.get("effort", {}))


def exam_jobs(envs: Sequence[EnvConfig], count: int, first: int) -> list[Job]:
    """Return greedy attempts at `count` seeds, from `first` on in each environment, shared by weight."""
    counts = share(count, [env.weight for env in envs])
    return [Job(first + i, kind=kind) for kind, own in enumerate(counts) for i in range(own)]


def gate(session: Session, cycle: Cycle, champion: Player, challenger: Player, track: Track) -> tuple[Scorecard, Scorecard]:
    """Return what both pass of the same gate seeds: more of them while the challenger is ahead, but by no more than chance explains.

    Each cycle has seeds of its own: on those that a champion was chosen by it looks better than it is, and nobody would beat it there.
    """
    before, after, config = Scorecard(champion.name, {}), Scorecard(challenger.name, {}), session.config.evaluate
    for part in range(1 + config.prolong):
        before, after = (
            before.and_also(exam(session, champion, "gate", track, cycle=cycle.number, part=part)),
            after.and_also(exam(session, challenger, "gate", track, cycle=cycle.number, part=part)),
        )
        if beats(after, before, config.alpha) or compare(after, before).gain <= 0:
            break
    return before, after


def conclude(session: Session, starts: Mapping[str, Player], last: Player, track: Track) -> tuple[Player, Scorecard, Scorecard]:
    """Evaluate the starts and the last champion on the test seeds, by which nothing was chosen; write `summary.json`.

    Args:
        session: of a run that has come to its end.
        starts: `base`, and `warm_start` where something was imitated.
        last: the last champion.
        track: where it is said.

    Returns:
        The better start, its scorecard, and that of the last champion.
    """
    run = session.run
    cards, after = {name: exam(session, player, "final", track) for name, player in starts.items()}, exam(session, last, "final", track)
    summary, results = account(cards, after), run.results()
    before = summary["before_is"]
    summary = {
        "task": run.config.task,
        "environment": recorded(run),
        "base_weights": began_from(run.folder),
        "seed": run.config.seed,
        "cycles": len(results),
        "promoted": sum(result["promoted"] for result in results),
        **summary,
        "policy": last.name,
    }
    parts = {name: by_env(run.config.envs, card) for name, card in cards.items()}
    if tasks := {title: account({name: part[title] for name, part in parts.items()}, card) for title, card in by_env(run.config.envs, after).items()}:
        summary["tasks"] = tasks
    if run.config.evaluate.variations:
        summary["variations"] = {name: _generalises(session, before, starts, last, name, track) for name in run.config.evaluate.variations}
    summary["seconds"] = {"total": round(run.seconds(), 1), **run.seconds_by_stage()}
    write_text(run.folder / "summary.json", json.dumps(summary, indent=2))
    track.summarise(summary)
    for name in (*starts, "after"):
        track.note(f"{name.replace('_', ' '):<11}{Rate.read(summary[name])}")
    track.note(f"{'gain':<11}{compare(after, cards[before])} over the {before.replace('_', ' ')}")
    return starts[before], cards[before], after


def _generalises(session: Session, before: str, starts: Mapping[str, Player], last: Player, variation: str, track: Track) -> dict[str, Any]:
    """Return how the last champion does against the better start in a variation of the environment."""
    first, after = (exam(session, player, "final", track, variation) for player in (starts[before], last))
    track.note(f"{variation}: {first.success} -> {after.success}, {compare(after, first)}")
    return account({before: first}, after)


def admit(session: Session, base: Player, warm: Player, track: Track) -> Player:
    """Return the first champion: the warm start, if it passes the gate that every candidate has to pass, else the base model.

    Where the base model passes no gate seed there is nothing to lose, and the warm start stays. What it was is written as cycle 0 of `evaluate`.
    """
    run = session.run
    file = run.folder / "start" / "evaluate.json"
    gated = file.exists() or (run.folder / "exams" / f"{exam_name('gate', base.name, cycle=0)}.json").exists()
    if warm.name == base.name or (not gated and run.cycle(1).folder.exists()):  # a run that began without this gate goes on without
        return warm

    def go() -> dict[str, Any]:
        before, after = gate(session, run.cycle(0), base, warm, track)
        alarms = tasks_forgotten([env.title for env in run.config.envs], before, after)
        promoted = (beats(after, before, run.config.evaluate.alpha) or not any(before.outcomes.values())) and not alarms
        said = f"warm start: {after.success}, base model: {before.success}, {compare(after, before)}: {'promoted' if promoted else 'rolled back'}"
        track.note("; ".join([said, *alarms]))
        rates = {"base_rate": before.success.rate} | {f"base_rate/{task}": rate for task, rate in by_task(run.config.envs, before.outcomes).items()}
        return {"figures": {**gate_figures(run, compare(after, before), after, promoted), **rates}, "alarms": alarms}

    promoted = run.keep(file, go)["figures"]["promoted"]
    track.log(run.metrics())
    return warm if promoted else base


def settle(
    session: Session, cycle: Cycle, champion: Player, result: tuple[Comparison, Scorecard, bool] | None, track: Track, alarms: Sequence[str]
) -> None:
    """Write down whether the challenger was promoted, and what the guards said; with this file the cycle is finished."""
    run, figures = session.run, {"promoted": False}
    if result is not None:
        figures = gate_figures(run, *result)
    run.keep(cycle.folder / "evaluate.json", lambda: {"figures": figures})
    session.crown(champion)
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
