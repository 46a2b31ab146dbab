"""Asks an expert for an action, so that what is wrong with the expert is not blamed on its environment."""

import reprlib
from collections.abc import Callable
from typing import Any

import numpy as np

from envs.faults import ExpertFault, NoExpert, in_words
from envs.spaces import Actions


def ask(name: str, form: str, call: Callable[[], Any], actions: Actions) -> np.ndarray:
    """Return an expert's action, float32[A].

    Args:
        name: of the expert, for sentences: 'The expert drive.py:drive'.
        form: of the function: 'drive(env, observation)'.
        call: calls the expert.
        actions: action space of its environment.

    Raises:
        ExpertFault: the expert raised an error, or its result is no action.
    """
    form = f"write it as {form} -> an action of {actions.form}"
    try:
        given = call()
    except NoExpert:
        raise
    except (Exception, SystemExit) as error:  # a user's script may raise anything, or exit
        raise ExpertFault(f"{name} fails with {in_words(error)}; {form}") from error
    try:
        return actions.from_env(given)
    except ValueError as error:
        raise ExpertFault(f"{name} gave {reprlib.repr(given)}; {form}") from error
