"""Episodes made by hand."""

import numpy as np

from agent.records import Episode


def episode(seed: int, episode: int, last_rewards: list[float], success: bool, tokens: list[int] | None = None, policy: str = "p") -> Episode:
    """An episode of chunks of two actions; `last_rewards` is the reward after each chunk."""
    count = len(last_rewards)
    written = np.array([[each, 7] for each in tokens or range(episode * 100, episode * 100 + count)], np.int64)
    rewards = np.array([[c / 2, c] for c in last_rewards], np.float32)
    return Episode(
        task="t",
        seed=seed,
        attempt=episode,
        policy=policy,
        instruction="touch the red ball",
        frames=np.zeros((count + 1, 1, 2, 2, 3), np.uint8),
        actions=written[:, :, None].astype(np.float32),
        tokens=written,
        logprobs=np.zeros((count, 2), np.float32),
        rewards=rewards,
        success=success,
        first_success=count - 1 if success else None,
        success_at_end=success,
        terminated=success,
        truncated=not success,
    )
