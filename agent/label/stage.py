"""Stage `label` of a run, and what it computes first: scores of the success detector (`detector`), predicted steps to go (`steps_to_go`).

T = decisions in an episode.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.config.keys import LabelConfig
from agent.label import steps_to_go
from agent.label.base_detector import base_detector, demonstration_figures, held_out, measured_part, training_part
from agent.label.calibration import Calibration, CombinedScore, calibrate, combine, peaks, quality
from agent.label.detector import (
    as_detector_labels,
    detect,
    detect_with_own,
    detector_score,
    num_rewards,
    proximity,
    qa_examples,
    with_detector_rewards,
)
from agent.label.guards import detector_fails, labels_contradict
from agent.records import DRAWS, Checkpoint, DetectorScore, Episode, Label, QAExample, success_rate
from agent.rollout.session import Session
from agent.run import episodes as dataset
from agent.run.files import load
from agent.run.folder import Cycle, Run
from agent.run.labels import row
from agent.run.tracking import Track

EXAMPLES = 256  # QA examples of the detector a cycle, half of them yes; and as many of steps to go
STEPS_QUESTION = "how many steps to go: {instruction} ?"  # asked where `curate.credit` is `steps_to_go`


def label(session: Session, champion: Checkpoint, cycle: Cycle, track: Track) -> list[str]:
    """Stage `label`: write each episode's label, by the environment or by the success detector, into `label.json`.

    Returns:
        Alarms of the guards: why the labels of this cycle cannot be trusted.
    """
    run, config = session.run, session.config.label
    # Files of their own, written before the labels: a killed run does not score the episodes again.
    if config.by != "env":
        run.keep(cycle.folder / "detector.json", lambda: _run_detector(session, champion, cycle))
    if run.config.curate.credit == "steps_to_go":
        run.keep(cycle.folder / "steps_to_go.json", lambda: _predict_steps_to_go(session, champion, cycle))

    def go() -> dict[str, Any]:
        stored = run.episodes(cycle.folder)
        scored = as_scored(run, cycle, stored)
        by: Any = "detector" if config.by == "detector" else "env"
        scores = detector_scores(run, cycle)
        labels = [Label.of(*each) for each in zip(scored, [by] * len(scored), scores, strict=True)]
        # Labels are compared with the rewards of the stored episodes: those of `scored` may be the model's own predictions.
        alarms = detector_fails(load(cycle.folder / "detector.json")["figures"]) if by == "detector" else labels_contradict(stored, labels)
        figures = {"episodes": len(labels), "success": success_rate(scored)}
        return {"figures": figures, "episodes": list(map(row, stored, scored, scores)), "alarms": alarms}

    made = run.keep(cycle.folder / "label.json", go)
    track.log(run.metrics())
    run.finished("label")
    return made["alarms"]


def as_scored(run: Run, cycle: Cycle, episodes: list[Episode]) -> list[Episode]:
    """Return a cycle's episodes with the success and the rewards that training uses: the environment's, the detector's, or from steps to go."""
    episodes = _as_detected(run, cycle, episodes)
    if run.config.curate.credit != "steps_to_go":
        return episodes
    digits = load(cycle.folder / "steps_to_go.json")["digits"]  # credit then comes from these alone, whoever labels
    return [steps_to_go.with_predicted_rewards(episode, np.array(own)) for episode, own in zip(episodes, digits, strict=True)]


def _as_detected(run: Run, cycle: Cycle, episodes: list[Episode]) -> list[Episode]:
    """Return the episodes with the detector's success or rewards, where `label.by` asks for them."""
    if run.config.label.by == "env":
        return episodes
    predicted = zip(episodes, _probabilities(cycle), strict=True)
    if run.config.label.by == "detector":
        near = load(cycle.folder / "detector.json").get("proximity") or [None] * len(episodes)  # empty where no distance is asked for
        # An episode without a decision has empty lists, and stays as it is.
        return [as_detector_labels(e, p, n and np.array(n)) if len(p) else e for (e, p), n in zip(predicted, near, strict=True)]
    counts: dict[str, list[int]] = defaultdict(list)
    for episode in episodes:
        counts[episode.task].append(num_rewards(episode))
    # By task, not by episode: advantages compare the episodes of a task, so all of them need rewards of one kind.
    constant = {task for task, numbers in counts.items() if max(numbers) == 1}
    return [with_detector_rewards(e, p) if len(p) and e.task in constant else e for e, p in predicted]


def detector_scores(run: Run, cycle: Cycle) -> list[DetectorScore | None]:
    """Return the detector's score of each of a cycle's episodes; None where it was not asked."""
    if not (cycle.folder / "detector.json").exists():
        return [None] * dataset.count(cycle.folder / "episodes")
    return [detector_score(p[1:]) if len(p) else None for p in _probabilities(cycle)]  # p[0] is before the first decision


def rated(session: Session, cycle: Cycle, policy: Checkpoint, episodes: Sequence[Episode]) -> list[float]:
    """Return the detector's calibrated probability that each episode of an evaluation succeeded, for people to compare; nothing depends on it.

    Args:
        session: of the run.
        cycle: whose calibration is used.
        policy: that was evaluated; it is asked itself where `label.detector` is `champion`.
        episodes: at least one.

    Returns:
        float a episode. Empty where the cycle has no detector, or a combined one (`label.distance_question`), whose combination is not stored.
    """
    config = session.config.label
    if not (cycle.folder / "detector.json").exists() or config.distance_question:
        return []
    asked = {"champion": lambda: policy, "base": lambda: base_detector(session.run)}.get(config.detector)  # None: a user's own detector
    scores = _asked(config, asked and session.load_checkpoint(asked()), episodes)
    calibration = Calibration(*load(cycle.folder / "detector.json")["calibration"])
    return [detector_score(calibration(score[1:])).probability if len(score) > 1 else 0.0 for score in scores]


def steps_to_go_examples(run: Run) -> list[QAExample]:
    """Return the QA examples of steps to go for the warm start, from its demonstrations; none where `curate.credit` is another."""
    if run.config.curate.credit != "steps_to_go":
        return []
    won = [episode for episode in run.episodes(run.folder / "start") if episode.success]
    rng = np.random.default_rng([run.config.seed, 0, 0, 0, DRAWS["steps_to_go"]])
    return steps_to_go.training_data(won, STEPS_QUESTION, steps_to_go.pace(won), EXAMPLES, rng)


def detector_examples(run: Run, episodes: Sequence[Episode], rng: np.random.Generator) -> list[QAExample]:
    """Return the QA examples of a cycle: from demonstrations and, unless the detector labels alone, from the cycle's episodes.

    Args:
        run: whose config says which questions are trained.
        episodes: of the cycle, as they are labelled.
        rng: of the choice.
    """
    config, examples = run.config.label, []
    asked, counted = config.detector == "champion" and config.by != "env", run.config.curate.credit == "steps_to_go"
    if not (asked or counted):
        return []
    demonstrations = run.episodes(run.folder / "start")
    # With `by: detector` the success of the cycle's episodes is the detector's own prediction, from which it could learn nothing new.
    known = training_part(demonstrations) if config.by == "detector" else [*episodes, *demonstrations]
    if asked:
        examples += qa_examples(known, config.question, EXAMPLES, rng)
    if counted:
        won = [episode for episode in demonstrations if episode.success]  # a failed one would only give the answer for far away
        timed = won if config.by == "detector" else [*episodes, *won]
        examples += steps_to_go.training_data(timed, STEPS_QUESTION, steps_to_go.pace(won), EXAMPLES, rng)
    return examples


def _probabilities(cycle: Cycle) -> list[np.ndarray]:
    """Return float64[T + 1] an episode: the calibrated scores of `detector.json`."""
    content = load(cycle.folder / "detector.json")
    calibration = Calibration(*content["calibration"])
    return [calibration(np.array(each)) for each in content["scores"]]


def _run_detector(session: Session, champion: Checkpoint, cycle: Cycle) -> dict[str, Any]:
    """Score every episode of a cycle, calibrate the scores, and measure them on episodes that they were not calibrated on."""
    run, config, episodes = session.run, session.config.label, session.run.episodes(cycle.folder)
    load_weights = {"champion": lambda: champion, "base": lambda: base_detector(run)}.get(config.detector)
    policy: Any = load_weights and session.load_checkpoint(load_weights())  # None: a user's own detector
    scores, near = _asked(config, policy, episodes), []
    usable = [i for i, each in enumerate(scores) if len(each) and not episodes[i].faults]
    truth = np.array([episodes[i].success for i in usable])  # the environment's; with `by: detector` it is for the figures alone
    if config.by == "detector":
        calibration, known, combined = _by_demonstrations(run, policy)
        if combined:
            near = proximity(policy, episodes, config.distance_question)
            scores = [combined(*each) for each in zip(scores, near, strict=True)]
        measured = np.ones(len(usable), bool)
        # An episode is a success as soon as one of its frames is.
        probability = np.array([calibration(scores[i][1:]).max() for i in usable])
    else:
        measured, known = np.array([episodes[i].seed % 2 == 1 for i in usable], bool), {}
        # Half for calibration, half for measurement; by seed, because episodes of one seed resemble one another.
        calibration = calibrate(np.array([scores[i][-1] for i in usable])[~measured], truth[~measured])
        probability = np.array([calibration(scores[i][-1:]).max() for i in usable])
    figures = quality(probability[measured], truth[measured]) if measured.any() else {}
    return {
        "figures": figures | {"episodes": len(usable), "slope": calibration.slope, "offset": calibration.offset, **known},
        "calibration": [calibration.slope, calibration.offset],
        "scores": [each.tolist() for each in scores],
        "proximity": [each.tolist() for each in near],
    }


def _asked(config: LabelConfig, policy: Any, episodes: Sequence[Episode]) -> list[np.ndarray]:
    """Return float64[T + 1] an episode: the scores of the success detector, which is the model or a user's own function."""
    return detect_with_own(config.detector, episodes) if config.own_detector else detect(policy, episodes, config.question)


def _by_demonstrations(run: Run, policy: Any) -> tuple[Calibration, dict[str, float], CombinedScore | None]:
    """Calibrate a detector that labels alone, on demonstrations that it was not trained on: the environment's success of practice is not used.

    Returns:
        The calibration; `demonstration_figures`, from the same demonstrations; and, with `label.distance_question`, the combination of both answers.
    """
    config, demonstrations = run.config.label, run.episodes(run.folder / "start")
    steps = config.detector == "base" and load(run.folder / "start" / "base_detector.json")["figures"]["steps"]
    trained = config.detector == "champion" or steps  # then on `training_part`; a detector that was not trained can be calibrated on all
    sample = measured_part(held_out(demonstrations) if trained else demonstrations)
    scores, combined = _asked(config, policy, sample), None
    if config.distance_question and sample:
        near = proximity(policy, sample, config.distance_question)
        combined = combine(scores, near, sample)
        scores = [combined(*each) for each in zip(scores, near, strict=True)]
    ends = peaks(scores, sample, lasting=not config.distance_question)
    # AUROC of the scores, not of the probabilities: a negative slope would hide a detector that rates successes below failures.
    return calibrate(*ends), demonstration_figures(ends), combined


def _predict_steps_to_go(session: Session, champion: Checkpoint, cycle: Cycle) -> dict[str, Any]:
    """Predict the steps to go at each observation of a cycle's episodes, and measure the error on episodes that succeeded."""
    run = session.run
    episodes, won = run.episodes(cycle.folder), [episode for episode in run.episodes(run.folder / "start") if episode.success]
    digits = steps_to_go.predict(session.load_checkpoint(champion), episodes, STEPS_QUESTION)
    mean_error = steps_to_go.error(episodes, digits, steps_to_go.pace(won))
    return {"figures": {} if mean_error is None else {"countdown_error": mean_error}, "digits": [each.tolist() for each in digits]}
