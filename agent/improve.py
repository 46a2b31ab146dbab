"""The heart: one function, one loop. Below it, each stage is bound to its place in the run's folder."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent import dataset, demonstrations, film
from agent.bearings import bearings
from agent.collect import Job, collect, demonstrate, ponder
from agent.config import TuneConfig
from agent.curate import curate, decisions
from agent.evaluate import Comparison, beats, compare, score
from agent.expert import resolve
from agent.label import label
from agent.records import Episode, Label, Lessons, Scorecard
from agent.run import SEEDS, Cycle, Run, load, write_text
from agent.track import Track

SHARD = 128  # episodes written at a time; a kill costs at most this many


@dataclass(frozen=True)
class Player:
    """A policy on disk."""

    weights: Path
    name: str


def improve(run: Run, track: Track) -> None:
    """Practise, judge, learn, and keep the better of two policies; once per cycle.

    Stopping at any point is safe: what a stage has finished is on disk, and is read instead of made again.
    """
    if changed := run.recognise():
        track.note(changed)
    first = champion = warm_start(run, track)
    champion = latest(run, champion)
    for cycle in run.cycles():
        practise(run, champion, cycle, track)
        episodes, labels = judge(run, champion, cycle, track)
        lessons = study(run, episodes, labels, cycle, track)
        if not lessons:
            track.note(f"cycle {cycle.number}: nothing to learn from, all takes of each seed ended alike")
            settle(run, cycle, champion, None, track)
            continue
        challenger = learn(run, champion, lessons, cycle, track)
        before, after = exam(run, champion, "gate", track), exam(run, challenger, "gate", track)
        verdict = compare(after, before)
        promoted = beats(after, before, run.config.evaluate.alpha)
        settle(run, cycle, challenger if promoted else champion, (verdict, after, promoted), track)
        champion = challenger if promoted else champion
    conclude(run, first, champion, track)


def warm_start(run: Run, track: Track) -> Player:
    """Return the first champion: the base model, after imitation of a few takes of an expert or of a dataset."""
    bearings(run, track)
    folder, config = run.folder / "start", run.config.demonstrate
    jobs = [Job(SEEDS["demonstrations"] + 100_000 * run.config.seed + i, 0, (run.config.seed, 0, i)) for i in range(config.episodes)]
    left_out: list[str] = []

    def show() -> dict[str, Any]:
        with track.bar("demonstrate", len(jobs)) as step:
            done, codec, space = dataset.count(folder / "episodes"), run.policy.codec, run.workers.first.actions
            if config.dataset:
                made = itertools.islice(demonstrations.stored(run.config, space, codec, left_out.append), done, None)
            else:
                made = demonstrate(run.workers, codec, jobs[done:], config.noise, resolve(config.expert, run.config.env))
            _store(run, folder, ponder(run.policy, made) if run.config.policy.thought else made, lambda episode: step(1))
        shown = run.episodes(folder)
        for why, count in Counter(left_out).items():
            track.note(f"{count} of {len(shown) + len(left_out)} episodes of {config.dataset} {why}: left out")
        figures = {"episodes": len(shown), "success": float(np.mean([e.success for e in shown])) if shown else 0.0}
        return {"figures": figures | (demonstrations.figures(shown, len(left_out), space) if config.dataset else {})}

    run.keep(folder / "demonstrate.json", show)
    track.log(run.metrics())

    def imitate() -> dict[str, Any]:
        from agent.tune import tune

        lessons = Lessons(tuple(d for episode in run.episodes(folder) if episode.success for d in decisions(episode)))
        recipe = TuneConfig(policy_gradient=0, preference=0, imitation=1, batch=config.batch, lr=config.lr)
        return _train(run, None, folder, lambda policy, watch: tune(
            policy, lessons, recipe, seed=(run.config.seed, 0), steps=config.steps if lessons else 0, checkpoint=folder / "checkpoint.pt", watch=watch
        ), track, "warm start")  # fmt: skip

    made = run.keep(folder / "tune.json", imitate)
    track.log(run.metrics())
    return Player(folder / "policy.safetensors", made["policy"])


def latest(run: Run, champion: Player) -> Player:
    """Return the champion after the finished cycles."""
    for number, result in enumerate(run.results(), 1):
        if result["promoted"]:
            champion = Player(run.cycle(number).folder / "policy.safetensors", result["champion"])
    return champion


def practise(run: Run, champion: Player, cycle: Cycle, track: Track) -> None:
    """Stage `collect`: K hot takes on each of the cycle's new seeds."""
    config = run.config.collect
    base = SEEDS["practice"] + 100_000 * run.config.seed + config.seeds * (cycle.number - 1)
    jobs = [Job(base + i, take, (run.config.seed, cycle.number, base + i, take)) for i in range(config.seeds) for take in range(config.takes)]

    def go() -> dict[str, Any]:
        done = dataset.count(cycle.folder / "episodes")
        with track.bar(f"cycle {cycle.number}: collect", len(jobs), done) as step:
            takes = collect(run.play(champion.weights), run.workers, jobs[done:], max_fault_share=config.max_fault_share)
            _store(run, cycle.folder, takes, lambda episode: step(1))
        episodes = run.episodes(cycle.folder)
        faults = [f"seed {episode.seed}: {episode.faults[0]}" for episode in episodes if episode.faults]
        figures = {
            "success": float(np.mean([episode.success for episode in episodes])),
            "decisions": int(sum(map(len, episodes))),
            "faults": len(faults),
        }
        return {"figures": figures, "policy": champion.name, "faults": faults[:20]}

    run.keep(cycle.folder / "collect.json", go)
    track.log(run.metrics())
    run.finished("collect")


def judge(run: Run, champion: Player, cycle: Cycle, track: Track) -> tuple[list[Episode], list[Label]]:
    """Stage `label`; takes of earlier, rolled-back cycles by the same champion count too, so their work is not lost."""
    folders = [run.cycle(number).folder for number in range(1, cycle.number + 1)]
    mine = [folder for folder in folders if load(folder / "collect.json")["policy"] == champion.name]
    episodes = [episode for folder in mine[-run.config.curate.pool :] for episode in run.episodes(folder)]
    labels = label(episodes)
    successes = [each.success for each in labels]

    def go() -> dict[str, Any]:
        return {"figures": {"episodes": len(labels), "success": float(np.mean(successes))}, "success": successes}

    run.keep(cycle.folder / "label.json", go)
    track.log(run.metrics())
    run.finished("label")
    return episodes, labels


def study(run: Run, episodes: Sequence[Episode], labels: Sequence[Label], cycle: Cycle, track: Track) -> Lessons:
    """Stage `curate`. The library is the oracle's demonstrations and every success of every cycle before this champion's takes."""
    mine = {episode.policy for episode in episodes}
    library = [episode for episode in run.episodes(run.folder / "start") if episode.success]
    for number in range(1, cycle.number):
        library += [episode for episode in run.episodes(run.cycle(number).folder) if episode.success and episode.policy not in mine]
    lessons = curate(episodes, labels, library, run.config.curate, np.random.default_rng([run.config.seed, cycle.number, 1]))
    counts = {"demonstrations": len(lessons.demonstrations), "pairs": len(lessons.pairs), "trials": len(lessons.trials)}
    if run.config.track.films and not (run.folder / "films" / f"cycle-{cycle.number:03d}-worst.mp4").exists():
        track.films(film.extremes(run.workers.first, [e for e in episodes if not e.faults], run.folder / "films", f"cycle-{cycle.number:03d}"))
        if cycle.number == 1:
            track.picture(film.batch(lessons, run.folder / "films" / "first-batch.png"))
    run.keep(cycle.folder / "curate.json", lambda: {"figures": {**counts, **lessons.notes}})
    track.log(run.metrics())
    run.finished("curate")
    return lessons


def learn(run: Run, champion: Player, lessons: Lessons, cycle: Cycle, track: Track) -> Player:
    """Stage `tune`: from the champion to a challenger."""

    def go() -> dict[str, Any]:
        from agent.tune import tune

        return _train(run, champion, cycle.folder, lambda policy, watch: tune(
            policy, lessons, run.config.tune, seed=(run.config.seed, cycle.number), checkpoint=cycle.folder / "checkpoint.pt", watch=watch
        ), track, f"cycle {cycle.number}: tune")  # fmt: skip

    made = run.keep(cycle.folder / "tune.json", go)
    track.log(run.metrics())
    run.finished("tune")
    return Player(cycle.folder / "policy.safetensors", made["policy"])


def exam(run: Run, player: Player, kind: str, track: Track) -> Scorecard:
    """Return the player's scorecard on the `gate` or `final` seeds, greedy; sat once, then read."""
    count = run.config.evaluate.episodes if kind == "gate" else run.config.evaluate.final_episodes
    jobs = [Job(SEEDS[kind] + i) for i in range(count)]

    def sit() -> dict[str, Any]:
        with track.bar(f"{kind} exam", count) as step:
            episodes = []
            for episode in collect(run.play(player.weights), run.workers, jobs):
                episodes.append(episode)
                step(1)
        return asdict(score(player.name, episodes))

    content = run.keep(run.folder / "exams" / f"{kind}-{player.name}.json", sit)
    return Scorecard(content["policy"], content["outcomes"])


def settle(run: Run, cycle: Cycle, champion: Player, result: tuple[Comparison, Scorecard, bool] | None, track: Track) -> None:
    """Write down whether the challenger was promoted; with this file the cycle is finished."""
    figures: dict[str, Any] = {"promoted": False}
    if result is not None:
        comparison, after, promoted = result
        figures = {"promoted": promoted, "gate_rate": after.success.rate, "gate_low": after.success.low, "gate_high": after.success.high}
        figures |= {"gate_gain": comparison.gain, "gate_p_value": comparison.p_value, "won": comparison.won, "lost": comparison.lost}
    run.keep(cycle.folder / "evaluate.json", lambda: {"figures": figures})
    run.keep(cycle.folder / "cycle.json", lambda: {"figures": {}, "champion": champion.name, **figures})
    track.log(run.metrics())
    if result is not None:
        track.note(f"cycle {cycle.number}: {result[1].success}, {result[0]}: {'promoted' if result[2] else 'rolled back'}")
    run.finished("evaluate")


def conclude(run: Run, first: Player, last: Player, track: Track) -> None:
    """Sit the final exam, whose seeds nothing was chosen by, with the first and the last champion; write `summary.json`."""
    before, after = exam(run, first, "final", track), exam(run, last, "final", track)
    comparison, results = compare(after, before), run.results()
    summary = {
        "task": run.config.env.id,
        "environment": json.loads((run.folder / "environment.json").read_text()),
        "seed": run.config.seed,
        "cycles": len(results),
        "promoted": sum(result["promoted"] for result in results),
        "before": asdict(before.success),
        "after": asdict(after.success),
        "gain": comparison.gain,
        "gain_low": comparison.low,
        "gain_high": comparison.high,
        "p_value": comparison.p_value,
        "policy": last.name,
        "seconds": {"total": round(run.seconds(), 1), **run.seconds_by_stage()},
    }
    write_text(run.folder / "summary.json", _dump(summary))
    track.note(f"before  {before.success}\nafter   {after.success}\ngain    {comparison}")
    if run.config.track.films:
        track.films(film.contrast(run.workers.first, run, first, last, before, after))


def _store(run: Run, folder: Path, episodes: Any, watch: Any) -> None:
    """Write episodes as they come, a shard at a time."""
    shard: list[Episode] = []
    for episode in episodes:
        shard.append(episode)
        watch(episode)
        if len(shard) == SHARD:
            _append(run, folder, shard)
            shard = []
    if shard:
        _append(run, folder, shard)


def _append(run: Run, folder: Path, shard: list[Episode]) -> None:
    rate = max(round(20 / run.config.policy.chunk), 1)  # decisions a second of simulated time
    dataset.append(folder / "episodes", shard, fps=rate, cameras=run.config.env.frame_names)


def _train(run: Run, champion: Player | None, folder: Path, train: Any, track: Track, title: str) -> dict[str, Any]:
    """Train from the champion (None: from the base model), save the weights, and return the stage file's content."""
    policy = run.play(champion.weights) if champion else run.policy
    run.dirty()
    with track.bar(title) as step:
        rows = train(policy, lambda done, steps, figures: step(1, total=steps, note=f"loss {figures['loss']:.3f}"))
    partial, weights = folder / "policy.partial", folder / "policy.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    policy.save(partial)
    partial.replace(weights)
    policy.load(weights)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    kept = [{"step": i, **{key: round(value, 6) for key, value in row.items()}} for i, row in enumerate(rows)]
    mean = {key: float(np.mean([row[key] for row in rows if key in row])) for key in (rows[-1] if rows else {})}
    return {"figures": {**mean, "steps": len(rows)}, "rows": kept, "policy": policy.name}


def _dump(content: Any) -> str:
    return json.dumps(content, indent=2)
