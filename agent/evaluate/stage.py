"""Stage `evaluate` of a run: gate evaluations and the decision to promote, and the test evaluation with `summary.json` at the end.

An evaluation is greedy episodes on held-out seeds. Its scorecard is written into `evaluate/`, and read from there when it is needed again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from agent.evaluate.guards import tasks_forgotten
from agent.evaluate.shown import FirstOfEach, write_videos
from agent.evaluate.statistics import Comparison, account, beats, compare, tally
from agent.records import SEEDS, Checkpoint, Episode, Job, Rate, Scorecard
from agent.rollout.rollout import tolerate
from agent.rollout.session import Session
from agent.rollout.sharing import by_env, by_task, share
from agent.run.base import began_from
from agent.run.files import write_text
from agent.run.folder import Cycle, Run
from agent.run.layout import evaluation_name
from agent.run.recognise import recorded
from agent.run.tracking import Track
from envs import EnvConfig
from envs.faults import in_words

Detect = Callable[[Checkpoint, Sequence[Episode]], Sequence[float]]
"""f(the policy that was evaluated, its episodes) -> the success detector's score of each; empty where no detector is used."""
START = 9_000_000  # place of the warm start's first gate seed in the range of gate seeds (10 million), beyond those of all cycles


def evaluate(
    session: Session,
    checkpoint: Checkpoint,
    kind: str,
    track: Track,
    variation: str = "",
    cycle: int | None = None,
    part: int = 0,
    detect: Detect | None = None,
) -> Scorecard:
    """Return a policy's scorecard on gate or test seeds.

    Args:
        session: of the run.
        checkpoint: the policy.
        kind: `gate` or `test`, a range of `SEEDS`.
        track: for the progress bar and notes.
        variation: name in `evaluate.variations`; "": the environments as they are.
        cycle: of the gate, each of which has seeds of its own; 0: the gate of the warm start. None: not of a cycle, as the test evaluation.
        part: of a gate evaluation: 0, and 1, 2, ... for the further rounds, each with as many further seeds.
        detect: rates the episodes that are shown; None: nobody does.

    Raises:
        ValueError: no gate seeds are left, or too many episodes are faulty for a success rate.
    """
    run = session.run
    count = run.config.evaluate.gate_episodes if kind == "gate" else run.config.evaluate.test_episodes
    place = 0 if cycle is None else _place_of_gate(run, cycle, part)  # every test evaluation has the same seeds
    name = evaluation_name(kind, checkpoint.name, variation, cycle, part)
    jobs = evaluation_jobs(run.config.envs, count, SEEDS[kind] + place)

    def run_episodes() -> dict[str, Any]:
        shown = FirstOfEach(len(run.config.envs) if run.config.track.videos and not variation and not part else 0)
        instructions: dict[str, str] = {}  # the report groups the failures by them, and only a reset would tell them again
        title = f"{kind} evaluation{variation and f', {variation}'}"
        with track.bar(title, count) as step:

            def see(episode: Episode) -> None:
                shown.see(episode)
                instructions[f"{episode.task}/{episode.seed}"] = episode.instruction
                step(1)

            card, faults = tally(checkpoint.name, tolerate(session.rollout(checkpoint, jobs, variation), count), see)
        if faults:
            track.note(f"{title}: {len(faults)} of {count} seeds failed by a fault of the environment: {faults[0]}")
        rows: list[dict[str, Any]] = []
        try:
            scores = detect(checkpoint, shown.episodes) if detect and shown.episodes else []
            rows = write_videos(session, shown.episodes, scores, name)
        except (Exception, SystemExit) as error:  # a user's detector, or an encoder: what is only shown costs no evaluation
            track.note(f"no videos of the {kind} evaluation: {in_words(error)}")
        return asdict(card) | {"faults": faults, "instructions": instructions, "episodes": rows}

    content = run.keep(run.folder / "evaluate" / f"{name}.json", run_episodes)
    return Scorecard(content["policy"], content["outcomes"], content["effort"])


def _place_of_gate(run: Run, cycle: int, part: int) -> int:
    """Return the place of a gate's first seed in the range of gate seeds, where each part of each cycle's gate has seeds of its own.

    Raises:
        ValueError: the range has no seeds left.
    """
    count, rounds = run.config.evaluate.gate_episodes, 1 + run.config.evaluate.extra_rounds
    # As if every earlier cycle had used all its rounds.
    place = START + part * count if cycle == 0 else ((cycle - 1) * rounds + part) * count
    if place + count > (START if cycle else 10_000_000):  # the next range is that of the test seeds
        raise ValueError(f"cycle {cycle}: no gate seeds are left for {count} more; lower evaluate.gate_episodes or evaluate.extra_rounds.")
    return place


def evaluation_jobs(envs: Sequence[EnvConfig], count: int, first: int) -> list[Job]:
    """Return greedy jobs for `count` seeds, shared among the environments by weight; the seeds of each environment begin at `first`."""
    # Environments may share seeds: a seed means nothing across them.
    # `kind` of a job is the index of its environment, not that of the evaluation.
    counts = share(count, [env.weight for env in envs])
    return [Job(first + i, kind=kind) for kind, own in enumerate(counts) for i in range(own)]


def gate(
    session: Session, cycle: Cycle, champion: Checkpoint, candidate: Checkpoint, track: Track, detect: Detect | None = None
) -> tuple[Scorecard, Scorecard]:
    """Return the scorecards of champion and candidate on the same gate seeds.

    Further rounds of seeds follow while the candidate is ahead, but not beyond `evaluate.gate_alpha`. Each round is another chance of an error.
    Each cycle has seeds of its own: on the seeds by which a champion was chosen it looks better than it is, and a better candidate would fail there.
    """
    # Empty scorecards, to which each round adds its own.
    before, after, config = Scorecard(champion.name, {}), Scorecard(candidate.name, {}), session.config.evaluate
    for part in range(1 + config.extra_rounds):
        before, after = (
            before.and_also(evaluate(session, champion, "gate", track, cycle=cycle.number, part=part, detect=detect)),
            after.and_also(evaluate(session, candidate, "gate", track, cycle=cycle.number, part=part, detect=detect)),
        )
        # Decided: surely better, or not ahead. A candidate that is ahead by chance falls behind with further seeds.
        if beats(after, before, config.gate_alpha) or compare(after, before).gain <= 0:
            break
    return before, after


def test_evaluation(
    session: Session, starts: Mapping[str, Checkpoint], last: Checkpoint, track: Track, detect: Detect | None = None
) -> tuple[Checkpoint, Scorecard, Scorecard]:
    """Evaluate the starts and the last champion on the test seeds, by which nothing was chosen, and write `summary.json`.

    Args:
        session: of a run whose cycles are finished.
        starts: `base` and, if there were demonstrations, `warm_start`.
        last: the last champion.
        track: for progress bars and notes.
        detect: as of `evaluate`.

    Returns:
        The better start, its scorecard, and that of the last champion.
    """
    run = session.run
    cards = {name: evaluate(session, checkpoint, "test", track, detect=detect) for name, checkpoint in starts.items()}
    after = evaluate(session, last, "test", track, detect=detect)
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
    # Of several environments the summary has an account of each; of one environment `by_env` returns nothing.
    parts = {name: by_env(run.config.envs, card) for name, card in cards.items()}
    if tasks := {title: account({name: part[title] for name, part in parts.items()}, card) for title, card in by_env(run.config.envs, after).items()}:
        summary["tasks"] = tasks
    if run.config.evaluate.variations:
        summary["variations"] = {name: _generalises(session, before, starts, last, name, track) for name in run.config.evaluate.variations}
    # After all evaluations, which count too.
    summary["seconds"] = {"total": round(run.seconds(), 1), **run.seconds_by_stage()}
    write_text(run.folder / "summary.json", json.dumps(summary, indent=2))
    track.publish()
    for name in (*starts, "after"):  # one line each, in columns
        track.note(f"{name.replace('_', ' '):<11}{Rate.read(summary[name])}")
    track.note(f"{'gain':<11}{compare(after, cards[before])} over the {before.replace('_', ' ')}")
    return starts[before], cards[before], after


def _generalises(session: Session, before: str, starts: Mapping[str, Checkpoint], last: Checkpoint, variation: str, track: Track) -> dict[str, Any]:
    """Return the `account` of the better start and the last champion in a variation of the environments (generalisation)."""
    first, after = (evaluate(session, checkpoint, "test", track, variation) for checkpoint in (starts[before], last))
    track.note(f"{variation}: {first.success} -> {after.success}, {compare(after, first)}")
    return account({before: first}, after)


def gate_warm_start(session: Session, base: Checkpoint, warm: Checkpoint, track: Track) -> Checkpoint:
    """Return the first champion: the warm start, if it passes the same gate as every candidate, else the base model.

    The warm start also stays if the base model passes no gate seed: it cannot be worse. The result is written into `start/evaluate.json`.
    """
    run = session.run
    file = run.folder / "start" / "evaluate.json"
    if warm.name == base.name:  # there was no demonstration
        return warm

    def go() -> dict[str, Any]:
        before, after = gate(session, run.cycle(0), base, warm, track)
        alarms = tasks_forgotten([env.title for env in run.config.envs], before, after)
        # Over a base model without any success a weak warm start may win too few seeds for the test, yet it cannot be worse.
        promoted = (beats(after, before, run.config.evaluate.gate_alpha) or not any(before.outcomes.values())) and not alarms
        result = f"warm start: {after.success}, base model: {before.success}, {compare(after, before)}: {'promoted' if promoted else 'rolled back'}"
        track.note("; ".join([result, *alarms]))
        # The gate's figures are of the warm start; those of the base model come besides.
        rates = {"base_rate": before.success.rate} | {f"base_rate/{task}": rate for task, rate in by_task(run.config.envs, before.outcomes).items()}
        return {"figures": {**gate_figures(run, compare(after, before), after, promoted), **rates}, "alarms": alarms}

    promoted = run.keep(file, go)["figures"]["promoted"]
    track.log(run.metrics())
    return warm if promoted else base


def close_cycle(
    session: Session, cycle: Cycle, champion: Checkpoint, result: tuple[Comparison, Scorecard, bool] | None, track: Track, alarms: Sequence[str]
) -> None:
    """Write `evaluate.json`, with the result of the gate, and `cycle.json`, with which the cycle is finished.

    Args:
        session: of the run.
        cycle: the present one.
        champion: after this cycle.
        result: comparison, the candidate's scorecard, and whether it was promoted; None if no candidate was evaluated.
        track: for figures and notes.
        alarms: of the guards.
    """
    run, figures = session.run, {"promoted": False}  # alone where no candidate was evaluated
    if result is not None:
        figures = gate_figures(run, *result)
    run.keep(cycle.folder / "evaluate.json", lambda: {"figures": figures})
    session.record_champion(champion)
    # Last: a run that is killed before goes through this cycle again, and reads what is on disk.
    run.keep(cycle.folder / "cycle.json", lambda: {"figures": {}, "champion": champion.name, **figures, "alarms": alarms})
    track.log(run.metrics())
    for alarm in alarms:
        track.note(f"cycle {cycle.number}: {alarm}")
    if result is not None:
        outcome = "promoted" if result[2] else "rolled back"
        track.note(f"cycle {cycle.number}: candidate {result[1].success}, {result[0]} over the champion: {outcome}")
    run.finished("evaluate")


def gate_figures(run: Run, comparison: Comparison, after: Scorecard, promoted: bool) -> dict[str, Any]:
    """Return the figures of a gate evaluation: success rate, of several environments also of each, and the comparison with the champion."""
    rate = after.success
    figures = {"promoted": promoted, "gate_rate": rate.rate, "gate_low": rate.low, "gate_high": rate.high}
    # The champion after the gate: the candidate, or the former one on the same seeds.
    figures["champion_rate"] = rate.rate if promoted else round(rate.rate - comparison.gain, 9)
    figures |= {f"gate_rate/{task}": rate for task, rate in by_task(run.config.envs, after.outcomes).items()}
    # Keys of the stage files; `agent/run/metrics.py` gives them the names of the metrics.
    return figures | {"gate_gain": comparison.gain, "gate_p_value": comparison.p_value, "won": comparison.won, "lost": comparison.lost}
