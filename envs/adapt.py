"""Any Gymnasium environment -> frames, instruction, state, success: one shape of observation for every policy."""

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from envs import EnvConfig
from envs.faults import NoExpert, in_words
from envs.frames import lookup, picture, pictures
from envs.limits import LONGEST, time_limit
from envs.make import make
from envs.moments import Observation, Outcome
from envs.rate import ASSUMED, control_rate
from envs.simulate import render
from envs.spaces import Actions, state_size
from envs.success import Success
from envs.words import instruction

LARGEST = 1e18  # a reward in size: sums and squares of such numbers are still numbers in float32


class Adapter:
    """One environment behind the shape above. It draws only when asked to observe, so a chunk costs one set of frames.

    Raises:
        ValueError: the environment cannot be made, a camera is missing, its actions have no bounds, or no success is reported.
    """

    def __init__(self, config: EnvConfig) -> None:
        self.config, self.env = config, make(config)
        self.model: Any = None
        self._view, self._source = None, ""
        try:
            for name in ("action_space", "observation_space"):
                if not isinstance(space := getattr(self.env, name, None), gymnasium.Space):
                    raise ValueError(f"its {name} is {space!r}; it should be a gymnasium.Space.")
            self.actions, self._succeeded = Actions(self.env.action_space, config.action_bounds), Success(config.success)
            self._bind()
            self._check_cameras()
            if hasattr(self.env.unwrapped, "until_success"):
                self.env.unwrapped.until_success = config.until_success  # pyright: ignore[reportAttributeAccessIssue]
        except (Exception, SystemExit) as error:  # what it has for spaces and cameras may be anything
            with contextlib.suppress(Exception, SystemExit):
                self.close()
            raise ValueError(f"{config.id}: {error if isinstance(error, ValueError) else in_words(error)}") from error
        self._past: deque[np.ndarray] = deque(maxlen=config.history)
        self._seen: Observation | None = None
        self.state_size = state_size(self.env.observation_space, config.state)  # 0: unknown, or there is none
        self.limit = config.horizon or time_limit(self.env)
        """Environment steps after which an episode is truncated; None: nothing says it, and one that lasts longer than `LONGEST` is a fault."""
        self.rate = control_rate(self.env) or ASSUMED
        """Environment steps a second of simulated time."""

    def reset(self, seed: int, look: bool = True) -> Observation:
        """Begin the episode of `seed`; the same seed begins the same episode. Without `look` nothing is drawn, and old frames are returned."""
        seeding = getattr(self.env.unwrapped, "seed", None)
        if callable(seeding):  # the way of old environments; some of them (Meta-World) ignore the seed of `reset`
            seeding(seed)
        self._observation, self._info = self.env.reset(seed=seed)
        self.seed = seed
        self._bind()
        self._total, self._steps = 0.0, 0
        self.instruction = self._instruct(seed)
        self._past.clear()
        self._mark()
        if look or self._seen is None:
            self.observe()
        return self._now

    def step(self, actions: np.ndarray, look: bool = True) -> Outcome:
        """Execute float32[H, A] actions, each `action_repeat` times, up to the episode's end, and only then look.

        Without `look` the old observation stays.
        """
        held = np.repeat(actions, self.config.action_repeat, axis=0)
        rewards, once, now, terminated, truncated = np.full(len(held), np.nan, np.float32), False, False, False, False
        for i, action in enumerate(held):
            rewards[i], terminated, truncated = self.advance(action)
            self._total += float(rewards[i])
            now = self._success(float(rewards[i]))
            once |= now
            terminated |= now and self.config.until_success
            if terminated or truncated:
                break
        self._mark()
        if look:
            self.observe()
        return Outcome(self._now, rewards, once, now, bool(terminated), bool(truncated), self.achieved)

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool]:
        """Execute a float32[A] action for one environment step; return reward, terminated, truncated, as the environment gives them."""
        self._steps += 1
        if self._steps > max(LONGEST, self.limit or 0):
            raise ValueError(f"{self.config.id} did not end this episode within {max(LONGEST, self.limit or 0)} steps; set env.horizon.")
        self._observation, reward, terminated, truncated, info = self.env.step(self.actions.to_env(action))
        if isinstance(ended := info.get("final_info"), dict):  # it has reset itself, and put aside what belongs to the end
            self._observation = info.get("final_obs", info.get("final_observation", self._observation))
        self._info = ended if isinstance(ended, dict) else info
        try:
            earned = float(np.asarray(reward, np.float64).item())
        except (TypeError, ValueError):
            earned = np.nan
        if not abs(earned) <= LARGEST:
            raise ValueError(f"{self.config.id} returned the reward {reward!r}; a reward must be one finite number, of at most {LARGEST:g} in size.")
        return earned, terminated, truncated

    def observe(self) -> Observation:
        """Draw the present moment as the policy sees it; each call is one moment of its history."""
        self._past.append(np.stack([self._frame(name) for name in self.config.sources]))
        while len(self._past) < self.config.history:  # before the beginning nothing moved
            self._past.append(self._past[0])
        self._seen = Observation(np.concatenate(list(self._past)), self.instruction, self._state())
        return self._seen

    @property
    def eyes(self) -> tuple[Any, ...]:
        """Return the MuJoCo camera of each source, a name or an MjvCamera; None where the environment draws that frame itself."""
        return tuple(self._view if name == "render" else name if name in self._drawn else None for name in self.config.sources)

    @property
    def drawn(self) -> bool:
        """Return whether all frames are drawn by MuJoCo cameras, and not by the environment itself."""
        return self.model is not None and None not in self.eyes

    @property
    def raw(self) -> Any:
        """Return the environment's own observation of the present moment."""
        return self._observation

    def film(self, size: int, pretty: bool = False) -> np.ndarray:
        """Return uint8[size, size, 3] of the first camera, for people."""
        self._mark()  # films step the environment themselves
        return self._frame(self.config.sources[0], size, pretty)

    @property
    def achieved(self) -> tuple[str, ...]:
        """Return the instructions that the present state fulfils, where the environment names them."""
        return tuple(self._info.get("achieved", ()))

    def oracle(self) -> np.ndarray:
        """Return the scripted expert's float32[A] action for the present state, to be held for `action_repeat` steps.

        Raises:
            NoExpert: the environment has none.
            ValueError: what it gives is no action.
        """
        inner: Any = self.env.unwrapped
        if not hasattr(inner, "oracle"):
            raise NoExpert(f"{self.config.id} has no scripted oracle to demonstrate with; set demonstrate.episodes to 0.")
        return self.actions.from_env(inner.oracle(self.config.action_repeat))

    def apply(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(adapter, *arguments)`, where the environment lives; see `Remote.apply`."""
        return function(self, *arguments)

    def close(self) -> None:
        """Free the environment."""
        self.env.close()

    @property
    def _now(self) -> Observation:
        return self._seen if self._seen is not None else self.observe()

    # --- frames ----------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        """Find the simulation; some environments make a new one at each reset."""
        model, data = render.mujoco_of(self.env)
        if model is not None and model is not self.model:
            self._view = render.view_of(self.env, model) if "render" in self.config.sources else None
            if "render" in self.config.sources and self._view is None:  # it draws itself: these are read when it makes its renderer
                model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
            own = getattr(self.env.unwrapped, "source", self.config.id)
            self._source = f"{own} {model.ngeom} {render.uploaded(model)}"  # what a camera is made for
        self.model, self.data = model, data

    def _check_cameras(self) -> None:
        cameras = [self.model.camera(i).name for i in range(self.model.ncam)] if self.model is not None else []
        known = [*filter(None, cameras), *pictures(self.env.observation_space), *(["render"] if self.env.render_mode == "rgb_array" else [])]
        for name in self.config.sources:
            if name not in known:
                raise ValueError(f"there is no camera {name!r}; it has {', '.join(map(repr, known)) or 'none'}.")
        self._drawn = set(cameras)

    def _mark(self) -> None:
        """Let Gymnasium-Robotics move its goal markers, as its `render` does.

        It brings the simulation's derived quantities up to date there, which its next step reads (Fetch's mocap), so this is done after every
        decision, looked at or not; the solver's first guess at the next step is kept, so that once is as good as twice.
        """
        before: Any = getattr(self.env.unwrapped, "_render_callback", None)
        if before is not None and self.data is not None:
            guess = self.data.qacc_warmstart.copy()
            before()
            self.data.qacc_warmstart[:] = guess

    def _frame(self, name: str, size: int = 0, pretty: bool = False) -> np.ndarray:
        size = size or self.config.size
        camera = self.eyes[self.config.sources.index(name)]
        if camera is not None:
            return render.camera(self._source, self.model, (size, size), pretty).draw(self.model, self.data, camera)
        try:
            seen: Any = self._observation
            if name == "render":
                seen = self.env.render()
            elif isinstance(seen, dict):
                seen = lookup(seen, name)
            return picture(seen, size)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self.config.id}: camera {name!r} gives no frame: {error}.") from error

    # --- state and success -------------------------------------------------------------------------------------------

    def _instruct(self, seed: int) -> str:
        try:
            return instruction(self.config.instruction, seed, self._info, self._observation, self.env.unwrapped)
        except ValueError as error:
            raise ValueError(f"{self.config.id}: {error}") from error

    def _state(self) -> np.ndarray | None:
        with np.errstate(over="ignore"):  # refused below
            state = self._read_state()
        if state is not None and self.state_size and len(state) != self.state_size:
            raise ValueError(f"{self.config.id}: its state has {len(state)} numbers, and its observation space promises {self.state_size}.")
        if state is not None and not np.isfinite(state).all():
            raise ValueError(f"{self.config.id}: its state holds NaN, or numbers that float32 does not.")
        return state

    def _read_state(self) -> np.ndarray | None:
        name = self.config.state or "state"
        if isinstance(self._observation, dict):
            try:
                return np.array(lookup(self._observation, name), np.float32).reshape(-1)  # a copy: some write into the same buffer
            except KeyError as error:
                if not self.config.state:
                    return None
                keys = ", ".join(map(repr, self._observation))
                raise ValueError(f"{self.config.id}: env.state is {name!r}, and the observation holds {keys}.") from error
        return np.array(self._observation, np.float32).reshape(-1) if self.config.state else None

    def _success(self, reward: float) -> bool:
        try:
            return self._succeeded(self._info, self._observation, reward, self._total)
        except ValueError as error:
            raise ValueError(f"{self.config.id}: {error}") from error
