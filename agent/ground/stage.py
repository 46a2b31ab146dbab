"""Stage `ground` of a run, before the warm start: the base model is trained on questions about frames of the run's environments."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from agent.ground import questions
from agent.ground.scenes import Scene
from agent.ground.wording import Wording, wording_of
from agent.records import SEEDS
from agent.rollout.experts import everyone
from agent.rollout.session import Session
from agent.run.base import write_base_model
from agent.run.folder import Run
from agent.run.tracking import Track
from envs import PRETRAINED
from envs.adapt import Adapter
from envs.host import Proxy

SCENES = 3000  # largest number of training scenes
HELD_OUT = 200  # further scenes, for accuracy alone
BATCH, QUESTIONS = 24, 6  # scenes a gradient step, and questions about each of them


def ground(session: Session, track: Track) -> None:
    """Stage `ground`: train the base model on questions about frames, and write it to `ground/model`, with figures in `ground.json`.

    The run then begins from that model. Without steps (`to_ground`) there is no such stage.

    Args:
        session: of the run.
        track: for progress bars, notes and figures.

    Raises:
        ValueError: `ground.steps` does not suit the environments, too many seeds are faulty, or too few scenes have questions.
    """
    run = session.run
    config, folder = run.config.ground, run.folder / "ground"
    seeing, steps = to_ground(session)
    if not steps:
        return

    def learn_to_see() -> dict[str, Any]:
        from agent.ground import train as teach  # here, since it imports torch

        policy, count = session.trainable_base(), min(SCENES, HELD_OUT + BATCH * steps)  # the batches hold no more scenes in all
        wording = wording_of(policy)
        # Endless, one of each environment in turn.
        drawn = itertools.chain.from_iterable(zip(*(_scenes(run, each, wording) for each in seeing), strict=True))
        with track.bar("ground: scenes", count + HELD_OUT) as step:
            scenes = [scene for scene in itertools.islice(drawn, count + HELD_OUT) if step(1) is None]  # `step` counts, and returns None
        if config.kinds:
            scenes = [replace(scene, questions=tuple(q for q in scene.questions if q.kind in config.kinds)) for scene in scenes]
        scenes = [scene for scene in scenes if scene.questions and scene.places]
        if len(scenes) < HELD_OUT + BATCH:
            few = f"{len(scenes)} of {count + HELD_OUT} scenes have a visible object and a question"
            if config.steps is None and not config.kinds:  # the config does not ask for grounding, so the run goes on without it
                track.note(f"ground: {few}, so the base model stays as it is")
                return {"figures": {"scenes": len(scenes), "steps": 0}}
            kinds = f" of the kinds {', '.join(config.kinds)}" if config.kinds else ""
            raise ValueError(f"Only {few}{kinds}; name other ground.kinds or env.cameras, or set ground.steps to 0.")
        with track.bar("ground: see", steps) as step:
            teach.see(
                policy,
                scenes[:-HELD_OUT],
                steps=steps,
                batch=BATCH,
                questions=QUESTIONS,
                learning_rate=config.learning_rate,
                seed=run.config.seed,
                checkpoint=folder / "checkpoint.pt",
                watch=lambda done, figures: step(1, total=steps, note=f"loss {figures['loss']:.2f}"),
            )
        digests = write_base_model(run.folder, policy)  # after a kill from here on, the last steps are trained again from the checkpoint
        right = teach.quiz(policy, scenes[-HELD_OUT:], batch=min(60, policy.config.batch_size))
        accuracy = {f"{kind}_right": share for kind, (share, _) in right.items()}
        return {"figures": {"scenes": len(scenes) - HELD_OUT, "steps": steps, **accuracy}, "model": digests}

    run.keep(folder / "ground.json", learn_to_see)
    (folder / "checkpoint.pt").unlink(missing_ok=True)  # not within `learn_to_see`: it has to outlast a kill before `ground.json` is written
    track.log(run.metrics())


def to_ground(session: Session) -> tuple[list[Adapter | Proxy], int]:
    """Return the environments on whose frames the base model can be trained, and the number of gradient steps; 0: no grounding.

    Raises:
        ValueError: `ground.steps` is more than 0, and there is no such environment.
    """
    run = session.run
    config, folder = run.config.ground, run.folder
    # With a history the frames of earlier observations come first, and the questions' "view 1" would mean one of them.
    seeing = [each for each in session.environments.firsts if each.drawn_by_mujoco and each.config.history == 1]
    new = run.config.policy.model == "nano" and any(each.config.id not in PRETRAINED for each in seeing)
    steps = config.steps if config.steps is not None else 600 if new else 0
    # A run that began without grounding goes on without it, or its warm start would not belong to its base model.
    if (folder / "start" / "demonstrate.json").exists() and not (folder / "ground" / "ground.json").exists():
        return seeing, 0
    if steps and not seeing:
        raise ValueError(
            "ground.steps needs a MuJoCo environment, frames that etude draws (of its cameras, or render) and env.history 1; set it to 0 here."
        )
    return seeing, steps


def _scenes(run: Run, adapter: Adapter | Proxy, wording: Wording) -> Iterator[Scene]:
    """Yield an endless stream of scenes of one of the run's environments."""
    config = run.config.demonstrate
    expert = adapter.config.expert or config.expert
    # An expert moves the robot only where the run has one: neither without demonstrations, nor where a dataset replaces the expert.
    experts = everyone([adapter.config], config.expert) if config.episodes and (expert or not config.dataset) else None
    seeds = itertools.count(SEEDS["ground"] + 100_000 * run.config.seed)
    return questions.scenes(adapter, seeds, np.random.default_rng([run.config.seed, 7]), experts, run.config.ground.tool, wording)
