"""Push: the script recovers from disturbances, and the reward shows the way round a block that stands in the way."""

from typing import Any

import numpy as np

from envs import EnvConfig
from envs.adapt import Adapter
from envs.tasks.push import HIGH, LOW

CONFIG = EnvConfig(id="etude/Push-v0")


def test_the_script_recovers_from_disturbances() -> None:
    """Demonstrations are disturbed so that they show recovery; a script that dithered above the block lost a third of them."""
    adapter, rng, won = Adapter(CONFIG), np.random.default_rng(0), 0
    for seed in range(50):
        adapter.reset(49_600_000 + seed, look=False)
        while True:
            action = np.clip(adapter.oracle() + rng.normal(0, 0.15, 3), -1, 1).astype(np.float32)
            outcome = adapter.step(action[None], look=False)
            if outcome.success or outcome.terminated or outcome.truncated:
                break
        won += outcome.success
    assert won >= 46


def test_far_from_its_place_the_tool_is_better_high_and_near_it_low() -> None:
    adapter = Adapter(CONFIG)
    for seed in range(10):
        adapter.reset(seed, look=False)
        push: Any = adapter.env.unwrapped

        def reward(place: np.ndarray, push: Any = push) -> float:
            push.tool = lambda: place
            return push.reward()

        behind, far = push._behind(), push._behind() + np.array([0.12, 0.0])
        assert reward(np.array([*far, HIGH])) > reward(np.array([*far, LOW])) + 0.01
        assert reward(np.array([*behind, LOW])) > reward(np.array([*behind, HIGH])) + 0.01
        heights = [reward(np.array([*(behind + np.array([aside, 0.0])), HIGH])) for aside in np.linspace(0.06, 0.2, 15)]
        assert heights == sorted(heights, reverse=True), "above the blocks, nearer is better"
