"""Going back: two futures of one moment are the same, bit by bit, if the same is done."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from envs import TASKS, EnvConfig
from envs.adapt import Adapter
from envs.replay import prove, replay, restore, snapshot

MUJOCO = ["Reacher-v5", "Pusher-v5", "HalfCheetah-v5"]


def adapter_of(name: str) -> Adapter:
    if name in TASKS:
        return Adapter(EnvConfig(id=name, size=32))
    kwargs = {"width": 48, "height": 48}
    return Adapter(EnvConfig(id=name, kwargs=kwargs, success="reward > 99", size=32, action_repeat=2))


@pytest.mark.parametrize("name", [*TASKS, *MUJOCO])
def test_both_ways_are_exact_on_mujoco(name: str) -> None:
    proofs = prove(adapter_of(name), range(60_000_000, 60_000_008), np.random.default_rng(0))
    assert proofs["snapshot"].exact, proofs
    assert proofs["replay"].exact, proofs


def test_a_snapshot_can_be_used_again_and_elsewhere() -> None:
    one, other, still = adapter_of(TASKS[1]), adapter_of(TASKS[1]), np.zeros((1, 3))
    one.reset(5)
    one.step(np.ones((1, 3)))
    moment = snapshot(one)
    expected = one.step(still).observation.frames
    for _ in range(2):
        one.step(-np.ones((1, 3)))
        restore(one, moment)
        np.testing.assert_array_equal(one.step(still).observation.frames, expected)
    other.reset(6)
    restore(other, moment)
    np.testing.assert_array_equal(other.step(still).observation.frames, expected)


def test_the_time_limit_goes_back_too() -> None:
    adapter = adapter_of("etude/Reach-v0")
    adapter.reset(0)
    moment = snapshot(adapter)
    counts = []
    for _ in range(2):
        restore(adapter, moment)
        counts.append(0)
        while not adapter.step(np.zeros((1, 3))).truncated:
            counts[-1] += 1
    assert counts == [5, 5]


class Diced(gymnasium.Env):
    """Draws from its own generator, from a helper's, and (if it cheats) from one that no reset seeds."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    observation_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)
    fate = np.random.default_rng(0)

    def __init__(self, cheats: bool = False, render_mode: str | None = None) -> None:
        self.cheats, self.render_mode = cheats, render_mode
        self.helper = {"dice": np.random.default_rng(0), "thrown": []}

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.helper = {"dice": np.random.default_rng(seed), "thrown": []}
        return self._see(), {"success": False}

    def step(self, action: int):
        self.helper["thrown"].append(int(self.helper["dice"].integers(256)))
        return self._see(), float(self.np_random.random()), False, False, {"success": False}

    def _see(self) -> np.ndarray:
        extra = type(self).fate.integers(256) if self.cheats else 0
        return np.full((16, 16, 3), (sum(self.helper["thrown"]) + extra) % 256, np.uint8)


def test_generators_and_helpers_go_back_without_mujoco() -> None:
    gymnasium.register("Diced-v0", entry_point=Diced, disable_env_checker=True)
    try:
        honest = Adapter(EnvConfig(id="Diced-v0", cameras=("observation",), size=16))
        assert all(proof.exact for proof in prove(honest, range(5), np.random.default_rng(0)).values())
        cheat = Adapter(EnvConfig(id="Diced-v0", kwargs={"cheats": True}, cameras=("observation",), size=16))
        proofs = prove(cheat, range(5), np.random.default_rng(0))
        assert not proofs["snapshot"].exact and "frames differ at seed 0" in proofs["replay"].difference
    finally:
        del gymnasium.registry["Diced-v0"]


def test_replay_shows_the_history_that_was_seen() -> None:
    adapter = Adapter(EnvConfig(history=3, size=32))
    adapter.reset(3)
    opening = [np.full((1, 3), value, np.float32) for value in (0.5, -0.5, 0.2, 0.3)]
    expected = [adapter.step(actions) for actions in opening][-1].observation.frames
    replay(adapter, 3, opening)
    np.testing.assert_array_equal(adapter._seen.frames, expected)
