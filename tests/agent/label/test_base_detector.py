"""The base-model detector: what it learns from, and that it learns a task which the base model does not know."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agent.config.keys import LabelConfig
from agent.label.base_detector import KNOWN_AUROC, demonstration_figures, held_out, measured_part, teach_base_detector, training_part
from agent.records import Episode
from policies import PolicyConfig, load

COUNT = 12


def shown(seed: int, success: bool = True) -> Episode:
    """A demonstration that leaves the light on after its second decision, or does not; of one of two instructions that no model has heard of."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 60, (4, 1, 64, 64, 3), dtype=np.uint8)
    frames[2:] += 150 * success
    tokens, words = np.zeros((3, 2), np.int64), ("switch on the light", "leave the room")[seed % 2]
    ones: dict[str, Any] = {"task": "t", "attempt": 0, "policy": "oracle", "instruction": words, "tokens": tokens}
    arrays = {"actions": np.zeros((3, 1, 2), np.float32), "logprobs": np.zeros((3, 2), np.float32), "rewards": np.zeros((3, 1), np.float32)}
    ends = {"success": success, "first_success": 1 if success else None, "success_at_end": success, "terminated": False, "truncated": True}
    return Episode(seed=seed, frames=frames, **ones, **arrays, **ends)


def test_every_third_success_and_failure_is_kept_for_calibration() -> None:
    attempts = [shown(seed, success=seed % 4 != 3) for seed in range(14)]  # 3, 7 and 11 fail
    assert [e.seed for e in held_out(attempts)] == [2, 6, 10, 11]
    assert [e.seed for e in training_part(attempts)] == [0, 1, 3, 4, 5, 7, 8, 9, 12, 13]
    few = [shown(0), shown(1, success=False), shown(2, success=False), shown(3), shown(4, success=False)]
    assert held_out(few) == few == training_part(few), "too few successes to keep one"
    assert held_out([]) == training_part([]) == []


def test_a_rare_success_is_among_the_few_that_a_detector_is_measured_on() -> None:
    attempts = [shown(seed, success=seed == 7) for seed in range(205)]  # of which every third is taken
    assert [e.seed for e in measured_part(attempts) if e.success] == [7] and len(measured_part(attempts)) == 70
    assert [e.seed for e in measured_part([shown(seed) for seed in range(205)])] == list(range(0, 205, 3))


@pytest.fixture
def base() -> Any:
    return load(PolicyConfig(precision="float32"), -np.ones(2), np.ones(2))


@pytest.mark.slow
def test_training_teaches_what_success_looks_like_on_demonstrations_that_were_held_out(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dark = [shown(seed, success=seed % 4 != 3) for seed in range(COUNT)]
    dark = [replace(each, frames=255 - each.frames) for each in dark]  # success is now what goes dark
    monkeypatch.setattr("agent.label.base_detector.STEPS", 0)
    before = teach_base_detector(base, dark, LabelConfig(), (0,), lambda *given: None)
    monkeypatch.setattr("agent.label.base_detector.STEPS", 30)
    steps: list[int] = []
    after = teach_base_detector(base, dark, LabelConfig(), (0,), lambda done, *rest: steps.append(done))
    assert before["before"] == before["after"] == after["before"] < KNOWN_AUROC and before["steps"] == 0
    assert after["steps"] == 30 and steps[-1] == 30 and after["after"] > 0.95
    again = teach_base_detector(base, dark, LabelConfig(), (0,), lambda *given: None)
    assert again == {"before": after["after"], "after": after["after"], "steps": 0}, "a model that knows is left alone"


def test_who_knows_less_after_study_is_put_back(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known = iter([0.7, 0.6])
    monkeypatch.setattr("agent.label.base_detector.demonstration_figures", lambda ends: {"demonstration_auroc": next(known)})
    weights, attempts = base.weights(), [shown(seed) for seed in range(3)]
    assert teach_base_detector(base, attempts, LabelConfig(), (0,), lambda *given: None) == {"before": 0.7, "after": 0.6, "steps": 0}
    assert all((base.weights()[name] == value).all() for name, value in weights.items())


def test_where_no_demonstration_succeeds_the_base_model_judges_as_it_is(base: Any) -> None:
    for attempts in ([], [shown(seed, success=False) for seed in range(4)]):
        assert teach_base_detector(base, attempts, LabelConfig(), (0,), lambda *given: None) == {"steps": 0}


def test_who_rates_failures_above_successes_is_known_by_it() -> None:
    scores, ends = np.array([0.9, 0.8, 0.1, 0.2]), np.array([False, False, True, True])
    assert demonstration_figures((scores, ends)) == {"demonstration_auroc": 0.0} and demonstration_figures((1 - scores, ends)) == {
        "demonstration_auroc": 1.0
    }
    assert demonstration_figures((scores, np.zeros(4, bool))) == {}
