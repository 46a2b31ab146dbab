"""What must hold before a run begins or goes on: looked at before anything is written."""

from typing import Any

import numpy as np

from agent.config.config import Config
from agent.config.plugins import plugin
from agent.demonstrate import datasets
from agent.ground.stage import to_ground
from agent.records import SEEDS
from agent.rollout.experts import resolve
from agent.rollout.session import Session
from agent.run import episodes as dataset
from agent.run.files import load
from agent.run.folder import Run
from agent.run.layout import STAGES, cycle_folder, cycle_folders, remedy
from envs.adapt import Adapter
from envs.faults import in_words
from envs.limits import LONGEST, ends
from envs.simulate.replay import prove
from policies.codec import bins


def ready(session: Session) -> None:
    """Refuse a run that cannot begin or go on; nothing is written.

    Raises:
        ValueError: says why not, and what to do.
    """
    run = session.run
    nothing_lost(run)
    plugged_in(run.config)
    _ = session.workers.actions  # makes the environments
    episodes_end(session)
    for name in run.config.evaluate.variations:
        try:
            session.varied(name).close()
        except ValueError as error:
            raise ValueError(f"evaluate.variations {name!r}: {error}") from error
    comes_back(session)
    if (run.folder / "start" / "tune.json").exists():
        _ = session.policy  # says if the base model is another one, or damaged
        return  # what follows held when it began
    steps = to_ground(session)[1]
    policy = session.student(run.config.ground.train) if steps and not (run.folder / "ground" / "ground.json").exists() else session.policy
    if steps:
        answers_are_read("ground.steps", policy, run.config.policy.model, "it to 0")
    can_be_asked(run, policy)
    if not (run.folder / "start" / "demonstrate.json").exists():
        can_be_shown(session, policy.codec)


def plugged_in(config: Config) -> None:
    """Look whether everything that the config plugs in by name is there.

    Raises:
        ValueError: something is not.
    """
    each = [config.at(number) for number in (1, *(phase.first for phase in config.phases))]
    names = {
        "label.detector": {config.label.detector},
        "curate.rule": {one.curate.rule for one in each},
        "tune.loss": {one.tune.loss for one in each},
    }
    for key, name in ((key, name) for key, found in names.items() for name in sorted(found - {""})):
        plugin(key, name)


def can_be_shown(session: Session, codec: Any) -> None:
    """Look whether there is somebody, or a dataset, to demonstrate, where the run begins so.

    Args:
        session: whose config and environments.
        codec: a `policies.codec.Codec`.

    Raises:
        ValueError: there is not.
    """
    config = session.config.demonstrate
    if config.episodes and config.dataset:
        next(datasets.stored(session.config, session.workers.actions, codec, lambda why: None))
    for adapter in session.workers.firsts if config.episodes and not config.dataset else ():
        name = adapter.config.expert or config.expert
        try:
            adapter.apply(_has_an_expert, name)
        except (TimeoutError, ChildProcessError) as error:
            raise ValueError(f"demonstrate.expert {name!r} of {adapter.config.title} cannot be used: {error}.") from error


def _has_an_expert(adapter: Adapter, name: str) -> None:
    """Look, where the environment lives, whether there is somebody of that name to demonstrate in it; raise NoExpert otherwise."""
    resolve(name, adapter.config)
    if not name and not hasattr(adapter.env.unwrapped, "oracle"):
        adapter.oracle()  # says so


def nothing_lost(run: Run) -> None:
    """Refuse to go on without a stage of an earlier cycle, on which the later ones rest, or without episodes that a finished stage had recorded.

    Raises:
        ValueError: says what is gone, and how to have it made again.
    """
    there = cycle_folders(run.folder)
    last = max(there, default=0)
    for number in range(1, last + 1):
        folder = cycle_folder(run.folder, number)
        for stage in (*STAGES, "cycle") if number != last or (folder / "cycle.json").exists() else ():
            learnt = (folder / "policy.safetensors").exists()  # a cycle that learns nothing has no `tune`
            if (stage != "tune" or learnt) and not (folder / f"{stage}.json").exists():
                raise ValueError(f"{folder / f'{stage}.json'} is gone, and later cycles rest on it; {remedy(folder)}")
    recorded = {folder: load(file).get("recorded", {}) for folder in there.values() if (file := folder / "collect.json").exists()}
    if (file := run.folder / "start" / "demonstrate.json").exists():
        recorded[file.parent] = {"episodes": load(file)["figures"]["episodes"]}
    for folder, counts in recorded.items():
        for name, count in counts.items():
            if (left := dataset.count(folder / name)) < count:
                raise ValueError(f"{folder / name} holds {left} of the {count} episodes that were recorded there; {remedy(folder)}")


def episodes_end(session: Session) -> None:
    """Look whether episodes come to an end, where an environment declares no time limit.

    Raises:
        ValueError: random actions bring one of them to none.
    """
    for kind, adapter in enumerate(session.workers.firsts):
        try:
            ended = adapter.limit is not None or adapter.apply(ends, SEEDS["practice"])
        except (Exception, SystemExit):  # an environment may raise anything: that is an end, and will cost an episode when it counts
            ended = session.workers.renew(kind) is None
        if not ended:
            name = adapter.config.title
            raise ValueError(f"{name} has no time limit, and random actions came to no end within {LONGEST} steps; set env.horizon.")


def can_be_asked(run: Run, policy: Any) -> None:
    """Look whether a model can be asked what it thinks of frames, where the run will.

    Args:
        run: whose config.
        policy: a `Vlm`.

    Raises:
        ValueError: it cannot.
    """
    config = run.config
    keys = {"label.by": config.label.by != "env" and not config.label.detector, "curate.credit": config.curate.credit == "steps"}
    if any(keys.values()):
        first = next(key for key, on in keys.items() if on)
        answers_are_read(first, policy, config.policy.model, "label.by env and curate.credit progress")
    if config.label.way and not (hasattr(policy, "processor") and len(bins(policy.processor.tokenizer))):
        raise ValueError(f"label.way is answered in number tokens, which {config.policy.model!r} does not have; leave it empty.")


def answers_are_read(key: str, policy: Any, model: str, instead: str) -> None:
    """Look whether a model counts positions one by one, as `policies.scoring` does.

    Args:
        key: of the config, which has the model asked.
        policy: a `Vlm`.
        model: its name in the config.
        instead: what to set, and to what.

    Raises:
        ValueError: it does not.
    """
    if not hasattr(policy, "base"):
        raise ValueError(f"{key} asks the model questions, and {model!r} is no model that answers any; set {instead}, or give label.detector.")
    if hasattr(policy.base.model, "rope_deltas"):
        raise ValueError(
            f"{key} asks the model questions, whose answers are not read from models that count positions in three dimensions, "
            f"as {model!r} does; set {instead}."
        )


def comes_back(session: Session) -> None:
    """Look whether the environments can be put back to a moment exactly, where practice will look ahead in copies of moments.

    Raises:
        ValueError: one cannot.
    """
    collects = [session.config.at(number).collect for number in (1, *(phase.first for phase in session.config.phases))]
    for adapter in session.workers.firsts if any(config.guided for config in collects) else ():
        name, seeds = adapter.config.title, range(SEEDS["practice"], SEEDS["practice"] + 8)
        try:
            proof = adapter.apply(prove, seeds, np.random.default_rng(0), 2, 3, 3)["snapshot"]
        except (Exception, SystemExit) as error:  # an environment may raise anything
            raise ValueError(
                f"collect.guided needs an environment that comes back to a moment, and in {name} {in_words(error)}; set it to 0."
            ) from error
        if not proof.exact:
            why = proof.difference or "every episode ended in its first two decisions"
            raise ValueError(f"collect.guided needs an environment that comes back to a moment, and {name} does not: {why}; set it to 0.")
