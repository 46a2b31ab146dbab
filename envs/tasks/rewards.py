"""The one shaping primitive of the stage, and its sum. Reward in [0, 1], as in the DeepMind Control Suite (arXiv 1801.00690, section 2)."""

import numpy as np


def tolerance(x: float, bounds: tuple[float, float], margin: float) -> float:
    """Return 1 while `x` lies inside `bounds`, and fall smoothly to 0.1 at a distance of `margin` outside of them.

    The fall is a Gaussian, so the slope is gentle at the bound and at far distance. `x`, `bounds` and `margin` share one
    unit; `margin` must be positive.
    """
    assert margin > 0, f"margin should be positive, got {margin}"
    low, high = bounds
    outside = max(low - x, x - high, 0.0) / margin
    return float(np.exp(-2.302585 * outside**2))


def nearness(way: np.ndarray) -> float:
    """Return 1 where `way`, float64[3] in metres, is shorter than 3 mm, and less where it is longer.

    Half of it falls over decimetres and half over centimetres: a Gaussian for the way from afar is so flat at its top that
    the last centimetres, where the tool goes down to its work, would hardly count.
    """
    distance = float(np.linalg.norm(way))
    return 0.5 * tolerance(distance, (0, 0.003), margin=0.25) + 0.5 * tolerance(distance, (0, 0.003), margin=0.06)
