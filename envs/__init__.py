"""The stage: our own MuJoCo tasks, registered with Gymnasium under `etude/`, and how any other environment is found."""

import gymnasium
from pydantic import BaseModel, ConfigDict, Field

from envs.values import Value

# Each task is entered here and nowhere else: the name of its class in the module of that name, and its horizon.
HORIZONS = {"Reach": 24, "Push": 60, "Press": 32, "Lift": 40, "Place": 64, "Slide": 40, "Turn": 40, "Stack": 64}  # control steps of 0.05 s
TASKS = tuple(f"etude/{name}-v0" for name in HORIZONS)
PRETRAINED = TASKS  # the tasks that the embedded model learned to see when it was made

for _name, _horizon in HORIZONS.items():
    gymnasium.register(f"etude/{_name}-v0", entry_point=f"envs.tasks.{_name.lower()}:{_name}", max_episode_steps=_horizon)


class EnvConfig(BaseModel):
    """Which environment, and how the policy sees it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = "etude/Reach-v0"
    """A Gymnasium id (`etude tasks` lists our own), `module:Id`, `path/to/file.py:factory`, or a name from the entry-point group `etude.envs`."""
    name: str = ""
    """What it is called in records, exams and reports; empty: its id. Needed where a run has two environments of one id."""
    weight: float = Field(default=1.0, gt=0)
    """Its share of demonstrations, practice and exams, where a run has several environments."""
    expert: str = ""
    """Who demonstrates here, where that is not `demonstrate.expert`."""
    kwargs: dict[str, Value] = {}
    """Passed to the environment's constructor."""
    attributes: dict[str, Value] = {}
    """Set on the environment itself once it is made, where its constructor has no argument for it (Meta-World: `seeded_rand_vec: true`)."""
    horizon: int | None = Field(default=None, ge=1)
    """Environment steps after which an episode is truncated; null: the environment's own limit."""
    cameras: tuple[str, ...] = ()
    """Frames, in the order in which the policy sees them: names of MuJoCo cameras, keys of the observation that hold pictures (`pixels.top`), or
    `render` for the environment's own `render()`. Empty: `front` and `wrist` for our own tasks, `render` for others."""
    size: int = Field(default=64, ge=8)
    """Height and width of a frame, pixels. The embedded model wants 64."""
    action_repeat: int = Field(default=4, ge=1)
    """Environment steps that each action is held for; more makes decisions fewer, and credit sharper."""
    action_bounds: tuple[float, float] | None = None
    """Low and high of every action, where the environment's own box is infinite or wider than is useful; null: its own."""
    history: int = Field(default=1, ge=1)
    """Moments that the policy sees at once, the present one and those at its last decisions."""
    instruction: str | tuple[str, ...] = ""
    """What to do, in words; `{name}` is replaced by what `info`, the observation or the environment has under that name; one of a list is drawn by
    seed. Empty: the environment says it (`instruction`, `mission` or `task_description`)."""
    success: str = ""
    """Key of `info`, or expression over info, observation, reward and total_reward (`info["distance"] < 0.05`). Empty: is_success, success, won."""
    timeout: float = Field(default=0, ge=0)
    """Seconds that a reset, a decision's steps or the expert's thought may take. With a limit, environments live in a process of their own, and so
    does whoever demonstrates: what hangs or crashes costs its episode, not the run. 0: no limit, in this process, which is a little faster."""
    until_success: bool = True
    """End an episode at its first success, also where the environment goes on. Without it an episode goes on, unless the environment itself ends it
    there; one that has an attribute of this name, as our own tasks have, is told by it."""
    state: str = ""
    """Key of the observation with proprioception, recorded with episodes (`observation`, `agent_pos`). Empty: `state`, if there is one."""

    @property
    def title(self) -> str:
        """Return what it is called."""
        return self.name or self.id

    @property
    def sources(self) -> tuple[str, ...]:
        """Return `cameras`, or what stands for them when there are none."""
        return self.cameras or (("front", "wrist") if self.id in TASKS else ("render",))

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Return a name for each of the F frames of a moment: 'front', and 'front_1' for one decision ago."""
        ages = range(self.history - 1, -1, -1)
        return tuple(f"{name}_{age}" if age else name for age in ages for name in self.sources)
