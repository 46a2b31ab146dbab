"""A policy for a control loop of the user's own: it needs no session, and no environment made by etude."""

from collections import deque
from typing import Any

import numpy as np

from agent.source import Source
from envs import EnvConfig
from envs.frames import WHOLE, PictureSpec, flipped, is_picture, picture, view
from envs.spaces import Actions
from envs.state import DEFAULT, keys, read_state
from policies.policy import Situation

LONGEST = 2000  # characters of an instruction; a tokenizer takes seconds for much longer ones


class Actor:
    """A policy with one call per environment step: observation and instruction -> action.

    As in its run, it decides once for `chunk_size` actions, and each action is held for `env.action_repeat` environment steps.

    Args:
        model: a `policies.vlm.Vlm`, or a policy class of the user's.
        env: cameras, frame size, history and state key of its run.
        actions: action space of its run.
        source: where it was loaded from.
    """

    def __init__(self, model: Any, env: EnvConfig, actions: Actions, source: Source | None = None) -> None:
        self.model, self.env, self.actions, self.source = model, env, actions, source
        self.reset()

    def reset(self) -> None:
        """Begin an episode: clear the frame history and the actions that are still to come."""
        self._past: deque[np.ndarray] = deque()  # uint8[cameras, h, w, 3] each, oldest first
        self._held: list[np.ndarray] = []  # float[A] for each step until the next decision

    def act(self, observation: Any, instruction: str) -> Any:
        """Return the action for the next environment step, in the environment's own type and shape.

        The observation is read only at decisions; in between, held actions are returned.

        Args:
            observation: of the environment, with a picture under each name in `env.cameras`; or one picture, where there is one camera.
            instruction: task in words.

        Raises:
            ValueError: the observation lacks a picture or the state, a picture cannot be used, or the instruction is no text of 1 to 2000 characters.
        """
        if not self._held:
            self._held = self.decide(observation, instruction)
        return self.actions.to_env(self._held.pop(0))

    def decide(self, observation: Any, instruction: str) -> list[np.ndarray]:
        """Return the actions of one decision, float[A] each, one for each environment step until the next decision; arguments as of `act`."""
        _refuse(instruction)
        frames = np.stack([self._picture(observation, name) for name in self.env.sources])
        # One entry a decision, not a step: history has the spacing that the policy was trained with. At the first decision the same frames fill it.
        past = deque([*(self._past or [frames] * self.env.history), frames], self.env.history)
        situation = Situation(instruction, np.concatenate(list(past)), self._state(observation))
        (decision,) = self.model.act([situation], None)  # None: greedy, as in evaluations
        self._past = past  # only now: an observation that was refused is no part of the history
        return [action for action in decision.actions for _ in range(self.env.action_repeat)]

    def spec(self, name: str) -> PictureSpec:
        """Return how the pictures of a camera became frames in training."""
        return self.source.spec(name) if self.source else PictureSpec()

    def _picture(self, observation: Any, name: str) -> np.ndarray:
        spec = self.spec(name)
        try:
            pixels = _numbers(self._found(observation, name))
            if pixels.dtype.kind == "f" and spec.values == (0, 255) and 0 < pixels.max(initial=0) <= 1:
                raise ValueError("its floats lie between 0 and 1, and those of training between 0 and 255; multiply them by 255")
            return flipped(picture(pixels, self.env.size, spec.values, spec.square), self.env.flip_of(name))
        except KeyError as error:
            cameras = ", ".join(map(repr, self.env.sources))
            if not isinstance(observation, dict):
                given = type(observation).__name__
                raise ValueError(f"The policy sees {cameras}, and was given {given}; give a dictionary with a picture under each name.") from error
            keys = ", ".join(map(repr, observation))
            raise ValueError(f"The policy sees {cameras}, and the observation has {keys}; add {name!r} to it.") from error
        except ValueError as error:
            raise ValueError(f"The picture {name!r} of the observation cannot be used: {error}.") from error

    def _found(self, observation: Any, name: str) -> Any:
        """Return the picture of a camera; raise KeyError where there is none."""
        if isinstance(observation, dict):
            return observation[name] if name in observation else view(observation, name)  # a client names them as `metadata` does
        if is_picture(observation) and len(self.env.sources) == 1:
            return observation
        if name.partition(".")[0] != WHOLE:  # the observation is a state, or pictures of other cameras
            raise KeyError(name)
        return view(observation, name)

    def _state(self, observation: Any) -> np.ndarray | None:
        if not self.model.config.state:  # proprioception is recorded in every run, but only some prompts have it
            return None
        try:
            # An observation that is no dict is the state itself.
            return read_state(observation, self.env.state or DEFAULT)
        except KeyError as error:
            names = " and ".join(map(repr, keys(self.env.state)))
            raise ValueError(f"The policy needs the state {names}, which the observation does not have; add it.") from error


def _refuse(instruction: Any) -> None:
    """Raise ValueError where the instruction is no text that a policy can read."""
    if not isinstance(instruction, str) or not instruction.strip():  # such as `info.get("instruction")` of an environment that gives none
        raise ValueError(f"The instruction is {instruction!r}; give the task in words, such as 'open the red drawer'.")
    if len(instruction) > LONGEST:
        raise ValueError(f"The instruction has {len(instruction)} characters; give the task in at most {LONGEST}.")
    if any("\ud800" <= each <= "\udfff" for each in instruction):  # half a character, as in a text that was cut in UTF-16
        raise ValueError(f"The instruction {instruction[:99]!r} is no Unicode text: it holds surrogates; decode it anew.")


def _numbers(value: Any) -> np.ndarray:
    """Return a picture as an array; a tensor of torch's without its gradient, from wherever it is.

    Raises:
        ValueError: it holds no numbers.
    """
    try:
        pixels = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, RuntimeError) as error:  # such as bfloat16, which NumPy lacks
        raise ValueError(f"it cannot be made an array ({error}); give bytes, or floats of 32 bits") from error
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"its values are of type {pixels.dtype}; give bytes or floats")
    return pixels


def load_actor(source: Source) -> Actor:
    """Return a policy for a loop of the user's own, with cameras and actions of its run's first environment.

    Raises:
        ValueError: it was never trained, so its actions are not known; or it cannot be loaded.
    """
    model = source.load()
    assert source.actions is not None, "a policy without actions is not loaded without an environment"
    return Actor(model, source.config.envs[0], source.actions, source)
