"""Stage `ground` of a run, before the warm start: the base model is trained on questions about frames of the run's environments."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agent.config.keys import GroundConfig
from agent.ground import kept, questions, unaided
from agent.ground.chance import constant_answers, no_better
from agent.ground.clips import read
from agent.ground.known import Place, answered_by_simulator
from agent.ground.scenes import Scene
from agent.ground.wording import wording_of
from agent.records import SEEDS
from agent.rollout.copies import Copies, Play
from agent.rollout.experts import everyone, is_planner
from agent.rollout.session import Session
from agent.run.base import write_base_model
from agent.run.code import digest_of
from agent.run.folder import Run
from agent.run.tracking import Track
from envs import pretrained
from envs.adapt import Adapter
from envs.simulate.objects import has_tool

SCENES = 3000  # largest number of training scenes of an environment
HELD_OUT = 200  # further scenes, for accuracy alone
QUESTIONS = 6  # a gradient step asks so many about each of its scenes


def ground(session: Session, track: Track) -> None:
    """Stage `ground`: train the base model on questions about frames, and write it to `ground/model`, with figures in `ground.json`.

    The run then begins from that model. Without steps (`to_ground`) there is no such stage.

    Args:
        session: of the run.
        track: for progress bars, notes and figures.

    Raises:
        ValueError: too many seeds are faulty, or too few scenes have questions.
    """
    run = session.run
    config, folder = run.config.ground, run.folder / "ground"
    places, steps = to_ground(session)
    if not steps:
        return

    def learn_to_see() -> dict[str, Any]:
        from agent.ground import train as teach  # here, since it imports torch

        policy = session.trainable_base()
        most = HELD_OUT + config.batch_size * steps  # the batches hold no more scenes in all
        scenes = _draw(session, places, policy, min(SCENES * len(places), most), track)
        if not scenes:
            return {"figures": {"scenes": 0, "steps": 0}}
        with track.bar("ground: see", steps) as step:
            teach.see(
                policy,
                scenes[:-HELD_OUT],
                steps=steps,
                batch=config.batch_size,
                questions=QUESTIONS,
                learning_rate=config.learning_rate,
                seed=run.config.seed,
                checkpoint=folder / "checkpoint.pt",
                watch=lambda done, figures: step(upto=done, total=steps, note=f"loss {figures['loss']:.2f}"),
            )
        digests = write_base_model(run.folder, policy)  # after a kill from here on, the last steps are trained again from the checkpoint
        right = teach.quiz(policy, scenes[-HELD_OUT:], batch=min(60, policy.config.batch_size))
        accuracy = {f"{kind}_right": share for kind, (share, _) in right.items()}
        if not all(map(answered_by_simulator, places)):
            constant = constant_answers(policy, scenes[-HELD_OUT:])
            accuracy |= {f"{kind}_constant": share for kind, share in constant.items()}
            for kind in no_better(right, constant):
                track.note(
                    f"ground: {kind} questions are answered no better than by one answer to all of them "
                    f"({100 * right[kind][0]:.0f} and {100 * constant[kind]:.0f} % right, {right[kind][1]} held-out questions)"
                )
        return {"figures": {"scenes": len(scenes) - HELD_OUT, "steps": steps, **accuracy}, "model": digests}

    run.keep(folder / "ground.json", learn_to_see)
    (folder / "checkpoint.pt").unlink(missing_ok=True)  # not within `learn_to_see`: it has to outlast a kill before `ground.json` is written
    kept.forget(folder)
    track.log(run.metrics())


def _draw(session: Session, places: Sequence[Place], policy: Any, count: int, track: Track) -> list[Scene]:
    """Return `count` scenes with questions, and `HELD_OUT` more; none where too few have any and the config does not ask for grounding.

    Raises:
        ValueError: too few scenes have questions, and the config asks for grounding.
    """
    run, config = session.run, session.config.ground
    with Copies(session.environments, session.config.processes) as copies, track.bar("ground: scenes", count + HELD_OUT) as step:
        # Endless, one of each environment in turn.
        code = digest_of(run.config)
        plays = [kept.Kept(run.folder / "ground", kind, code).around(copies.of(kind)) for kind in range(len(places))]
        streams = [_scenes(run, each, policy, play) for each, play in zip(places, plays, strict=True)]
        drawn = itertools.chain.from_iterable(zip(*streams, strict=True))
        scenes = [scene for scene in itertools.islice(drawn, count + HELD_OUT) if step(1) is None]  # `step` counts, and returns None
    if config.kinds:
        scenes = [replace(scene, questions=tuple(q for q in scene.questions if q.kind in config.kinds)) for scene in scenes]
    simulated = all(map(answered_by_simulator, places))
    scenes = [scene for scene in scenes if scene.questions and (scene.places or not simulated)]
    if len(scenes) >= HELD_OUT + config.batch_size:
        return scenes
    few = f"{len(scenes)} of {count + HELD_OUT} scenes have {'a visible object and ' if simulated else ''}a question"
    if config.steps is None and not config.kinds:  # the config does not ask for grounding, so the run goes on without it
        track.note(f"ground: {few}, so the base model stays as it is")
        return []
    kinds = f" of the kinds {', '.join(config.kinds)}" if config.kinds else ""
    raise ValueError(f"Only {few}{kinds}; name other ground.kinds or env.cameras, or set ground.steps to 0.")


def to_ground(session: Session) -> tuple[list[Place], int]:
    """Return the environments on whose frames the base model is trained, and the number of gradient steps; 0: no grounding.

    Raises:
        ValueError: `ground.from` names what an environment does not have, or nothing uses it.
    """
    run, places = session.run, session.environments.firsts
    config, folder = run.config.ground, run.folder
    new = run.config.policy.model == "nano" and not all(pretrained(each.config) for each in places)
    steps = config.steps if config.steps is not None else 600 if new else 0
    # A run that began without grounding goes on without it, or its warm start would not belong to its base model.
    if (folder / "start" / "demonstrate.json").exists() and not (folder / "ground" / "ground.json").exists():
        return places, 0
    if config.sources and config.steps is None and not steps:
        raise ValueError("ground.from is for stage ground, which this run does not have by itself; set ground.steps too, or remove it.")
    if steps and not (folder / "ground" / "ground.json").exists():
        _can_be_asked(places, config)
        for kind, each in enumerate(places) if config.sources else ():
            if answered_by_simulator(each):
                raise ValueError(f"ground.from is for scenes without MuJoCo, whose state answers questions about {each.config.title}; remove it.")
            try:
                broke = each.apply(_broke, config.sources)
            except (TimeoutError, ChildProcessError):  # in a process of its own: such seeds are counted while scenes are drawn
                broke = True
            if broke:
                session.environments.renew(kind)
    return places, steps


def _can_be_asked(places: Sequence[Place], config: GroundConfig) -> None:
    """Check that some of `ground.kinds` can be asked, and that each simulated environment has `ground.tool`, before thousands of scenes are drawn.

    Raises:
        ValueError: they do not.
    """
    simulated = [answered_by_simulator(place) for place in places]
    known = {*(questions.KINDS if any(simulated) else ()), *(unaided.KINDS if not all(simulated) else ())}
    known |= {*unaided.KINDS_OF_ENTRIES} if config.sources else set()
    if config.kinds and not known & {*config.kinds}:
        titles, kinds = " and ".join(place.config.title for place in places), ", ".join(config.kinds)
        raise ValueError(f"No question of ground.kinds ({kinds}) can be asked about {titles}; name some of {', '.join(sorted(known))}.")
    asked = [place for place, can in zip(places, simulated, strict=True) if can] or places
    for place in asked if config.tool else ():
        if not place.apply(_has, config.tool):
            raise ValueError(f"ground.tool is {config.tool!r}, which is no site or body of {place.config.title}; name one, or leave it empty.")


def _has(adapter: Adapter, tool: str) -> bool:
    return adapter.model is not None and has_tool(adapter.model, tool)


def _broke(adapter: Adapter, sources: dict[str, str]) -> bool:
    """Check that an environment's info and observation hold what `ground.from` names; return whether the environment raised an error there.

    Raises:
        ValueError: they do not.
    """
    for seed in range(SEEDS["ground"], SEEDS["ground"] + 3):
        try:
            adapter.reset(seed, look=False)
        except (Exception, SystemExit):  # an environment may raise anything; while scenes are drawn this costs its seed alone
            continue
        for name, source in sources.items():
            read(adapter, name, source)
        return seed > SEEDS["ground"]
    return True


def _scenes(run: Run, adapter: Place, policy: Any, play: Play) -> Iterator[Scene]:
    """Yield an endless stream of scenes of one of the run's environments."""
    config, ground = run.config.demonstrate, run.config.ground
    expert, wording = adapter.config.expert or config.expert, wording_of(policy)
    # An expert moves the robot only where the run has one: neither without demonstrations, nor where a dataset replaces the expert. A planner would
    # need seconds a scene.
    led = config.episodes and (expert or not config.dataset) and not is_planner(expert)
    experts = everyone([adapter.config], config.expert) if led else None
    seeds, rng = itertools.count(SEEDS["ground"] + 100_000 * run.config.seed), np.random.default_rng([run.config.seed, 7])
    if answered_by_simulator(adapter):
        return questions.scenes(adapter, seeds, rng, experts, ground.tool, wording, play)
    return unaided.scenes(adapter, seeds, rng, experts, policy.codec.shares, ground.sources, wording, play)
