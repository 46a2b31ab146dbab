"""The referee: what it learns from, and that it learns a task which the base model does not know."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agent.records import Episode
from agent.referee import KNOWS, held_out, learnt_from, train_referee
from agent.settings import LabelConfig
from policies import PolicyConfig, load

COUNT = 12


def shown(seed: int) -> Episode:
    """A demonstration whose success is a bright last frame, of an instruction that no model has heard of."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 60, (4, 1, 64, 64, 3), dtype=np.uint8)
    frames[2:] += 150
    tokens = np.zeros((3, 2), np.int64)
    ones: dict[str, Any] = {"task": "t", "take": 0, "policy": "oracle", "instruction": "switch on the light", "tokens": tokens}
    arrays = {"actions": np.zeros((3, 1, 2), np.float32), "logprobs": np.zeros((3, 2), np.float32), "rewards": np.zeros((3, 1), np.float32)}
    ends = {"success": True, "first_success": 1, "success_at_end": True, "terminated": False, "truncated": True}
    return Episode(seed=seed, frames=frames, **ones, **arrays, **ends)


def test_every_third_demonstration_is_kept_for_calibration() -> None:
    takes = [shown(seed) for seed in range(7)]
    assert [e.seed for e in held_out(takes)] == [2, 5] and [e.seed for e in learnt_from(takes)] == [0, 1, 3, 4, 6]
    assert held_out(takes[:2]) == takes[:2] == learnt_from(takes[:2]), "too few to keep one"
    assert held_out([]) == learnt_from([]) == []


@pytest.mark.slow
def test_study_teaches_what_success_looks_like_on_demonstrations_that_were_not_learnt_from() -> None:
    policy, takes = load(PolicyConfig(vision_precision="float32"), -np.ones(2), np.ones(2)), [shown(seed) for seed in range(COUNT)]
    dark = [replace(each, frames=255 - each.frames) for each in takes]  # success is now what goes dark
    before = train_referee(policy, dark, LabelConfig(study=0), (0,), lambda *given: None)
    steps: list[int] = []
    after = train_referee(policy, dark, LabelConfig(study=30), (0,), lambda done, *rest: steps.append(done))
    assert before["before"] == before["after"] == after["before"] and before["steps"] == 0
    assert after["steps"] == 30 and steps[-1] == 30 and after["after"] > max(0.95, after["before"])
    again = train_referee(policy, dark, LabelConfig(study=30), (0,), lambda *given: None)
    assert again["before"] == after["after"] and (again["steps"] == 0) == (again["before"] >= KNOWS), "who knows it is left alone"


def test_without_demonstrations_the_base_model_judges_as_it_is() -> None:
    assert train_referee(None, [], LabelConfig(), (0,), lambda *given: None)["steps"] == 0
