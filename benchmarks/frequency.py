"""Are frequencies worth more than held actions? What an oracle's actions lose in three codecs with equally many tokens (FAST, arXiv 2501.09747).

    python benchmarks/frequency.py etude/Slide-v0 etude/Lift-v0 etude/Place-v0

Each chunk has eight environment steps. With K tokens a dimension it is written as K held actions, or as its first K cosine coefficients, each in 33
bins. FAST's byte-pair merges come after that and are not measured: they save tokens where neighbouring coefficients are mostly zero.
"""

import numpy as np
import tyro
from scipy.fft import dct, idct

from agent.records import SEEDS
from envs import EnvConfig
from envs.adapt import Adapter

STEPS, BINS = 8, 33
EPISODES = 20


def chunks(task: str) -> np.ndarray:
    """Return float[N, 8, A]: an oracle's actions as shares of the box from -1 to 1, one an environment step, in chunks."""
    adapter = Adapter(EnvConfig(id=task, action_repeat=1))
    middle, half = (adapter.actions.high + adapter.actions.low) / 2, (adapter.actions.high - adapter.actions.low) / 2
    found = []
    for seed in range(EPISODES):
        adapter.reset(SEEDS["demonstrations"] + seed, look=False)
        taken, ended = [], False
        while not ended:
            action = np.clip(adapter.oracle(), adapter.actions.low, adapter.actions.high)
            taken.append((action - middle) / half)
            outcome = adapter.step(action[None].astype(np.float32), look=False)
            ended = outcome.terminated or outcome.truncated or outcome.success_at_end
        whole = np.pad(np.stack(taken), ((0, -len(taken) % STEPS), (0, 0)), mode="edge")
        found.append(whole.reshape(-1, STEPS, whole.shape[1]))
    return np.concatenate(found)


def binned(values: np.ndarray, reach: np.ndarray | float = 1.0) -> np.ndarray:
    """Return values rounded to the nearest of 33 numbers from -reach to reach."""
    return np.rint((np.clip(values / reach, -1, 1) + 1) / 2 * (BINS - 1)) / (BINS - 1) * 2 * reach - reach


def losses(chunks_NHA: np.ndarray, count: int) -> tuple[float, float, float]:
    """Return the root mean square error of `count` tokens a dimension: first actions held, mean actions held, and cosine coefficients."""
    hold, width = STEPS // count, chunks_NHA.shape[2]
    first = chunks_NHA[:, ::hold].repeat(hold, 1)
    mean = chunks_NHA.reshape(-1, count, hold, width).mean(2).repeat(hold, 1)
    waves: np.ndarray = np.asarray(dct(chunks_NHA, axis=1, norm="ortho"))
    reach = np.quantile(np.abs(waves), 0.99, axis=0) + 1e-9  # of each coefficient, so that bins are as fine as they can be
    kept = np.zeros_like(waves)
    kept[:, :count] = binned(waves[:, :count], reach[:count])
    written = (binned(first), binned(mean), idct(kept, axis=1, norm="ortho"))
    first_error, mean_error, wave_error = (float(np.sqrt(np.mean((each - chunks_NHA) ** 2))) for each in written)
    return first_error, mean_error, wave_error


def main(tasks: tyro.conf.Positional[tuple[str, ...]]) -> None:
    """Print a table.

    Args:
        tasks: ids of environments with an oracle.
    """
    print("| task | tokens a dimension | first action held | mean action held | cosine coefficients |\n|---|---|---|---|---|")
    for task in tasks:
        own = chunks(task)
        for count in (1, 2, 4, 8):
            print(f"| {task} | {count} | {' | '.join(f'{error:.3f}' for error in losses(own, count))} |")


if __name__ == "__main__":
    tyro.cli(main)
