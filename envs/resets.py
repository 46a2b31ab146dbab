"""`reset` and `step` of an environment as Gymnasium defines them, also where it resets itself within the step that ends an episode.

Such an environment (same-step autoreset) begins the next episode by itself. What is drawn after the step then shows that one, and `info` may be of it
too. So `reset` and `step` of each layer are watched. Where a step calls a reset, the last moment of the episode is drawn before it runs. The layer
whose step that is then returns the last observation and info of the episode, so that the wrappers outside of it transform these as any others.
"""

import contextlib
import functools
import inspect
import reprlib
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

OLD = "wrap an environment of old Gym by Shimmy, or return what Gymnasium does"
ENDS = ("final_obs", "final_observation", "terminal_observation")  # keys of `info` under which the last observation is kept


class Malformed(ValueError):
    """An environment's `reset` or `step` has another form than Gymnasium's. The message is a sentence without the name of the environment."""


class Resets:
    """Begins episodes and steps through them.

    Args:
        env: the environment, with its wrappers.
        keep: called at the end of an episode whose step resets the environment, before that happens.
        forget: called where a step reset the environment, but ended no episode.
    """

    def __init__(self, env: gymnasium.Env, keep: Callable[[], None], forget: Callable[[], None]) -> None:
        self._env, self._keep, self._forget = env, keep, forget
        self._depth, self.seen = 0, False  # depth: of the layer whose step runs at this moment, 1 around all of them; 0: none does
        self._begun: Any = None  # what a reset within the present step returned
        self._ending = 0  # depth of the layer whose step called that reset, or tells of it in `info`; 0: none does
        self._lost = False  # whether that layer returned no last observation
        for layer in layers(env):
            with contextlib.suppress(AttributeError, TypeError):  # one with slots cannot be watched
                _watch(layer, "reset", weakref.WeakMethod(self._reset))
                _watch(layer, "step", weakref.WeakMethod(self._step))

    def begin(self, seed: int, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; return its observation and info.

        Args:
            seed: of the episode.
            options: `env.reset_options`.

        Raises:
            Malformed: its `reset` has another form.
        """
        try:
            returned = self._env.reset(seed=seed, options=options) if options else self._env.reset(seed=seed)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            raise Malformed(f"its reset does not accept what Gymnasium passes ({error}); write reset(self, *, seed=None, options=None).") from error
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping | None)):
            raise Malformed(f"its reset returned {_kind(returned, 2)}, and Gymnasium needs (observation, info), a dict; {OLD}.")
        return returned[0], dict(returned[1] or {})

    def step(self, action: Any, latest: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Execute an action; return observation, reward, terminated, truncated and info of the end of this step.

        Args:
            action: in the environment's own type.
            latest: the observation before it.

        Raises:
            Malformed: its `step` has another form, or returns nothing of the end of its episode.
        """
        self._depth, self._begun, self._ending, self._lost = 1, None, 0, False
        try:
            returned = self._at(1, self._env.step(action))
        except ValueError as error:
            if "values to unpack" not in str(error):  # by a wrapper of Gymnasium
                raise
            raise Malformed(f"its step returned no (observation, reward, terminated, truncated, info) ({error}); {OLD}.") from error
        finally:
            self._depth = 0
        if not _is_outcome(returned):
            needed = "(observation, reward, terminated, truncated, info), with a dict as info"
            raise Malformed(f"its step returned {_kind(returned, 5)}, and Gymnasium needs {needed}; {OLD}.")
        observation, reward, terminated, truncated, info = returned
        terminated, truncated, info = _ends(terminated, "terminated"), _ends(truncated, "truncated"), dict(info or {})
        if terminated or truncated:
            self.seen |= self._begun is not None
            observation = latest if self._lost else observation  # the one before stands for it
        elif self._begun is not None:
            self._forget()
        return observation, reward, terminated, truncated, info

    def _step(self, step: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Return what the `step` of a layer returns, within a step of the environment as `_at` does."""
        if not self._depth:  # some environments step in their reset
            return step(*arguments, **named)
        self._depth += 1
        depth = self._depth
        try:
            returned = step(*arguments, **named)
        finally:
            self._depth = depth - 1
        return self._at(depth, returned)

    def _at(self, depth: int, returned: Any) -> Any:
        """Return what the step of the layer at a depth returned; if it has begun the next episode, then with the end of the last one."""
        if not _is_outcome(returned) or not (_ends(returned[2], "terminated") or _ends(returned[3], "truncated")):
            return returned
        observation, reward, terminated, truncated, info = returned
        info = info or {}
        if not self._ending and any(_alone(info.get(key)) is not None for key in (*ENDS, "final_info")):
            self._ending = depth  # its reset was not noticed, as of an environment that begins an episode by another method
        return self._ended(observation, reward, terminated, truncated, info) if depth == self._ending else returned

    def _ended(self, observation: Any, reward: Any, terminated: Any, truncated: Any, info: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Return the result of a step that begins the next episode, with the last observation and info of the one that ended."""
        kept = [each for each in (_alone(info.get(key)) for key in ENDS) if each is not None]
        self._lost = not kept and self._begun is not None and observation is self._begun[0]
        ended = _alone(info.get("final_info"))
        if not isinstance(ended, dict):
            if self._begun is not None and info is self._begun[1]:
                raise Malformed(
                    "it resets itself in the step that ends an episode, and returns the info of the next one, so a success would be lost; "
                    "switch that off, or keep the last info under info['final_info']."
                )
            ended = info
        return kept[0] if kept else observation, reward, terminated, truncated, ended

    def _reset(self, reset: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Return what the `reset` of a layer returns; if a step calls it, keep the end of the episode first."""
        if not self._depth or self._ending:  # by `begin`, or by the `reset` of a layer outside of this one
            return reset(*arguments, **named)
        self._ending = self._depth
        self._keep()
        self._begun = reset(*arguments, **named)
        return self._begun


def _watch(layer: Any, name: str, watcher: "weakref.WeakMethod[Any]") -> None:
    """Leave each call of the `reset` or `step` of a layer to the watcher, while that exists.

    A deep copy, in which an expert may look ahead, is not watched and has its own methods: a method is copied with the object to which it is bound.
    """
    given, watched = vars(layer).get(name), weakref.ref(layer)

    @functools.wraps(getattr(layer, name))
    def told(self: Any, *arguments: Any, **named: Any) -> Any:
        method = given or getattr(type(self), name).__get__(self)
        watching = watcher() if self is watched() else None
        return watching(method, arguments, named) if watching else method(*arguments, **named)

    del told.__wrapped__  # Gymnasium's checker asks for the signature; it would find that of a bound method, and take off its first argument
    with contextlib.suppress(ValueError):  # of a function in C
        own = inspect.signature(getattr(layer, name))
        first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        told.__signature__ = own.replace(parameters=[first, *own.parameters.values()])  # type: ignore[attr-defined]
    setattr(layer, name, types.MethodType(told, layer))


def _is_outcome(returned: Any) -> bool:
    """Return whether a step returned what Gymnasium needs."""
    return isinstance(returned, tuple) and len(returned) == 5 and isinstance(returned[4], Mapping | None)


def _ends(value: Any, name: str) -> bool:
    """Return a report of an episode's end as a truth value; raise Malformed if it is neither true or false nor 0 or 1. None is false."""
    if value is None or isinstance(value, bool | np.bool_):
        return bool(value)
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf" or array.item() not in (0, 1):
        raise Malformed(f"its step returned {name} {reprlib.repr(value)}; it must be true or false.")
    return bool(array.item())


def _alone(kept: Any) -> Any:
    """Return what a list or an array of objects holds, if that is one; as vectors of environments keep the end of an episode. All else stays."""
    one = len(kept) == 1 if isinstance(kept, list) else isinstance(kept, np.ndarray) and kept.dtype == object and kept.shape == (1,)
    return kept[0] if one else kept


def layers(env: gymnasium.Env) -> list[Any]:
    """Return the wrappers of an environment, outermost first, and the environment."""
    found: list[Any] = [env]
    while isinstance(found[-1], gymnasium.Wrapper) and found[-1] is not found[-1].unwrapped:
        found.append(found[-1].env)
    return found


def _kind(returned: Any, needed: int) -> str:
    """Return what was returned instead of a tuple of as many values as `needed`, the last of them a dict."""
    if not isinstance(returned, tuple):
        return f"a {type(returned).__name__}"
    return f"{len(returned)} values, the last a {type(returned[-1]).__name__}" if len(returned) == needed else f"{len(returned)} values"
