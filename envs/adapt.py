"""Adapts any Gymnasium environment: frames, instruction, state and success in one form for every policy."""

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from envs import EnvConfig
from envs.expert import ask
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

LARGEST = 1e18  # of a reward's absolute value: sums and squares of such numbers are still finite in float32


class Adapter:
    """One environment in the form above. Frames are drawn only when an observation is needed, so a chunk of actions costs one set of frames.

    Args:
        config: the section `env`.

    Raises:
        ValueError: the environment cannot be made, a camera is missing, or its actions have no bounds.
    """

    def __init__(self, config: EnvConfig) -> None:
        self.config, self.env = config, make(config)
        self.model: Any = None
        self._view, self._source = None, ""
        try:
            for name in ("action_space", "observation_space"):
                if not isinstance(space := getattr(self.env, name, None), gymnasium.Space):
                    raise ValueError(f"its {name} is {space!r}; it should be a gymnasium.Space.")
            self.actions, self._success_rule = Actions(self.env.action_space, config.action_bounds), Success(config.success)
            self._find_simulation()
            self._check_cameras()
            if hasattr(self.env.unwrapped, "terminate_on_success"):
                self.env.unwrapped.terminate_on_success = config.terminate_on_success  # pyright: ignore[reportAttributeAccessIssue]
        except (Exception, SystemExit) as error:  # the spaces and cameras of a third-party environment may be anything
            with contextlib.suppress(Exception, SystemExit):
                self.close()
            raise ValueError(f"{config.id}: {error if isinstance(error, ValueError) else in_words(error)}") from error
        self._history: deque[np.ndarray] = deque(maxlen=config.history)
        self._observed: Observation | None = None
        self.state_size = state_size(self.env.observation_space, config.state)  # 0: unknown, or there is no state
        self.limit = config.max_episode_steps or time_limit(self.env)
        """Environment steps after which an episode is truncated; None: unknown, and an episode of more than `LONGEST` steps is a fault."""
        self.rate = control_rate(self.env) or ASSUMED
        """Environment steps per second of simulated time."""

    def reset(self, seed: int, look: bool = True) -> Observation:
        """Begin the episode of `seed`, and return its first observation; the same seed begins the same episode.

        Args:
            seed: for the environment, and for the choice of an instruction.
            look: draw frames; otherwise the last observation is returned, which may be one of another episode.
        """
        set_seed = getattr(self.env.unwrapped, "seed", None)
        if callable(set_seed):  # Gym's old interface; some environments (Meta-World) ignore the seed of `reset`
            set_seed(seed)
        self._observation, self._info = self.env.reset(seed=seed)
        self.seed = seed
        self._find_simulation()
        self._return, self._steps = 0.0, 0
        self.instruction = self._instruct(seed)
        self._history.clear()
        self._update_markers()
        if look or self._observed is None:
            self.observe()
        return self._current

    def step(self, actions: np.ndarray, look: bool = True) -> Outcome:
        """Execute a chunk of actions, each `action_repeat` times, up to the end of the episode; frames are drawn after the last step only.

        Args:
            actions: float32[H, A].
            look: draw frames; otherwise the last observation is returned.

        Raises:
            ValueError: the reward, the state, the frames or the report of success are invalid.
        """
        held = np.repeat(actions, self.config.action_repeat, axis=0)
        rewards, once, now, terminated, truncated = np.full(len(held), np.nan, np.float32), False, False, False, False
        for i, action in enumerate(held):
            rewards[i], terminated, truncated = self.advance(action)
            self._return += float(rewards[i])
            now = self._success(float(rewards[i]))
            once |= now
            terminated |= now and self.config.terminate_on_success
            if terminated or truncated:
                break
        self._update_markers()
        if look:
            self.observe()
        return Outcome(self._current, rewards, once, now, bool(terminated), bool(truncated), self.achieved)

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool]:
        """Execute a float32[A] action for one environment step; return the environment's reward, terminated and truncated."""
        self._steps += 1
        if self._steps > max(LONGEST, self.limit or 0):
            raise ValueError(f"{self.config.id} did not end this episode within {max(LONGEST, self.limit or 0)} steps; set env.max_episode_steps.")
        self._observation, reward, terminated, truncated, info = self.env.step(self.actions.to_env(action))
        if isinstance(ended := info.get("final_info"), dict):  # it resets itself, and keeps the end of the episode under these keys
            self._observation = info.get("final_obs", info.get("final_observation", self._observation))
        self._info = ended if isinstance(ended, dict) else info
        try:
            number = float(np.asarray(reward, np.float64).item())
        except (TypeError, ValueError):
            number = np.nan
        if not abs(number) <= LARGEST:  # also true of NaN
            raise ValueError(f"{self.config.id} returned the reward {reward!r}; a reward must be one finite number, of at most {LARGEST:g} in size.")
        return number, terminated, truncated

    def observe(self) -> Observation:
        """Draw frames, and return the present observation. Call it once a decision: each call adds one entry to the history."""
        self._history.append(np.stack([self._frame(name) for name in self.config.sources]))
        while len(self._history) < self.config.history:  # before the first observation nothing moved, so that is repeated
            self._history.append(self._history[0])
        self._observed = Observation(np.concatenate(list(self._history)), self.instruction, self._state())
        return self._observed

    @property
    def mujoco_cameras(self) -> tuple[Any, ...]:
        """Return the MuJoCo camera of each source of frames: a name, an MjvCamera, or None where the environment draws the frame itself."""
        return tuple(self._view if name == "render" else name if name in self._mujoco_names else None for name in self.config.sources)

    @property
    def drawn_by_mujoco(self) -> bool:
        """Return whether MuJoCo cameras draw all frames, and none comes from the environment itself."""
        return self.model is not None and None not in self.mujoco_cameras

    @property
    def raw(self) -> Any:
        """Return the environment's own latest observation."""
        return self._observation

    def render_frame(self, size: int, pretty: bool = False) -> np.ndarray:
        """Return uint8[size, size, 3] of the first camera, for videos; `pretty` adds shadows and multisampling."""
        self._update_markers()  # for callers that step the environment themselves, as videos do
        return self._frame(self.config.sources[0], size, pretty)

    @property
    def achieved(self) -> tuple[str, ...]:
        """Return the instructions that the present state fulfils, where the environment reports them (`info["achieved"]`)."""
        return tuple(self._info.get("achieved", ()))

    def oracle(self) -> np.ndarray:
        """Return the scripted expert's float32[A] action for the present state, to be held for `action_repeat` steps.

        Raises:
            NoExpert: the environment has none.
            ExpertFault: it raised an error, or its result is not an action.
        """
        inner: Any = self.env.unwrapped
        if not hasattr(inner, "oracle"):
            raise NoExpert(
                f"{self.config.id} has no scripted oracle to demonstrate with; name a demonstrate.expert (`etude expert` trains one), "
                "or set demonstrate.episodes to 0."
            )
        return ask(f"The oracle of {self.config.id}", "oracle(self, steps)", lambda: inner.oracle(self.config.action_repeat), self.actions)

    def apply(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(adapter, *arguments)`. A `Proxy` has the same method, and calls the function in the process of its environment."""
        return function(self, *arguments)

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    @property
    def _current(self) -> Observation:
        return self._observed if self._observed is not None else self.observe()

    # --- frames ----------------------------------------------------------------------------------------------------

    def _find_simulation(self) -> None:
        """Find MuJoCo's model and data; some environments make new ones at each reset."""
        model, data = render.mujoco_of(self.env)
        if model is not None and model is not self.model:
            self._view = render.view_of(self.env, model) if "render" in self.config.sources else None
            # An environment that draws itself reads these when it makes its renderer. Shadows and multisampling are slow in software.
            if "render" in self.config.sources and self._view is None:
                model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
            own = getattr(self.env.unwrapped, "source", self.config.id)
            # Models of equal `_source` share a camera, which holds their geometry.
            self._source = f"{own} {model.ngeom} {render.geometry_checksum(model)}"
        self.model, self.data = model, data

    def _check_cameras(self) -> None:
        """Raise ValueError where a source of frames is neither a camera, nor an image of the observation, nor `render`."""
        cameras = [self.model.camera(i).name for i in range(self.model.ncam)] if self.model is not None else []
        known = [*filter(None, cameras), *pictures(self.env.observation_space), *(["render"] if self.env.render_mode == "rgb_array" else [])]
        for name in self.config.sources:
            if name not in known:
                raise ValueError(f"there is no camera {name!r}; it has {', '.join(map(repr, known)) or 'none'}.")
        self._mujoco_names = set(cameras)

    def _update_markers(self) -> None:
        """Let Gymnasium-Robotics move its goal markers, as its `render` does.

        Its callback also updates derived quantities of the simulation, which the next step reads (Fetch's mocap). So it is called after every
        decision, whether frames are drawn or not. It also changes the solver's initial guess for the next step; that is restored, so that two calls
        have the same effect as one.
        """
        callback: Any = getattr(self.env.unwrapped, "_render_callback", None)
        if callback is not None and self.data is not None:
            guess = self.data.qacc_warmstart.copy()
            callback()
            self.data.qacc_warmstart[:] = guess

    def _frame(self, name: str, size: int = 0, pretty: bool = False) -> np.ndarray:
        size = size or self.config.size
        camera = self.mujoco_cameras[self.config.sources.index(name)]
        if camera is not None:
            return render.camera(self._source, self.model, (size, size), pretty).draw(self.model, self.data, camera)
        try:
            image: Any = self._observation
            if name == "render":
                image = self.env.render()
            elif isinstance(image, dict):
                image = lookup(image, name)
            return picture(image, size)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self.config.id}: camera {name!r} gives no frame: {error}.") from error

    # --- state and success -------------------------------------------------------------------------------------------

    def _instruct(self, seed: int) -> str:
        try:
            return instruction(self.config.instruction, seed, self._info, self._observation, self.env.unwrapped)
        except ValueError as error:
            raise ValueError(f"{self.config.id}: {error}") from error

    def _state(self) -> np.ndarray | None:
        """Return float32[S], or None without a state; raise ValueError where its size or its numbers are wrong."""
        with np.errstate(over="ignore"):  # numbers too large for float32 become infinite, and are refused below
            state = self._read_state()
        if state is not None and self.state_size and len(state) != self.state_size:
            raise ValueError(f"{self.config.id}: its state has {len(state)} numbers, and its observation space promises {self.state_size}.")
        if state is not None and not np.isfinite(state).all():
            raise ValueError(f"{self.config.id}: its state holds NaN, or numbers too large for float32.")
        return state

    def _read_state(self) -> np.ndarray | None:
        name = self.config.state or "state"
        if isinstance(self._observation, dict):
            try:
                return np.array(lookup(self._observation, name), np.float32).reshape(-1)  # a copy: some environments reuse the buffer
            except KeyError as error:
                if not self.config.state:  # `state` is only the default key
                    return None
                keys = ", ".join(map(repr, self._observation))
                raise ValueError(f"{self.config.id}: env.state is {name!r}, and the observation holds {keys}.") from error
        return np.array(self._observation, np.float32).reshape(-1) if self.config.state else None

    def _success(self, reward: float) -> bool:
        try:
            return self._success_rule(self._info, self._observation, reward, self._return)
        except ValueError as error:
            raise ValueError(f"{self.config.id}: {error}") from error
