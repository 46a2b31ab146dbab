"""Checks before a run begins or goes on. They come before anything is written, so a refused run leaves its folder as it was."""

from typing import Any

import numpy as np

from agent.config.config import Config
from agent.config.plugins import plugin
from agent.demonstrate import datasets
from agent.demonstrate.target import Tally, Target
from agent.ground.stage import to_ground
from agent.label.detector import own_scores
from agent.records import SEEDS
from agent.rollout.experts import resolve
from agent.rollout.session import Session
from agent.run import episodes as dataset
from agent.run.files import load
from agent.run.folder import Run
from agent.run.layout import STAGES, cycle_folder, cycle_folders, remedy
from agent.run.tensorboard import writer
from agent.run.variables import check, mode_of
from envs import TASKS
from envs.adapt import Adapter
from envs.faults import ExpertFault, NoExpert, in_words
from envs.limits import needs_limit
from envs.simulate.replay import prove
from policies.bits import check_installed
from policies.codec import bins


def ready(session: Session) -> None:
    """Check that a run can begin or go on; write nothing.

    Raises:
        ValueError: it cannot; the sentence says why, and what to do.
    """
    run = session.run
    nothing_lost(run)  # cheap checks first: the model is loaded last
    plugged_in(run.config)
    if run.config.track.tensorboard:
        writer()
    if mode_of(run.config.track) != "off":
        check(run.config.track)
    _ = session.environments.actions  # makes the environments, and checks that they share one action space
    _ = session.practice_environments  # made too, where they are others: some environments cannot exist twice
    episodes_end(session)
    can_detect(session)
    for name, changes in run.config.evaluate.variations.items():
        for env in run.config.envs:
            given = changes.get("variation")
            if env.id in TASKS and isinstance(given, dict) and given.get("camera") and "front" not in env.sources:
                raise ValueError(
                    f"evaluate.variations {name!r} moves the camera front, which env.cameras of {env.title} does not name; add it there."
                )
        try:
            session.variation_environments(name).close()  # made only to see whether they accept the changed kwargs
        except ValueError as error:
            raise ValueError(f"evaluate.variations {name!r}: {error}") from error
    comes_back(session)
    if (run.folder / "start" / "tune.json").exists():
        _ = session.policy  # raises if the base model is damaged, or not the one that the run began from
        return  # the checks below concern stages that are finished
    steps = to_ground(session)[1]
    policy = session.trainable_base() if steps and not (run.folder / "ground" / "ground.json").exists() else session.policy
    if steps:  # grounding asks the model questions too
        answers_are_read("ground.steps", policy, run.config.policy.model, "it to 0")
    asked = can_be_asked(run, policy)
    env = run.config.envs[0]  # all have the same frames
    can_decide(policy, (len(env.frame_names), env.size, env.size, 3), questions=bool(steps) or asked)
    if not (run.folder / "start" / "demonstrate.json").exists():
        can_be_shown(session, policy.codec)


def plugged_in(config: Config) -> None:
    """Check that every function of the user's that the config names can be imported, and the packages of its optimiser.

    Raises:
        ValueError: one cannot.
    """
    cycle_configs = [config.at(number) for number in (1, *(phase.first for phase in config.phases))]  # every config that some cycle has
    names = {
        "label.detector": {config.label.own_detector},
        "curate.rule": {cycle_config.curate.rule for cycle_config in cycle_configs},
        "tune.loss": {cycle_config.tune.loss for cycle_config in cycle_configs},
    }
    for key, name in ((key, name) for key, values in names.items() for name in sorted(values - {""})):
        plugin(key, name)
    if any(cycle_config.tune.optim == "adamw_8bit" for cycle_config in cycle_configs):
        check_installed("tune.optim adamw_8bit")


def can_be_shown(session: Session, codec: Any) -> None:
    """Check that the config's expert acts or its dataset exists, if it asks for demonstrations.

    Args:
        session: of the run.
        codec: a `policies.codec.Codec`, for the actions of a dataset.

    Raises:
        ValueError: it does not exist, or cannot be used.
    """
    config = session.config.demonstrate
    if config.episodes and config.dataset:
        # Reading up to the first success checks format, cameras and action space. Episodes that are left out are reported by the stage, not here.
        target = Target.of(session.environments.first)
        next(episode for episode in datasets.stored(session.config, target, codec, Tally()) if episode.success)
    for kind, adapter in enumerate(session.environments.firsts) if config.episodes and not config.dataset else ():
        name = adapter.config.expert or config.expert
        try:
            if adapter.apply(_broke, name):  # runs in the environment's process, where the expert will run too
                session.environments.renew(kind)
        except ExpertFault as error:
            raise ValueError(f"{error}.") from error
        except (TimeoutError, ChildProcessError) as error:
            raise ValueError(f"demonstrate.expert {name!r} of {adapter.config.title} cannot be used: {error}.") from error


def _broke(adapter: Adapter, name: str) -> bool:
    """Check that an expert acts at the beginning of one of three episodes; return whether the environment raised an error there.

    Raises:
        ValueError: there is no expert.
        ExpertFault: it gives no action.
    """
    expert, fault, broke = resolve(name, adapter.config), None, False
    for seed in range(SEEDS["demonstrations"], SEEDS["demonstrations"] + 3):
        try:
            adapter.reset(seed, look=False)
            expert(adapter)
            return broke
        except NoExpert:
            raise
        except ExpertFault as error:
            fault = error
        except (Exception, SystemExit):  # during the run this costs its episode alone
            broke = True
    if fault:
        raise fault
    return broke


def nothing_lost(run: Run) -> None:
    """Check that no stage file of an earlier cycle, and no episode that a finished stage recorded, is missing.

    Later cycles depend on earlier ones: an earlier stage that was made anew would no longer fit them.

    Raises:
        ValueError: something is missing; the sentence says what, and how to have it made again.
    """
    folders = cycle_folders(run.folder)
    last = max(folders, default=0)
    for number in range(1, last + 1):
        folder = cycle_folder(run.folder, number)
        # The last cycle may be unfinished: its stage files are required only once `cycle.json` says that it is complete.
        for stage in (*STAGES, "cycle") if number != last or (folder / "cycle.json").exists() else ():
            trained = (folder / "policy.safetensors").exists()  # a cycle without training data, or with alarms, has no `tune.json`
            if (stage != "tune" or trained) and not (folder / f"{stage}.json").exists():
                raise ValueError(f"{folder / f'{stage}.json'} is gone, and later cycles depend on it; {remedy(folder)}")
    recorded = {folder: load(file).get("recorded", {}) for folder in folders.values() if (file := folder / "collect.json").exists()}
    if (file := run.folder / "start" / "demonstrate.json").exists():
        recorded[file.parent] = {"episodes": load(file)["figures"]["episodes"]}
    for folder, counts in recorded.items():
        for name, count in counts.items():  # name: 'episodes', or 'lookahead/episodes'
            if (stored := dataset.count(folder / name)) < count:
                raise ValueError(f"{folder / name} holds {stored} of the {count} episodes that were recorded there; {remedy(folder)}")


def episodes_end(session: Session) -> None:
    """Check that episodes end in environments that declare no time limit, or one that nothing is known to keep.

    Raises:
        ValueError: an environment's episode does not end.
    """
    for kind, adapter in enumerate(session.environments.firsts):
        why = ""
        try:
            why = adapter.apply(needs_limit, SEEDS["practice"])
        except (Exception, SystemExit):  # any error ends the episode too; during the run it costs that episode alone
            session.environments.renew(kind)
        if why:
            raise ValueError(f"{adapter.config.title} {why}.")


def can_detect(session: Session) -> None:
    """Check that a detector of the user's gives probabilities; it is tried on the first observation of each environment, given twice.

    Raises:
        ValueError: it fails, or returns something else.
    """
    name = session.config.label.own_detector
    for kind, adapter in enumerate(session.environments.firsts) if name else ():
        try:
            seen = adapter.reset(SEEDS["practice"])
        except (Exception, SystemExit):  # during the run this costs its episode alone
            session.environments.renew(kind)
            continue
        own_scores(name, np.stack([seen.frames] * 2), seen.instruction, f"{adapter.config.title}/{SEEDS['practice']}/0")


def can_decide(policy: Any, frames: tuple[int, ...], questions: bool = False) -> None:
    """Check that every bin comes back from the codec, and that the model's acting and learning agree; `etude check-model` checks more.

    Args:
        policy: the run's policy, a `Vlm` or a class of the user's.
        frames: shape of what it sees, (F, h, w, 3).
        questions: whether the run asks a `Vlm` about frames.

    Raises:
        ValueError: they do not.
    """
    from policies.check import cheap_faults, question_faults  # imports torch, as the policy did

    if faults := cheap_faults(policy, frames) or (question_faults(policy, frames) if questions else []):
        raise ValueError(faults[0])


def can_be_asked(run: Run, policy: Any) -> bool:
    """Return whether the config asks the model questions about frames, as detector or about steps to go; check that it can answer any.

    Args:
        run: of the config.
        policy: the run's policy, a `Vlm` or a class of the user's.

    Raises:
        ValueError: it cannot.
    """
    config = run.config
    keys = {"label.by": config.label.by != "env" and not config.label.own_detector, "curate.credit": config.curate.credit == "steps_to_go"}
    if any(keys.values()):
        first = next(key for key, on in keys.items() if on)  # the error names one key; the remedy covers both
        answers_are_read(first, policy, config.policy.model, "label.by env and curate.credit progress")
    # Only the embedded model, and models made like it, have number tokens.
    if config.label.distance_question and not (hasattr(policy, "processor") and len(bins(policy.processor.tokenizer))):
        raise ValueError(f"label.distance_question is answered in number tokens, which {config.policy.model!r} does not have; leave it empty.")
    return any(keys.values())


def answers_are_read(key: str, policy: Any, model: str, instead: str) -> None:
    """Check that `policies.scoring` can read answers from a model.

    Args:
        key: config key that makes the run ask questions.
        policy: the run's policy, a `Vlm` or a class of the user's.
        model: its name in the config.
        instead: what to set, and to what, as the end of a sentence.

    Raises:
        ValueError: it cannot.
    """
    if not hasattr(policy, "base"):  # a policy class of the user's need not be a language model
        own = ", or give label.detector" if key == "label.by" else ""
        raise ValueError(f"{key} asks the model questions, and {model!r} cannot answer any; set {instead}{own}.")


def comes_back(session: Session) -> None:
    """Check that the environments restore a snapshot exactly, if some cycle has look-ahead episodes.

    Raises:
        ValueError: one does not.
    """
    collects = [session.config.at(number).collect for number in (1, *(phase.first for phase in session.config.phases))]
    for adapter in session.environments.firsts if any(config.lookahead_episodes for config in collects) else ():
        name, seeds = adapter.config.title, range(SEEDS["practice"], SEEDS["practice"] + 8)
        try:  # two decisions, snapshot, three decisions, restore, the same three again; until three snapshots were compared
            proof = adapter.apply(prove, seeds, np.random.default_rng(0), 2, 3, 3)["snapshot"]
        except (Exception, SystemExit) as error:  # an environment may raise anything
            raise ValueError(
                f"collect.lookahead_episodes needs an environment that restores snapshots exactly, and in {name} {in_words(error)}; set it to 0."
            ) from error
        if not proof.exact:  # `difference` is empty if no episode was long enough to compare
            why = proof.difference or "every episode ended in its first two decisions"
            raise ValueError(
                f"collect.lookahead_episodes needs an environment that restores snapshots exactly, and {name} does not: {why}; set it to 0."
            )
