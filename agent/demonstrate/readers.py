"""What a reader of a dataset returns, and the reader of a local Minari dataset; `lerobot` has the one of a LeRobotDataset.

A Minari dataset holds actions and seldom frames, so its episodes are replayed in the environment.

n = recorded steps of an episode; A = action dimensions; C = cameras; T = decisions, `span` steps each.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.demonstrate.cells import Unusable
from agent.rollout.environments import Environments
from envs import EnvConfig
from envs.adapt import Adapter
from envs.faults import in_words

# Tolerances for a replay: rewards of an Adapter are float32, and a simulator's last digits differ from machine to machine.
NEAR: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


@dataclass(frozen=True)
class Recording:
    """One recorded episode."""

    number: int
    """Its index in the dataset."""
    instruction: str
    actions: np.ndarray
    """float64[n, A], in the environment's units."""
    rewards: np.ndarray
    """float64[n], 0 where none were recorded."""
    hits: np.ndarray
    """bool[n], whether success was reported after a step."""
    frames: np.ndarray
    """uint8[T + 1, F, h, w, 3], RGB, at the beginning of each decision and at the end; F = C, or C x history where the environment drew them."""
    seed: int | None = None
    """Of the environment's reset, where it is known."""
    states: np.ndarray | None = None
    """float32[T + 1, S], proprioception: of the environment where the episode was replayed there, else as recorded."""
    achieved: tuple[str, ...] = ()
    """Instructions that the last state fulfils, where the environment names them."""


def minari(name: str, env: EnvConfig, span: int, leave_out: Callable[[str, str], None]) -> Iterator[Recording]:
    """Yield the episodes of a local Minari dataset, replayed from their seeds step by step, with a frame every `span` steps.

    Args:
        name: its id.
        env: the environment to replay them in.
        span: environment steps from one frame to the next.
        leave_out: called with the reason and the place for each episode that cannot be used.

    Raises:
        ValueError: the package or the dataset is missing, or its actions have another size than the environment's.
    """
    # One recorded action a step, and no end at a success: the recording may go on after it.
    with closing(Environments(env.model_copy(update={"action_repeat": 1, "terminate_on_success": False}), 1)) as environments:
        for recorded, seed in in_minari(name):
            try:
                actions = _actions(recorded)
            except Unusable as error:
                leave_out(error.why, error.where)
                continue
            check_width(f"minari:{name}", actions.shape[1], len(environments.first.actions), env)
            try:
                replayed = environments.first.apply(_replay, recorded, actions, seed, span)
            except (Exception, SystemExit) as error:  # an environment may raise anything; this costs its episode, not the run
                replayed = f"could not be replayed ({in_words(error)})"
                environments.renew(0)
            if isinstance(replayed, Recording):
                yield replayed
            else:
                leave_out(replayed, f"episode {recorded.id}")


def minari_actions(name: str, leave_out: Callable[[str, str], None]) -> Iterator[np.ndarray]:
    """Yield the actions of each usable episode of a local Minari dataset, float64[n, A]; errors and `leave_out` as of `minari`."""
    for recorded, _ in in_minari(name):
        try:
            yield _actions(recorded)
        except Unusable as error:
            leave_out(error.why, error.where)


def _actions(recorded: Any) -> np.ndarray:
    """Return the actions of a Minari episode, float64[n, A].

    Raises:
        Unusable: they are no finite numbers.
    """
    try:
        actions = np.asarray(recorded.actions, np.float64).reshape(len(recorded), -1)
    except (TypeError, ValueError) as error:  # of a Dict or Tuple space
        raise Unusable("have actions that are not arrays of numbers", f"episode {recorded.id}") from error
    if wrong := np.flatnonzero(~np.isfinite(actions).all(1)).tolist():
        raise Unusable(f"have an action that is not {actions.shape[1]} finite numbers", f"episode {recorded.id}, row {wrong[0]}")
    return actions


def in_minari(name: str) -> Iterator[tuple[Any, int | None]]:
    """Yield the episodes of a local Minari dataset, as `EpisodeData`, with their seeds."""
    try:
        found = importlib.import_module("minari").load_dataset(name)  # an optional dependency
        # The seed is no field of EpisodeData, but of the metadata in Minari's storage.
        for recorded, metadata in zip(found, found.storage.get_episode_metadata(found.episode_indices), strict=True):
            yield recorded, metadata.get("seed")
    except ImportError as error:
        raise ValueError(f"demonstrate.dataset minari:{name} needs a package ({error}); run: pip install 'minari[hdf5]'") from error
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:  # Minari parses ids and files without checking them
        why = " ".join(str(error).split())
        raise ValueError(f"demonstrate.dataset minari:{name} cannot be read ({why}); fetch it by: minari download {name}") from error


def check_width(source: Any, width: int, needed: int, env: EnvConfig) -> None:
    """Check that a dataset's actions have the environment's size A.

    Raises:
        ValueError: they have another size.
    """
    if width != needed:
        remedy = "record it with this environment's own actions"
        raise ValueError(f"demonstrate.dataset {source} has actions of {width} numbers, and {env.id} takes {needed}; {remedy}.")


def _replay(adapter: Adapter, recorded: Any, actions: np.ndarray, seed: int | None, span: int) -> Recording | str:
    """Return the replay of a Minari episode, or the reason why there is none or it differs; the reason continues "3 episodes ...".

    Args:
        adapter: the environment.
        recorded: Minari's `EpisodeData`.
        actions: float64[n, A], the recorded ones.
        seed: of the episode's reset; None: not recorded.
        span: environment steps from one frame to the next.
    """
    if seed is None:
        return "have no seed to be replayed from"
    outcomes, observations = [], [adapter.reset(seed)]
    for t, action in enumerate(actions, 1):
        outcomes.append(adapter.step(action[None], look=False))  # a chunk of one action
        if t % span == 0 or t == len(actions):  # where a decision begins, and at the end
            observations.append(adapter.observe())
        if outcomes[-1].terminated:  # where the recording goes on, the lengths differ, which is found below
            break
    rewards, hits = np.array([outcome.rewards[0] for outcome in outcomes]), np.array([outcome.success for outcome in outcomes])
    # Sparse rewards alone would prove little, so the last observation is compared too.
    alike = _alike(adapter.raw, recorded.observations)
    if len(rewards) < len(actions) or not np.allclose(rewards, recorded.rewards, **NEAR) or alike is False:
        return "did not replay exactly"
    if alike is None and not rewards.any():
        return "did not replay exactly: there is no reward, and no observation of the same name and shape"
    states = None if observations[0].state is None else np.stack([each.state for each in observations])  # type: ignore[arg-type]
    frames, achieved = np.stack([each.frames for each in observations]), outcomes[-1].achieved
    return Recording(int(recorded.id), observations[0].instruction, actions, rewards, hits, frames, seed, states, achieved)


def _alike(seen: Any, recorded: Any) -> bool | None:
    """Return whether an observation equals the last recorded one, as far as the two can be compared; None where nothing of them can.

    Args:
        seen: an observation; nested dicts of arrays, or an array.
        recorded: all recorded observations of the episode; dicts of arrays [n + 1, ...], or such an array.
    """
    if isinstance(seen, dict) and isinstance(recorded, dict):
        parts = [_alike(seen[key], recorded[key]) for key in seen.keys() & recorded.keys()]  # wrappers add and remove keys
        return False if False in parts else True if True in parts else None
    if isinstance(seen, dict) or not isinstance(recorded, np.ndarray) or recorded.dtype.kind not in "bif":
        return None  # pictures (unsigned integers) are stored with loss
    if np.shape(seen) != recorded.shape[1:] or not recorded[-1].size:
        return None  # a wrapper changed the observation
    return bool(np.allclose(seen, recorded[-1], **NEAR))
