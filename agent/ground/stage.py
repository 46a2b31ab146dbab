"""Before the first cycle: the base model learns to see a new environment, from its simulator (stage `ground` of a run)."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from agent.ground import questions as ground
from agent.ground.scenes import Scene
from agent.records import SEEDS
from agent.rollout.experts import everyone
from agent.rollout.session import Session
from agent.run.base import settle
from agent.run.folder import Run
from agent.run.tracking import Track
from envs import PRETRAINED
from envs.adapt import Adapter
from envs.host import Remote

HELD_OUT = 200  # scenes that only the accuracy is measured on


def bearings(session: Session, track: Track) -> None:
    """Stage `ground`: the base model learns to see a new environment, from its simulator, before it imitates."""
    run = session.run
    config, folder = run.config.ground, run.folder / "ground"
    seeing, steps = to_ground(session)
    if not steps:
        return

    def learn_to_see() -> dict[str, Any]:
        from agent.ground import train as teach

        policy = session.student(config.train)
        drawn = itertools.chain.from_iterable(zip(*(_scenes(run, each) for each in seeing), strict=True))  # endless, in turn
        with track.bar("ground: scenes", config.scenes + HELD_OUT) as step:
            scenes = [scene for scene in itertools.islice(drawn, config.scenes + HELD_OUT) if step(1) is None]
        if config.kinds:
            scenes = [replace(scene, questions=tuple(q for q in scene.questions if q.kind in config.kinds)) for scene in scenes]
        scenes = [scene for scene in scenes if scene.questions and scene.places]
        if len(scenes) < HELD_OUT + config.batch:
            few = f"{len(scenes)} of {config.scenes + HELD_OUT} scenes show anything to ask about"
            if config.steps is None and not config.kinds:
                track.note(f"ground: {few}, so the base model is left as it is")
                return {"figures": {"scenes": len(scenes), "steps": 0}}
            kinds = f" in the kinds {', '.join(config.kinds)}" if config.kinds else ""
            raise ValueError(f"Only {few}{kinds}; name other ground.kinds or env.cameras, or set ground.steps to 0.")
        teaching = teach.see if config.train == "all" else teach.read
        with track.bar("ground: see", steps) as step:
            teaching(
                policy, scenes[:-HELD_OUT], steps=steps, batch=config.batch, questions=config.questions, lr=config.lr, seed=run.config.seed,
                checkpoint=folder / "checkpoint.pt", watch=lambda done, figures: step(1, total=steps, note=f"loss {figures['loss']:.2f}"),
            )  # fmt: skip
        files = settle(run.folder, policy)
        right = {f"{kind}_right": share for kind, (share, _) in teach.quiz(policy, scenes[-HELD_OUT:]).items()}
        return {"figures": {"scenes": len(scenes) - HELD_OUT, "steps": steps, **right}, "model": files}

    run.keep(folder / "ground.json", learn_to_see)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    track.log(run.metrics())


def to_ground(session: Session) -> tuple[list[Adapter | Remote], int]:
    """Return the environments whose frames the base model can learn to see, and the steps that it does so: 0, where it does not.

    Raises:
        ValueError: the config asks for steps, and there is no such environment.
    """
    run = session.run
    config, folder = run.config.ground, run.folder
    # With a history the frames of moments before come first, and questions speak of the present ones.
    seeing = [each for each in session.workers.firsts if each.drawn and each.config.history == 1]
    new = run.config.policy.model == "nano" and any(each.config.id not in PRETRAINED for each in seeing)
    steps = config.steps if config.steps is not None else 600 if new else 0
    if (folder / "start" / "demonstrate.json").exists() and not (folder / "ground" / "ground.json").exists():
        return seeing, 0  # a run that began without goes on without
    if steps and not seeing:
        raise ValueError(
            "ground.steps needs a MuJoCo environment, frames that etude draws (of its cameras, or render) and env.history 1; set it to 0 here."
        )
    return seeing, steps


def _scenes(run: Run, adapter: Adapter | Remote) -> Iterator[Scene]:
    """Yield scenes of one of the run's environments without end."""
    config = run.config.demonstrate
    expert = adapter.config.expert or config.expert
    show = everyone([adapter.config], config.expert) if config.episodes and (expert or not config.dataset) else None
    seeds = itertools.count(SEEDS["ground"] + 100_000 * run.config.seed)
    return ground.scenes(adapter, seeds, np.random.default_rng([run.config.seed, 7]), show, run.config.ground.tool)
