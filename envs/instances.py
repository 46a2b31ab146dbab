"""Whether several instances of an environment in one process leave each other alone: a run steps `collect.num_envs` of them in turn."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from envs.adapt import Adapter
from envs.checks import LOOKS, changed, played_again
from envs.diagnosis import Episode, Late
from envs.faults import in_words

ENOUGH = 40  # decisions of the episode that is played beside another instance
ADVICE = "a run has several in one process, with env.timeout too; mend the environment, or set collect.num_envs: 1"


def disturbed(adapter: Adapter, episodes: list[Episode], make: Callable[[], Adapter], keep: Callable[[Adapter], None], late: Late) -> str:
    """Return a sentence where an episode is another one beside a second instance, or where that cannot be made; '' where neither is so.

    Args:
        adapter: the environment.
        episodes: that it has played; the longest can be played again, exactly.
        make: makes the second instance.
        keep: takes the second instance, which the caller closes: to close it may end what both use, such as a renderer.
        late: whether the time for it is over.
    """
    first = max(episodes, key=lambda episode: len(episode.outcomes))
    first = replace(first, actions=first.actions[:ENOUGH])
    others = [episode for episode in episodes if episode.seed != first.seed] or [replace(first, seed=first.seed + 1)]
    try:
        second = make()
    except (Exception, SystemExit) as error:
        return f"A second instance cannot be made beside the first ({in_words(error.__cause__ or error)}): {ADVICE}."
    keep(second)
    try:
        found = _difference(first, played_again(adapter, first, late, partial(next, _turns(second, others))))
    except (Exception, SystemExit) as error:  # both have played these episodes before without one
        return f"An episode fails beside a second instance ({in_words(error)}): {ADVICE}."
    if not found or _difference(first, played_again(adapter, first, late)):  # also alone: then it is no matter of sharing
        return ""
    return f"Instances share state: the same seed and actions give another {found} while a second one takes steps, and {ADVICE}."


def _turns(adapter: Adapter, episodes: list[Episode]) -> Iterator[None]:
    """Play episodes with their own actions, over and over, one reset or decision at a time."""
    for episode in itertools.cycle(episodes):
        adapter.reset(episode.seed)
        yield
        for decision, action in enumerate(episode.actions):
            outcome = adapter.step(action[None], look=decision < LOOKS)
            yield
            if outcome.terminated or outcome.truncated:
                break


def _difference(first: Episode, other: Episode) -> str:
    """Return what differs between an episode and the same one played again; '' if nothing does."""
    if first.instruction != other.instruction:
        return "instruction"
    if not all(np.array_equal(a, b) for a, b in zip(first.frames, other.frames, strict=False)):
        return "picture"
    return changed(first, other)
