"""The config of a run with all that is decided before it begins: bounds of actions, and which weights train."""

from pathlib import Path

from agent.config.config import Config
from agent.demonstrate.bounds import settled as settled_bounds
from agent.ground.known import settled_weights


def settled(config: Config, run: Path | None = None) -> Config:
    """Return the config with numbers for `env.action_bounds: quantiles`, and a value for `policy.train: auto`.

    Args:
        config: as the user gave it.
        run: folder of the run, whose own config has both if it exists; None: there is none.

    Raises:
        ValueError: an environment cannot be made, or there are no demonstrations for quantiles.
    """
    return settled_weights(settled_bounds(config, run), run)
