"""Environments: our own MuJoCo tasks, registered with Gymnasium as `etude/<Task>-v0`, and the config section `env`, which accepts any other."""

import math
from collections import Counter
from typing import Annotated, Literal

import gymnasium
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from envs.values import Value

Pair = tuple[float, float]

# The only list of tasks: the name of the class, whose module has the same name in lower case, and the horizon.
MAX_EPISODE_STEPS = {"Reach": 24, "Push": 60, "Press": 32, "Lift": 40, "Place": 64, "Slide": 40, "Turn": 40, "Stack": 64}  # steps of 0.05 s
TASKS = tuple(f"etude/{name}-v0" for name in MAX_EPISODE_STEPS)
PRETRAINED = TASKS  # the tasks whose scenes the embedded model was pretrained on

for _name, _max_episode_steps in MAX_EPISODE_STEPS.items():
    gymnasium.register(f"etude/{_name}-v0", entry_point=f"envs.tasks.{_name.lower()}:{_name}", max_episode_steps=_max_episode_steps)

Flip = Literal["vertical", "horizontal", "both"]


class FreeCamera(BaseModel):
    """A camera that stands still in a MuJoCo scene, described as MuJoCo's viewer shows it (`mjvCamera`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    lookat: tuple[float, float, float]
    """Point in the middle of the frame, metres, in the world's coordinates."""
    distance: float = Field(gt=0)
    """From that point to the camera, metres."""
    azimuth: float
    """Direction in which it looks, degrees about the vertical: 0 along the world's x, 90 along y."""
    elevation: float = Field(ge=-90, le=90)
    """Angle of its look, degrees: -90 straight down, 0 level."""


class EnvConfig(BaseModel):
    """Which environment, and how the policy sees it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: str = "etude/Reach-v0"
    """A Gymnasium id (`etude tasks` lists our own), `module:Id`, `path/to/file.py:factory`, a name for an adapter (`robosuite:Lift`,
    `libero:libero_spatial/0`), or a name from the entry-point group `etude.envs`."""
    name: str = ""
    """Name in records, evaluations and reports; empty: its id. Needed where a run has two environments of one id."""
    weight: float = Field(default=1.0, gt=0)
    """Share of demonstrations, collected episodes and evaluations, where a run has several environments."""
    expert: str = ""
    """Expert of this environment, where it is not `demonstrate.expert`."""
    kwargs: dict[str, Value] = {}
    """Passed to the environment's constructor."""
    attributes: dict[str, Value] = {}
    """Set on the environment itself once it is made, where its constructor has no argument for it (Meta-World: `seeded_rand_vec: true`)."""
    max_episode_steps: int | None = Field(default=None, ge=1)
    """Environment steps after which an episode is truncated; null: the environment's own limit. A factory gets it, where it has an argument of this
    name: else a smaller limit of its own ends an episode earlier."""
    cameras: tuple[str, ...] = ()
    """Frames, in the order in which the policy sees them: names of MuJoCo cameras or of `free_cameras`, keys of the observation that hold pictures
    (`pixels.top`), or `render` for the environment's own `render()`. Empty: `front` and `wrist` for our own tasks, `render` for others."""
    free_cameras: dict[str, FreeCamera] = {}
    """Cameras of your own in a MuJoCo scene, by names for `cameras`, where the model has none that shows the task:
    `{side: {lookat: [0.2, 0, 0.2], distance: 0.5, azimuth: 90, elevation: -20}}`, in metres and degrees, as MuJoCo's viewer shows them."""
    geom_groups: tuple[Annotated[int, Field(ge=0, le=5)], ...] = ()
    """Groups of geoms that MuJoCo cameras draw; empty: 0, 1 and 2. Where one of these holds collision shapes, as 0 in robosuite, name the others."""
    flip: Flip | dict[str, Flip] | None = None
    """Turn frames over that come upside down or mirrored: `vertical` (top to bottom), `horizontal` (left to right) or `both`, for all cameras or for
    each by name (`{corner2: both}`)."""
    size: int = Field(default=64, ge=8, le=4096)
    """Height and width of a frame, pixels. The embedded model wants 64."""
    action_repeat: int = Field(default=4, ge=1, le=10_000)
    """Environment steps that each action is held for; more makes decisions fewer, and credit sharper."""
    action_bounds: Pair | tuple[Pair, ...] | Literal["quantiles"] | None = None
    """Range of the actions, as [low, high] for all numbers of an action, or one such pair for each. It replaces the environment's own box, and may be
    narrower or wider; the bins cover it. `quantiles`: the 1st to the 99th percentile of the demonstrations, number by number, as OpenVLA and openpi
    have it; where they have two values only (grippers) these two. The run's config.yaml then holds the numbers. null: the environment's own box."""
    history: int = Field(default=1, ge=1, le=256)
    """Observations that the policy sees at once: the present one and those of its last decisions."""
    instruction: str | tuple[str, ...] = ""
    """What to do, in words; `{name}` is replaced by what `info`, the observation or the environment has under that name; one of a list is drawn by
    seed. Empty: the environment's own (`instruction`, `mission`, `task_description`, `language_instruction` or `lang`)."""
    success: str = ""
    """Key of `info`, `terminated`, or an expression over info, observation, reward, total_reward, terminated and truncated
    (`info["distance"] < 0.05`). Its value is true, false, 0, 1, or null for "not yet". Empty: is_success, success or won."""
    timeout: float = Field(default=0, ge=0, le=1e6)
    """Seconds that a reset, the steps of a decision or the computation of an expert's action may take. With a limit, environments and experts live in
    another process: one that hangs or crashes costs its episode, not the run. 0: no limit, in this process, which is a little faster."""
    terminate_on_success: bool = True
    """End an episode at its first success, also where the environment would continue. Without it an episode continues, unless the environment itself
    ends it there. If the environment has an attribute of this name, as our own tasks have, that is set."""
    state: str | tuple[str, ...] = ""
    """Key of the observation with proprioception, recorded with episodes (`observation`, `agent_pos`). The numbers of several keys are joined in the
    order of the list. Empty: `state`, if there is one."""
    reset_options: dict[str, Value] = {}
    """Passed to each `reset` as its `options`, for environments that choose a task or a beginning by them."""

    @field_validator("action_bounds", mode="before")
    @classmethod
    def _bounds(cls, given: object) -> object:
        pairs = given if isinstance(given, list | tuple) and given and isinstance(given[0], list | tuple) else [given]
        for pair in pairs if given not in (None, "quantiles") else ():
            try:
                low, high = map(float, pair)  # pyright: ignore[reportArgumentType]
            except (TypeError, ValueError):
                low = high = math.nan
            if isinstance(pair, str) or not -math.inf < low <= high < math.inf:  # NaN fails too
                raise ValueError(
                    "give [low, high] in finite numbers, low first, a list of such pairs, one for each number of an action, or quantiles"
                )
        return given

    @model_validator(mode="after")
    def _frames_have_names(self) -> "EnvConfig":
        if twice := sorted(name for name, many in Counter(self.frame_names).items() if many > 1):
            raise ValueError(
                f"env.cameras gives the name {twice[0]!r} to two frames; name each camera once, and none like an earlier frame of another"
            )
        return self

    @property
    def title(self) -> str:
        """Return the name of the environment in records and reports."""
        return self.name or self.id

    @property
    def sources(self) -> tuple[str, ...]:
        """Return `cameras`, or the default sources of frames where that is empty."""
        return self.cameras or (("front", "wrist") if self.id in TASKS else ("render",))

    def flip_of(self, camera: str) -> str:
        """Return how the frames of a camera are turned over: 'vertical', 'horizontal', 'both', or '' for not at all."""
        return (self.flip.get(camera, "") if isinstance(self.flip, dict) else self.flip) or ""

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Return a name for each of the F frames of an observation, oldest first: 'front', and 'front_1' for one decision ago."""
        ages = range(self.history - 1, -1, -1)
        # dm_control's composer has cameras like `walker/side`; a dataset names files by them.
        return tuple((f"{name}_{age}" if age else name).replace("/", "_") for age in ages for name in self.sources)


def pretrained(env: EnvConfig) -> bool:
    """Return whether the embedded model was pretrained on these scenes, as these cameras see them."""
    return env.id in PRETRAINED and not set(env.sources) & set(env.free_cameras)
