"""The stage: our own MuJoCo tasks, registered with Gymnasium under `etude/`."""

from typing import Any

import gymnasium
from pydantic import BaseModel, ConfigDict, Field

HORIZONS = {"Reach": 24, "Push": 60, "Press": 32}  # control steps of 0.05 s
TASKS = tuple(f"etude/{name}-v0" for name in HORIZONS)

for _name, _horizon in HORIZONS.items():
    gymnasium.register(f"etude/{_name}-v0", entry_point=f"envs.{_name.lower()}:{_name}", max_episode_steps=_horizon)


class EnvConfig(BaseModel):
    """Which environment, and how the policy sees it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = "etude/Reach-v0"
    """Gymnasium id; `etude tasks` lists our own. `module:Id` imports the module first."""
    kwargs: dict[str, Any] = {}
    """Passed to the environment's constructor."""
    cameras: tuple[str, ...] = Field(default=("front", "wrist"), min_length=1)
    """Named MuJoCo cameras, in the order in which the policy sees their frames."""
    size: int = Field(default=64, ge=8)
    """Height and width of a frame, pixels. The embedded model wants 64."""
    action_repeat: int = Field(default=4, ge=1)
    """Environment steps that each action is held for; more makes decisions fewer, and credit sharper."""
    history: int = Field(default=1, ge=1)
    """Moments that the policy sees at once, the present one and those at its last decisions."""
    instruction: str = ""
    """What to do, in words; empty: the environment says it (`info["instruction"]`)."""

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Return a name for each of the F frames of a moment: 'front', and 'front_1' for one decision ago."""
        ages = range(self.history - 1, -1, -1)
        return tuple(f"{name}_{age}" if age else name for age in ages for name in self.cameras)
