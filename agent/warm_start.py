"""The base model, and what imitation of a few episodes makes of it; and what every later stage of training and storing shares with that."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from agent.collect.curriculum import spread
from agent.config.keys import DemonstrateConfig, TuneConfig
from agent.curate.rules import decisions
from agent.demonstrate import datasets
from agent.demonstrate.stage import Spoilt, demonstrate, ponder
from agent.label import countdown
from agent.label.referee import train_referee
from agent.ready import success_was_shown
from agent.records import Episode, Lessons, Player
from agent.rollout.experts import everyone
from agent.rollout.rollout import Job
from agent.run import episodes as dataset
from agent.run.files import load, write
from agent.run.folder import SEEDS, Run
from agent.run.tracking import Track

SHARD = 128  # episodes written at a time; a kill costs at most this many


def base_model(run: Run) -> Player:
    """Return the base model as it is, after its grounding; before anything else is loaded into the model in memory."""
    weights = run.folder / "start" / "base.safetensors"

    return Player(weights, run.keep(weights.with_suffix(".json"), lambda: {"policy": _keep_weights(run.policy, weights)})["policy"])


def first_champion(run: Run) -> Player:
    """Return what a run's first cycle began from: the warm start, or the base model where the gate rolled the warm start back."""
    file = run.folder / "start" / "evaluate.json"
    return base_model(run) if file.exists() and not load(file)["figures"]["promoted"] else run.player(run.folder / "start")


def warm_start(run: Run, track: Track) -> Player:
    """Return the base model after imitation of a few episodes of an expert or of a dataset."""
    folder, config = run.folder / "start", run.config.demonstrate
    kinds = spread(config.episodes, [env.weight for env in run.config.envs])
    base = SEEDS["demonstrations"] + 100_000 * run.config.seed
    jobs = [Job(base + i, 0, (run.config.seed, 0, i), kind) for i, kind in enumerate(kinds)]
    left_out: list[str] = []

    def show() -> dict[str, Any]:
        with track.bar("demonstrate", len(jobs)) as step:
            kept, codec, space = [episode.seed for episode in run.episodes(folder)], run.policy.codec, run.workers.first.actions
            begun = 1 + max((i for i, job in enumerate(jobs) if job.seed in kept), default=-1)  # those before it are kept, or were spoilt
            spoilt = Spoilt(len(jobs), run.config.collect.max_fault_share, 0 if config.dataset else begun - len(kept))
            if config.dataset:
                made = itertools.islice(datasets.stored(run.config, space, codec, left_out.append), len(kept), None)
            else:
                # Where the critic labels alone a take goes on after its success, which shows the critic more of how that looks.
                made = demonstrate(run.rehearsal, codec, jobs[begun:], config.noise, everyone(run.config.envs, config.expert), spoilt)
            store(run, folder, ponder(run.policy, made) if codec.thought_length else made, lambda episode: step(1))
        shown = run.episodes(folder)
        for why, count in Counter(left_out).items():
            track.note(f"{count} of {len(shown) + len(left_out)} episodes of {config.dataset} {why}: left out")
        if spoilt.count:
            first = f"; the first: {spoilt.first}" if spoilt.first else ""
            track.note(f"{spoilt.count} of {len(jobs)} demonstrations were spoilt and are left out{first}")
        figures = {"episodes": len(shown), "success": float(np.mean([e.success for e in shown])) if shown else 0.0}
        figures |= {"left_out": spoilt.count} if spoilt.count else {}
        return {"figures": figures | (datasets.figures(shown, len(left_out), space) if config.dataset else {})}

    run.keep(folder / "demonstrate.json", show)
    track.log(run.metrics())
    success_was_shown(run)
    if run.config.label.judge == "referee":
        run.keep(folder / "referee.json", lambda: _raise_referee(run, track))

    def imitate() -> dict[str, Any]:
        from agent.learning.trainer import tune

        shown, told = [episode for episode in run.episodes(folder) if episode.success], []
        if run.config.curate.credit == "steps":
            rng, label = np.random.default_rng([run.config.seed, 0, 1]), run.config.label
            told = countdown.lessons(shown, label.countdown, countdown.pace(shown), label.lessons, rng)
        lessons = Lessons(tuple(d for episode in shown for d in decisions(episode)), answers=tuple(told))
        return train(run, None, folder, lambda policy, watch: tune(
            policy, lessons, recipe(config), seed=(run.config.seed, 0), steps=config.steps if lessons else 0,
            checkpoint=folder / "checkpoint.pt", watch=watch,
        ), track, "warm start")  # fmt: skip

    made = run.keep(folder / "tune.json", imitate)
    track.log(run.metrics())
    return Player(folder / "policy.safetensors", made["policy"])


def _raise_referee(run: Run, track: Track) -> dict[str, Any]:
    """Write the referee's weights; the model then holds those of the base model again."""
    policy, base, shown = run.policy, run.policy.weights(), run.episodes(run.folder / "start")
    with track.bar("referee") as step:
        figures = train_referee(policy, shown, run.config.label, (run.config.seed, 0, 2), lambda done, steps, now: step(1, total=steps))
    name = _keep_weights(policy, run.folder / "start" / "referee.safetensors")
    policy.load(base)
    return {"figures": figures, "policy": name}


def referee(run: Run) -> Player:
    """Return a run's referee."""
    folder = run.folder / "start"
    return Player(folder / "referee.safetensors", load(folder / "referee.json").get("policy", ""))  # runs of old did not record it


def recipe(config: DemonstrateConfig) -> TuneConfig:
    """Return how demonstrations are imitated; where the model also learns to count down from them, that weighs as much."""
    return TuneConfig(policy_gradient=0, preference=0, imitation=1, critic=1, batch=config.batch, lr=config.lr)


def store(run: Run, folder: Path, episodes: Any, watch: Any) -> None:
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
    run.still_there()
    rates = {
        each.config.title: each.rate / (each.config.action_repeat * run.config.policy.chunk) for each in run.workers.firsts
    }  # decisions a second
    dataset.append(folder / "episodes", shard, fps=next(iter(rates.values())), rates=rates, cameras=run.config.envs[0].frame_names)


def train(run: Run, champion: Player | None, folder: Path, teach: Any, track: Track, title: str) -> dict[str, Any]:
    """Train from the champion (None: from the base model), save the weights, and return the stage file's content."""
    policy = run.play(champion) if champion else run.policy
    run.dirty()
    with track.bar(title) as step:
        rows = teach(policy, lambda done, steps, figures: step(1, total=steps, note=f"loss {figures['loss']:.3f}"))
    name = _keep_weights(policy, folder / "policy.safetensors")
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    kept = [{"step": i, **{key: round(value, 6) for key, value in row.items()}} for i, row in enumerate(rows)]
    mean = {key: float(np.mean([row[key] for row in rows if key in row])) for key in dict.fromkeys(key for row in rows for key in row)}
    return {"figures": {**mean, "steps": len(rows)}, "rows": kept, "policy": name}


def _keep_weights(policy: Any, file: Path) -> str:
    """Write the trained tensors, whole or not at all; return the name of what lies there now, and is in memory."""
    write(file, policy.save)
    policy.load(file)
    return policy.name
