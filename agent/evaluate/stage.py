"""Evaluations of a run: greedy episodes on held-out seeds, made once and then read; the gate; and what the run came to in the end."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from agent.collect.curriculum import by_env, exam_jobs
from agent.evaluate.statistics import account, beats, compare, exam_name, score
from agent.records import Player, Rate, Scorecard
from agent.report import videos
from agent.rollout.pool import perform
from agent.run.base import began_from
from agent.run.files import write_text
from agent.run.folder import SEEDS, Cycle, Run
from agent.run.recognise import recorded
from agent.run.tracking import Track

START = 9_000_000  # where the warm start's gate seeds begin within their range, beyond those of all cycles


def exam(run: Run, player: Player, kind: str, track: Track, variation: str = "", cycle: int = 1, part: int = 0) -> Scorecard:
    """Return the player's scorecard on the `gate` or `final` seeds, greedy, as they are or in a variation; made once, then read.

    Each cycle has seeds of its own, the warm start (cycle 0) too, and parts after the first are as many further ones each.
    """
    count = run.config.evaluate.episodes if kind == "gate" else run.config.evaluate.final_episodes
    place = ((cycle - 1) * (1 + run.config.evaluate.prolong) + part) * count if cycle else START + part * count
    jobs = exam_jobs(run.config.envs, count, SEEDS[kind] + place)

    def sit() -> dict[str, Any]:
        with track.bar(f"{kind} exam{f', {variation}' if variation else ''}", count) as step:
            episodes = []
            for episode in perform(run, player, jobs, variation):
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


def gate(run: Run, cycle: Cycle, champion: Player, challenger: Player, track: Track) -> tuple[Scorecard, Scorecard]:
    """Return what both pass of the same gate seeds: more of them while the challenger is ahead, but by no more than chance explains.

    Each cycle has seeds of its own: on those that a champion was chosen by it looks better than it is, and nobody would beat it there.
    """
    before, after = Scorecard(champion.name, {}), Scorecard(challenger.name, {})
    for part in range(1 + run.config.evaluate.prolong):
        before, after = (
            before.and_also(exam(run, champion, "gate", track, cycle=cycle.number, part=part)),
            after.and_also(exam(run, challenger, "gate", track, cycle=cycle.number, part=part)),
        )
        if beats(after, before, run.config.evaluate.alpha) or compare(after, before).gain <= 0:
            break
    return before, after


def conclude(run: Run, starts: Mapping[str, Player], last: Player, track: Track) -> None:
    """Evaluate the starts and the last champion on the test seeds, by which nothing was chosen; write `summary.json`.

    Args:
        run: that has come to its end.
        starts: `base`, and `warm_start` where something was imitated.
        last: the last champion.
        track: where it is said.
    """
    cards, after = {name: exam(run, player, "final", track) for name, player in starts.items()}, exam(run, last, "final", track)
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
        summary["variations"] = {name: _generalises(run, before, starts, last, name, track) for name in run.config.evaluate.variations}
    summary["seconds"] = {"total": round(run.seconds(), 1), **run.seconds_by_stage()}
    write_text(run.folder / "summary.json", json.dumps(summary, indent=2))
    track.summarise(summary)
    for name in (*starts, "after"):
        track.note(f"{name.replace('_', ' '):<11}{Rate.read(summary[name])}")
    track.note(f"{'gain':<11}{compare(after, cards[before])} over the {before.replace('_', ' ')}")
    if run.config.track.films:
        videos.show(track, lambda: videos.contrast(run, starts[before], last, cards[before], after))


def _generalises(run: Run, before: str, starts: Mapping[str, Player], last: Player, variation: str, track: Track) -> dict[str, Any]:
    """Return how the last champion does against the better start in a variation of the environment."""
    first, after = (exam(run, player, "final", track, variation) for player in (starts[before], last))
    track.note(f"{variation}: {first.success} -> {after.success}, {compare(after, first)}")
    return account({before: first}, after)
