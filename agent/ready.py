"""What must hold before a run begins or goes on."""

from typing import Any

import numpy as np

from agent import dataset
from agent.files import load
from agent.run import SEEDS, STAGES, Run
from envs.faults import in_words
from envs.limits import LONGEST, ends
from envs.replay import prove
from policies.codec import bins


def nothing_lost(run: Run) -> None:
    """Refuse to go on without a stage of an earlier cycle, on which the later ones rest, or without episodes that a finished stage had recorded.

    Raises:
        ValueError: says what is gone, and how to have it made again.
    """
    last = max((int(folder.name[6:]) for folder in run.folder.glob("cycle-*")), default=0)
    for folder in (run.folder / f"cycle-{number:03d}" for number in range(1, last + 1)):
        for stage in (*STAGES, "cycle") if folder.name != f"cycle-{last:03d}" or (folder / "cycle.json").exists() else ():
            if stage != "tune" and not (folder / f"{stage}.json").exists():  # a cycle that learns nothing has none of it
                raise ValueError(
                    f"{folder / f'{stage}.json'} is gone, and later cycles rest on it; delete the folder {folder} and those of all later cycles, "
                    "and the same command makes them again."
                )
    recorded = {file.parent: load(file).get("recorded", {}) for file in sorted(run.folder.glob("cycle-*/collect.json"))}
    if (file := run.folder / "start" / "demonstrate.json").exists():
        recorded[file.parent] = {"episodes": load(file)["figures"]["episodes"]}
    for folder, counts in recorded.items():
        for name, count in counts.items():
            if (left := dataset.count(folder / name)) < count:
                whose = "every cycle's folder" if folder.name == "start" else "those of all later cycles"
                raise ValueError(
                    f"{folder / name} holds {left} of the {count} episodes that were recorded there; "
                    f"delete the folder {folder} and {whose}, and the same command makes them again."
                )


def episodes_end(run: Run) -> None:
    """Look whether episodes come to an end, where an environment declares no time limit.

    Raises:
        ValueError: random actions bring one of them to none.
    """
    for kind, adapter in enumerate(run.workers.firsts):
        try:
            ended = adapter.limit is not None or adapter.apply(ends, SEEDS["practice"])
        except (Exception, SystemExit):  # an environment may raise anything: that is an end, and will cost an episode when it counts
            ended = run.workers.renew(kind) is None
        if not ended:
            name = adapter.config.title
            raise ValueError(f"{name} has no time limit, and random actions came to no end within {LONGEST} steps; set env.horizon.")


def variations_are_there(run: Run) -> None:
    """Make each variation once before anything is learnt, so that a mistake in one does not wait until the last exam.

    Raises:
        ValueError: one cannot be made.
    """
    for name in run.config.evaluate.variations:
        try:
            run.varied(name).close()
        except ValueError as error:
            raise ValueError(f"evaluate.variations {name!r}: {error}") from error


def can_be_asked(run: Run) -> None:
    """Look whether the model can be asked what it thinks of frames, where the run will.

    Raises:
        ValueError: it cannot.
    """
    config = run.config
    keys = {"label.by": config.label.by != "env", "label.critique": config.label.critique, "curate.credit": config.curate.credit == "steps"}
    if any(keys.values()):
        first = next(key for key, on in keys.items() if on)
        answers_are_read(first, run.policy, config.policy.model, "label.by env, label.critique false and curate.credit progress")
    if config.label.way and not len(bins(run.policy.processor.tokenizer)):
        raise ValueError(f"label.way is answered in number tokens, which {config.policy.model!r} does not have; leave it empty.")


def answers_are_read(key: str, policy: Any, model: str, instead: str) -> None:
    """Look whether a model counts positions one by one, as `policies.recite` does.

    Args:
        key: of the config, which has the model asked.
        policy: a `Vlm`.
        model: its name in the config.
        instead: what to set, and to what.

    Raises:
        ValueError: it does not.
    """
    if hasattr(policy.base.model, "rope_deltas"):
        raise ValueError(
            f"{key} asks the model questions, whose answers are not read from models that count positions in three dimensions, "
            f"as {model!r} does; set {instead}."
        )


def comes_back(run: Run) -> None:
    """Look whether the environments can be put back to a moment exactly, where practice will look ahead in copies of moments.

    Raises:
        ValueError: one cannot.
    """
    collects = [run.config.at(number).collect for number in (1, *(phase.first for phase in run.config.phases))]
    key = next((key for key in ("guided", "rivals") if any(getattr(config, key) for config in collects)), "")
    for adapter in run.workers.firsts if key else ():
        name, seeds = adapter.config.title, range(SEEDS["practice"], SEEDS["practice"] + 8)
        try:
            proof = adapter.apply(prove, seeds, np.random.default_rng(0), 2, 3, 3)["snapshot"]
        except (Exception, SystemExit) as error:  # an environment may raise anything
            raise ValueError(
                f"collect.{key} needs an environment that comes back to a moment, and in {name} {in_words(error)}; set it to 0."
            ) from error
        if not proof.exact:
            why = proof.difference or "every episode ended in its first two decisions"
            raise ValueError(f"collect.{key} needs an environment that comes back to a moment, and {name} does not: {why}; set it to 0.")
