"""Guards name what is sick, and are silent about what is well."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.collect.curriculum import exploration_shrinks
from agent.config.config import Config
from agent.evaluate.guards import tasks_forgotten
from agent.improve import improve
from agent.label.guards import detector_fails, labels_contradict
from agent.records import Episode, Label, Scorecard
from agent.rollout.session import Session
from agent.run.files import load, save
from agent.run.folder import Run
from agent.run.further import wrong_twice
from agent.run.tracking import Track
from agent.tune.guards import training_collapses

FINE = {"entropy": 0.7, "clip_fraction": 0.4, "bc_loss": 1.0, "loss": 0.1}


def episode(i: int, reward: float, success: bool) -> Episode:
    frames = np.zeros((2, 1, 8, 8, 3), np.uint8)
    one = {"actions": np.zeros((1, 1, 2), np.float32), "tokens": np.zeros((1, 2), np.int64), "logprobs": np.zeros((1, 2), np.float32)}
    ends = {"first_success": 0 if success else None, "success_at_end": success, "terminated": success, "truncated": not success}
    rewards = np.array([[reward]], np.float32)
    return Episode(task="t", seed=i, attempt=0, policy="p", instruction="go", frames=frames, **one, rewards=rewards, success=success, **ends)  # type: ignore[arg-type]


def test_the_same_alarm_twice_is_the_last(tmp_path: Path) -> None:
    run = Run(tmp_path, Config()).begin()
    told = [["no judge: 55 %"], ["no judge: 56 %"], ["no judge: 56 %"], [], []]
    for number, alarms in enumerate(told, 1):
        save(run.cycle(number).folder / "label.json", {"alarms": alarms})
    assert [wrong_twice(tmp_path, number) for number in range(1, 7)] == ["", "", "", "no judge: 56 %", "", ""]


def test_labels_that_contradict_rewards_are_named() -> None:
    good = [episode(i, 0.1 * i, i >= 6) for i in range(12)]
    bad = [replace(episode(i, 0.1 * i, i < 6)) for i in range(12)]
    flat = [episode(i, 0.0, i >= 6) for i in range(12)]
    assert not labels_contradict(good, [*map(Label.of, good)]) and not labels_contradict(flat, [*map(Label.of, flat)])
    assert "labels contradict rewards" in labels_contradict(bad, [*map(Label.of, bad)])[0]
    assert not labels_contradict(bad[4:8], [*map(Label.of, bad[4:8])]), "too few to tell"
    few = [episode(i, 0.1 * (i % 11), i in (3, 14, 25, 36, 48)) for i in range(60)]
    assert not labels_contradict(few, [*map(Label.of, few)]), "what chance explains is no contradiction"


def test_rewards_of_tasks_with_other_scales_are_not_compared() -> None:
    easy = [replace(episode(i, 0.1 * i, i >= 2), task="easy") for i in range(12)]
    hard = [replace(episode(i, 10 + i, i >= 10), task="hard") for i in range(12)]
    both = [
        *easy,
        *hard,
        *(replace(episode(i, 30.0, True), task="hard") for i in range(12, 20)),
        *(replace(episode(i, -1.0, False), task="easy") for i in range(9)),
    ]
    assert not labels_contradict(both, [*map(Label.of, both)])
    wrong = [replace(episode(i, 0.1 * i, i < 6), task="wrong") for i in range(12)]
    (told,) = labels_contradict([*both, *wrong], [*map(Label.of, [*both, *wrong])])
    assert "in wrong" in told


def test_a_detector_that_always_says_yes_is_named() -> None:
    assert detector_fails({"demonstration_auroc": 0.5}) and not detector_fails({"demonstration_auroc": 0.9})


def test_a_detector_that_nothing_was_measured_of_is_named() -> None:
    (told,) = detector_fails({"episodes": 24.0})
    assert "no demonstration of a success" in told


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"entropy": 0.001}, "collapsed onto one reply"),
        ({"clip_fraction": 0.95}, "too far from its champion: 95%"),
        ({"bc_loss": 3.5}, "unlearnt its demonstrations: they are 2.5 nats"),
        ({"loss": float("nan")}, "not finite"),
    ],
)
def test_how_training_ends(change: dict[str, float], says: str) -> None:
    rows = [FINE] * 18 + [{**FINE, **change}] * 2
    told = training_collapses(rows)
    assert says in told[0] if says else not told


def test_imitation_alone_has_no_ratios_to_look_at() -> None:
    assert not training_collapses([{"bc_loss": 1.2, "loss": 1.2}])


def test_a_task_that_is_forgotten_is_named_and_one_task_alone_is_left_to_the_gate() -> None:
    def card(name: str, first: int, second: int) -> Scorecard:
        return Scorecard(name, {f"{title}/{i}": i < won for title, won in (("a/one", first), ("b", second)) for i in range(50)})

    before = card("old", 40, 10)
    assert "a/one is forgotten" in tasks_forgotten(["a/one", "b"], before, card("new", 20, 45))[0]
    assert not tasks_forgotten(["a/one", "b"], before, card("new", 37, 45))
    assert not tasks_forgotten(["a/one"], before, card("new", 20, 45))


def test_exploration_is_compared_with_its_best() -> None:
    assert exploration_shrinks([0.4, 0.9, 0.3]) and not exploration_shrinks([0.4, 0.9, 0.5])
    assert not exploration_shrinks([0.0])


def _flipped(episode: Episode) -> dict[str, Any]:
    return {"success": not episode.success, "first_success": None if episode.success else 0}


@pytest.mark.slow
@pytest.mark.parametrize("poison", ["labels", "detector", "rate"])
def test_a_poisoned_cycle_is_named_and_not_promoted_and_the_next_clean_one_learns(
    poison: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flipped labels, a detector that always says yes, thirty times the learning rate, each in the first of two cycles."""
    config = Config(**{
        "cycles": 2, "threads": 1, "policy": {"batch_size": 16, "temperature": 0.5}, "track": {"mode": "off", "videos": False},
        "demonstrate": {"episodes": 16, "steps": 32}, "collect": {"num_seeds": 8, "episodes_per_seed": 4, "num_envs": 16},
        "env": {"id": "etude/Reach-v0"}, "label": {"by": "detector" if poison == "detector" else "env"},
        "tune": {"batch_size": 32, "epochs": 2, "learning_rate": 3e-4},
        "evaluate": {"gate_episodes": 12, "test_episodes": 2, "gate_alpha": 1.0},
    })  # fmt: skip
    session = Session(Run(tmp_path / "run", config).begin())
    run = session.run
    # The base model passes this task, and would be the champion: the gate of the warm start is left out.
    monkeypatch.setattr("agent.improve.gate_warm_start", lambda session, base, warm, track: warm)
    first = lambda: not (run.cycle(1).folder / "cycle.json").exists()  # noqa: E731

    def poisoned(place: str, sick: Any) -> None:
        module, name = place.rsplit(".", 1)
        well = getattr(__import__(module, fromlist=[name]), name)
        monkeypatch.setattr(place, lambda *given, **named: (sick if first() else well)(*given, **named))

    if poison == "labels":
        poisoned("agent.label.stage.as_scored", lambda run, cycle, episodes: [replace(e, **_flipped(e)) for e in episodes])
    elif poison == "detector":
        for place in ("agent.label.stage.detect", "agent.label.base_detector.detect"):  # of episodes, and of demonstrations
            poisoned(place, lambda policy, episodes, *rest, **named: [np.full(len(e) + 1, 0.99) for e in episodes])
    else:
        from agent.learning import trainer

        well = trainer.train

        def hot(policy: Any, training_data: Any, given: Any, **named: Any) -> Any:
            rate = 30 * given.learning_rate if first() and named["seed"][-1] else given.learning_rate
            return well(policy, training_data, given.model_copy(update={"learning_rate": rate}), **named)

        monkeypatch.setattr(trainer, "train", hot)
    track = Track(run.folder, config)
    improve(session, track)
    track.close()
    results = run.results()
    names = {"labels": "labels contradict rewards", "detector": "the detector cannot tell a success", "rate": "too far|collapsed|unlearnt|not finite"}
    assert any(name in alarm for alarm in results[0]["alarms"] for name in names[poison].split("|"))
    assert not results[0]["promoted"] and results[0]["champion"] == load(run.folder / "start" / "tune.json")["policy"]
    assert "won" in results[1] and not [alarm for alarm in results[1]["alarms"] if "exploration" not in alarm], "the clean cycle sat its evaluation"
    assert results[1]["gate_gain"] > -0.2
    session.close()
