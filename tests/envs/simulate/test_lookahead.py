"""Looking ahead tells what will be, and changes nothing."""

from typing import Any

import numpy as np
import pytest

from envs.adapt import Adapter, EnvConfig
from envs.simulate.lookahead import appraise, blend, try_candidates


@pytest.mark.parametrize("task", ["etude/Reach-v0", "etude/Push-v0", "etude/Lift-v0"])
def test_foresight_is_what_happens_and_leaves_the_moment_as_it_was(task: str) -> None:
    adapter, other, rng = Adapter(EnvConfig(id=task)), Adapter(EnvConfig(id=task)), np.random.default_rng(0)
    candidates = list(rng.uniform(-1, 1, (4, 1, len(adapter.actions))).astype(np.float32))
    for each in (adapter, other):
        each.reset(48_000_000)
        each.step(candidates[0])
    rewards, ends = try_candidates(adapter, candidates)
    assert len(set(rewards.tolist())) > 1 and len(ends) == 4
    for i in (3, 1):
        happened, untouched = adapter.step(candidates[i]), other.step(candidates[i])
        np.testing.assert_array_equal(happened.observation.frames, untouched.observation.frames)
        np.testing.assert_array_equal(happened.rewards, untouched.rewards)
        if i == 3:
            assert rewards[3] == pytest.approx(float(np.mean(happened.rewards))), "all of the way counts"


def test_an_error_in_what_was_only_tried_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, step = Adapter(EnvConfig()), Adapter.step
    adapter.reset(48_000_000)
    before = adapter.observe().frames

    def fragile(self: Adapter, actions: np.ndarray, look: bool = True) -> Any:
        outcome = step(self, actions, look)
        if actions[0, 0] > 0.5:
            raise RuntimeError("out of reach")
        return outcome

    monkeypatch.setattr(Adapter, "step", fragile)
    rewards, ends = try_candidates(adapter, [np.full((1, 3), value, np.float32) for value in (0.9, 0.1)])
    assert np.isneginf(rewards[0]) and np.isfinite(rewards[1]) and not ends.any()
    np.testing.assert_array_equal(adapter.observe().frames, before)


def test_a_success_is_foreseen() -> None:
    adapter = Adapter(EnvConfig())
    adapter.reset(48_000_001)
    while True:
        action = adapter.oracle()[None]
        (reward,), (end,) = try_candidates(adapter, [action])
        outcome = adapter.step(action)
        assert reward == pytest.approx(np.nanmean(outcome.rewards)) and end == int(outcome.success)
        if outcome.success:
            return


def test_what_succeeds_is_worth_most_and_what_ends_in_vain_least_on_any_scale() -> None:
    rewards, ends = np.array([0.3, 0.9, 0.2, 0.7, -np.inf]), np.array([1, 0, 0, -1, 0])
    worth, span, spread = appraise(rewards, ends)
    assert worth.argmax() == 0 and worth.tolist()[4] == -np.inf and worth[:4].argmin() == 3 and span == pytest.approx(0.7)
    larger, _, wider = appraise(128 * rewards - 64, ends)
    np.testing.assert_allclose((larger - larger.max())[:4] / wider, (worth - worth.max())[:4] / spread)
    assert appraise(np.full(3, -1.0), np.array([0, 1, 0]))[0].tolist() == [-1, 0, -1], "also where the reward never changes"
    assert appraise(np.full(3, -1.0), np.zeros(3, int))[2] == appraise(np.full(3, -np.inf), np.zeros(3, int))[2] == 0, "nothing to choose between"


def test_a_blend_is_near_the_best_and_takes_discrete_numbers_from_it() -> None:
    candidates = [np.array([[x, k]], np.float32) for x, k in ((0.5, 2), (0.4, 0), (-0.9, 1))]
    mixed = blend(candidates, np.array([1.0, 0.99, 0.0]), 0.4, np.array([0, 3]))
    assert 0.4 < mixed[0, 0] < 0.5 and mixed[0, 1] == 2
