"""The one shaping primitive of the stage. Reward in [0, 1], as in the DeepMind Control Suite (arXiv 1801.00690, section 2)."""

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
