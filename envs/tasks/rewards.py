"""Reward shaping of our tasks, in [0, 1], as in the DeepMind Control Suite (arXiv 1801.00690, section 2)."""

import numpy as np


def tolerance(x: float, bounds: tuple[float, float], margin: float) -> float:
    """Return 1 if `x` is within `bounds`, and a Gaussian outside, which is 0.1 at the distance `margin` from the nearer bound.

    Args:
        x: the measured value.
        bounds: low and high, in the unit of `x`; either may be infinite.
        margin: positive, in the unit of `x`.
    """
    assert margin > 0, f"margin should be positive, got {margin}"
    low, high = bounds
    outside = max(low - x, x - high, 0.0) / margin
    return float(np.exp(-2.302585 * outside**2))  # ln 10


def proximity(offset: np.ndarray) -> float:
    """Return 1 if `offset`, float64[3], metres, is shorter than 3 mm, and less if it is longer.

    It is the mean of a wide Gaussian and a narrow one. The wide one alone is so flat near its top that the last centimetres would hardly count.
    """
    distance = float(np.linalg.norm(offset))
    return 0.5 * tolerance(distance, (0, 0.003), margin=0.25) + 0.5 * tolerance(distance, (0, 0.003), margin=0.06)
