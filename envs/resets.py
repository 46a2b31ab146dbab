"""`reset` and `step` of an environment as Gymnasium defines them, also where it resets itself within the step that ends an episode.

Such an environment (same-step autoreset) begins the next episode by itself. What is drawn after the step then shows that one, and `info` may be of it
too. So the `reset` of each layer is watched, and where a step calls it, the last moment of the episode is drawn before it runs.
"""

import contextlib
import functools
import weakref
from collections.abc import Callable
from typing import Any

import gymnasium

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
        self._stepping, self.seen = False, False
        self._begun: Any = None  # what a reset within the present step returned
        for layer in layers(env):
            with contextlib.suppress(AttributeError):  # one with slots cannot be watched
                layer.reset = _watched(layer.reset, weakref.WeakMethod(self._noticed))

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
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict)):
            raise Malformed(f"its reset returned {_kind(returned)}, and Gymnasium needs (observation, info); {OLD}.")
        return returned

    def step(self, action: Any, latest: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Execute an action; return observation, reward, terminated, truncated and info of the end of this step.

        Args:
            action: in the environment's own type.
            latest: the observation before it.

        Raises:
            Malformed: its `step` has another form, or returns nothing of the end of its episode.
        """
        self._stepping, self._begun = True, None
        try:
            returned = self._env.step(action)
        except ValueError as error:
            if "values to unpack" not in str(error):  # by a wrapper of Gymnasium
                raise
            raise Malformed(f"its step returned no (observation, reward, terminated, truncated, info) ({error}); {OLD}.") from error
        finally:
            self._stepping = False
        if not (isinstance(returned, tuple) and len(returned) == 5 and isinstance(returned[4], dict)):
            raise Malformed(f"its step returned {_kind(returned)}, and Gymnasium needs (observation, reward, terminated, truncated, info); {OLD}.")
        observation, reward, terminated, truncated, info = returned
        if not (terminated or truncated):
            if self._begun is not None:
                self._forget()
            return observation, reward, bool(terminated), bool(truncated), info
        self.seen |= self._begun is not None
        kept = [info[key] for key in ENDS if info.get(key) is not None]
        if kept or (self._begun is not None and observation is self._begun[0]):  # where the last observation is lost, the one before stands for it
            observation = kept[0] if kept else latest
        if isinstance(info.get("final_info"), dict):
            info = info["final_info"]
        elif self._begun is not None and info is self._begun[1]:
            raise Malformed(
                "it resets itself in the step that ends an episode, and returns the info of the next one, so a success would be lost; "
                "switch that off, or keep the last info under info['final_info']."
            )
        return observation, reward, bool(terminated), bool(truncated), info

    def _noticed(self, reset: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Return what `reset` returns; if a step calls it, keep the end of the episode first."""
        if not self._stepping:
            return reset(*arguments, **named)
        self._stepping = False  # the layers below are reset by this one
        self._keep()
        self._begun = reset(*arguments, **named)
        return self._begun


def _watched(reset: Callable[..., Any], watcher: "weakref.WeakMethod[Any]") -> Callable[..., Any]:
    """Return a function that tells the watcher, while it exists, of each call of `reset`."""

    @functools.wraps(reset)
    def told(*arguments: Any, **named: Any) -> Any:
        noticed = watcher()
        return noticed(reset, arguments, named) if noticed else reset(*arguments, **named)

    return told


def layers(env: gymnasium.Env) -> list[Any]:
    """Return the wrappers of an environment, outermost first, and the environment."""
    found: list[Any] = [env]
    while isinstance(found[-1], gymnasium.Wrapper) and found[-1] is not found[-1].unwrapped:
        found.append(found[-1].env)
    return found


def _kind(returned: Any) -> str:
    return f"{len(returned)} values" if isinstance(returned, tuple) else f"a {type(returned).__name__}"
