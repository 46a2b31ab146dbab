"""Adapts any Gymnasium environment: frames, instruction, state and success in one form for every policy."""

import contextlib
import inspect
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np

from envs import EnvConfig
from envs.expert import ask
from envs.faults import NoExpert, contained, in_words
from envs.frames import PictureSpec
from envs.limits import LONGEST, time_limit
from envs.make import make
from envs.moments import Observation, Outcome
from envs.rate import ASSUMED, control_rate
from envs.resets import Malformed, Resets
from envs.spaces import Actions
from envs.state import has_state, keys, names, read_state, state_size
from envs.success import Success, reported
from envs.views import Views
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
        try:
            for name in ("action_space", "observation_space"):
                if not isinstance(space := getattr(self.env, name, None), gymnasium.Space):
                    raise ValueError(f"its {name} is {space!r}; it should be a gymnasium.Space.")
            self.actions, self._success_rule = Actions(self.env.action_space, config.action_bounds), Success(config.success)
            self._views = Views(self.env, config)
            self.env.set_wrapper_attr("terminate_on_success", config.terminate_on_success, force=False)  # of environments that have it
        except (Exception, SystemExit) as error:  # the spaces and cameras of a third-party environment may be anything
            with contextlib.suppress(Exception, SystemExit):
                self.close()
            raise ValueError(f"{config.id}: {error if isinstance(error, ValueError) else in_words(error)}") from error
        self._resets = Resets(self.env, self._views.keep, self._views.forget)
        self._history: deque[np.ndarray] = deque(maxlen=config.history)
        self._observed: Observation | None = None
        self.state_size = state_size(self.env.observation_space, config.state)  # 0: unknown, or there is no state
        self._has_state: bool | None = True if self.state_size else None  # None: the first observation tells, as its space does not
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
        if callable(set_seed) and _takes_one(set_seed):  # Gym's old interface; some environments (Meta-World) ignore the seed of `reset`
            with contextlib.suppress(NotImplementedError):  # as of a wrapper that only passes it on
                set_seed(seed)
        self._views.forget()
        with self._named():
            self._observation, self._info = self._resets.begin(seed, dict(self.config.reset_options))
        self.seed = seed
        self._views.find_simulation()
        self._return, self._steps = 0.0, 0
        self.instruction = self.words()
        self._history.clear()
        self._views.update_markers()
        if look or self._observed is None:
            self.observe()
        return self._current

    def forget_frames(self) -> None:
        """Draw anew from now on: frames that were kept of an episode's end are not those of a moment to which the environment is taken back."""
        self._views.forget()

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
            now = self._success(float(rewards[i]), bool(terminated), bool(truncated))
            once |= now
            terminated |= now and self.config.terminate_on_success
            if terminated or truncated:
                break
        self._views.update_markers()
        if look:
            self.observe()
        return Outcome(self._current, rewards, once, now, bool(terminated), bool(truncated), self.achieved)

    def advance(self, action: np.ndarray) -> tuple[float, bool, bool]:
        """Execute a float32[A] action for one environment step; return the environment's reward, terminated and truncated."""
        self._steps += 1
        if self._steps > max(LONGEST, self.limit or 0):
            raise ValueError(f"{self.config.id} did not end this episode within {max(LONGEST, self.limit or 0)} steps; set env.max_episode_steps.")
        with self._named():
            self._observation, reward, terminated, truncated, self._info = self._resets.step(self.actions.to_env(action), self._observation)
        try:
            number = float(np.asarray(reward, np.float64).item())
        except (TypeError, ValueError):
            number = np.nan
        if not abs(number) <= LARGEST:  # also true of NaN
            raise ValueError(f"{self.config.id} returned the reward {reward!r}; a reward must be one finite number, of at most {LARGEST:g} in size.")
        return number, terminated, truncated

    def observe(self) -> Observation:
        """Draw frames, and return the present observation. Call it once a decision: each call adds one entry to the history."""
        with contained():
            self._history.append(np.stack([self._views.frame(name, self._observation) for name in self.config.sources]))
        while len(self._history) < self.config.history:  # before the first observation nothing moved, so that is repeated
            self._history.append(self._history[0])
        self._observed = Observation(np.concatenate(list(self._history)), self.instruction, self._state())
        return self._observed

    @property
    def model(self) -> Any:
        """Return MuJoCo's MjModel; None if the environment has none."""
        return self._views.model

    @property
    def data(self) -> Any:
        """Return MuJoCo's MjData; None if the environment has none."""
        return self._views.data

    @property
    def mujoco_cameras(self) -> tuple[Any, ...]:
        """Return the MuJoCo camera of each source of frames: a name, an MjvCamera, or None where the environment draws the frame itself."""
        return self._views.cameras

    @property
    def drawn_by_mujoco(self) -> bool:
        """Return whether MuJoCo cameras draw all frames, and none comes from the environment itself."""
        return self._views.drawn_by_mujoco

    @property
    def specs(self) -> dict[str, PictureSpec]:
        """Return how the pictures of each source become frames, by its name."""
        return self._views.specs

    @property
    def raw(self) -> Any:
        """Return the environment's own latest observation."""
        return self._observation

    @property
    def info(self) -> dict[str, Any]:
        """Return the environment's own latest info."""
        return self._info

    def render_frame(self, size: int, pretty: bool = False) -> np.ndarray:
        """Return uint8[size, size, 3] of the first camera, for videos; `pretty` adds shadows and multisampling."""
        self._views.update_markers()  # for callers that step the environment themselves, as videos do
        return self._views.frame(self.config.sources[0], self._observation, size, pretty)

    @property
    def steps(self) -> int:
        """Return the environment steps of this episode so far."""
        return self._steps

    @property
    def achieved(self) -> tuple[str, ...]:
        """Return the instructions that the present state fulfils, where the environment reports them (`info["achieved"]`)."""
        given = self._info.get("achieved")
        if isinstance(given, np.ndarray):
            given = given.ravel().tolist() if given.dtype.kind in "OU" else []  # one of numbers may be large
        fulfilled = [given] if isinstance(given, str) else list(given) if isinstance(given, list | tuple | set) else []
        # Something else under this name is none of our business. Plain texts: another process may not know a class of the user's.
        return tuple(map(str, fulfilled)) if all(isinstance(each, str) for each in fulfilled) else ()

    def oracle(self) -> np.ndarray:
        """Return the scripted expert's float32[A] action for the present state, to be held for `action_repeat` steps.

        Raises:
            NoExpert: the environment has none.
            ExpertFault: it raised an error, or its result is not an action.
        """
        if not self.has_oracle:
            raise NoExpert(
                f"{self.config.id} has no scripted oracle to demonstrate with; name a demonstrate.expert (`etude expert` trains one), "
                "or set demonstrate.episodes to 0."
            )
        oracle = self.env.get_wrapper_attr("oracle")
        return ask(f"The oracle of {self.config.id}", "oracle(self, steps)", lambda: oracle(self.config.action_repeat), self.actions)

    @property
    def resets_itself(self) -> bool:
        """Return whether the environment has begun another episode within the step that ended one."""
        return self._resets.seen

    @property
    def has_oracle(self) -> bool:
        """Return whether the environment or one of its wrappers has a scripted expert."""
        return self.env.has_wrapper_attr("oracle") and callable(self.env.get_wrapper_attr("oracle"))

    @property
    def success_key(self) -> str:
        """Return which of the usual keys of `info` reports success; '' if none does."""
        return reported(self._info)

    def words(self) -> str:
        """Return the instruction as the environment gives it at this moment; an episode keeps that of its reset.

        Raises:
            ValueError: a placeholder of `env.instruction` names nothing.
        """
        try:
            return instruction(self.config.instruction, self.seed, self._info, self._observation, self.env)
        except ValueError as error:
            raise ValueError(f"{self.config.id}: {error}") from error

    def apply(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(adapter, *arguments)`. A `Proxy` has the same method, and calls the function in the process of its environment."""
        return function(self, *arguments)

    def close(self) -> None:
        """Close the environment."""
        with contained():
            self.env.close()

    @property
    def _current(self) -> Observation:
        return self._observed if self._observed is not None else self.observe()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Put the environment's name before the sentence of a ValueError that is ours."""
        try:
            with contained():
                yield
        except Malformed as error:
            raise ValueError(f"{self.config.id}: {error}") from error

    def _state(self) -> np.ndarray | None:
        """Return float32[S], or None without a state; raise ValueError where its size or its numbers are wrong."""
        if self._has_state is None:
            self._has_state = has_state(self._observation, self.config.state)
        if not self._has_state:
            return None
        try:
            with np.errstate(over="ignore"):  # numbers too large for float32 become infinite, and are refused below
                state = read_state(self._observation, self.config.state)
        except KeyError as error:
            named, present = (", ".join(map(repr, each)) for each in (keys(self.config.state), names(self._observation)))
            raise ValueError(f"{self.config.id}: env.state is {named}, and the observation holds {present}.") from error
        except ValueError as error:
            raise ValueError(f"{self.config.id}: {error}") from error
        if state is None:
            raise ValueError(f"{self.config.id}: an observation lacks the state that others have.")
        if self.state_size and len(state) != self.state_size:
            raise ValueError(f"{self.config.id}: its state has {len(state)} numbers, and its observation space promises {self.state_size}.")
        if not np.isfinite(state).all():
            raise ValueError(f"{self.config.id}: its state holds NaN, or numbers too large for float32.")
        return state

    def _success(self, reward: float, terminated: bool, truncated: bool) -> bool:
        try:
            return self._success_rule(self._info, self._observation, reward, self._return, terminated, truncated)
        except ValueError as error:
            raise ValueError(f"{self.config.id}: {error}") from error


def _takes_one(function: Callable[..., Any]) -> bool:
    """Return whether a function can be called with one value; True where Python cannot tell."""
    try:
        inspect.signature(function).bind(0)
    except TypeError:
        return False
    except ValueError:  # of a function in C
        return True
    return True
