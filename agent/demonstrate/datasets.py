"""Stored demonstrations: a dataset -> `Episode`s in the policy's own action tokens.

There are three kinds of datasets: a LeRobotDataset v3.0 of any producer, one that a run of etude wrote, and a local Minari dataset.

n = recorded environment steps of an episode; T, H, A, F as in `records`; C = cameras.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.config.config import Config
from agent.demonstrate import readers
from agent.demonstrate.readers import CAMERA
from agent.records import SEEDS, Episode
from agent.run import episodes as dataset
from envs import EnvConfig
from envs.frames import picture
from envs.spaces import Actions

MINARI, VERSION = "minari:", "v3.0"  # the prefix of a Minari id; the only LeRobotDataset version that is read
NO_SEED = -1  # of an episode whose dataset has no seed for it


def stored(config: Config, actions: Actions, codec: Any, leave_out: Callable[[str], None]) -> Iterator[Episode]:
    """Yield `demonstrate.episodes` successful episodes of the dataset `demonstrate.dataset`, or as many as it has, in its order.

    Args:
        config: names the dataset, its cameras, the environment and the number of episodes.
        actions: of the environment.
        codec: a `policies.codec.Codec`: H, and actions to tokens.
        leave_out: called with the reason for each episode that is left out; the reason continues "3 episodes ...".

    Raises:
        ValueError: there is no such dataset, it does not suit the environment, it is damaged, or none of its episodes can be used.
    """
    source, num_demonstrations, reasons = config.demonstrate.dataset, 0, Counter[str]()

    def pass_over(why: str) -> None:
        reasons[why] += 1
        leave_out(why)

    for episode in _open(config, actions, codec, pass_over) if config.demonstrate.episodes else ():
        if SEEDS["gate"] <= episode.seed < SEEDS["ground"]:  # the ranges of gate and test seeds lie between these
            pass_over("begin as an evaluation does")  # success on a demonstrated seed would not measure generalisation
        elif not episode.success:
            pass_over("failed")
        else:
            yield episode
            num_demonstrations += 1
        if num_demonstrations == config.demonstrate.episodes:
            return
    if config.demonstrate.episodes and not num_demonstrations:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3)) or "it is empty"
        raise ValueError(f"demonstrate.dataset {source} has no usable episode ({why}); name another one, or an expert in demonstrate.expert.")


def figures(shown: Sequence[Episode], num_left_out: int, actions: Actions) -> dict[str, float]:
    """Return the stage's figures about demonstrations from a dataset.

    Args:
        shown: the demonstrations.
        num_left_out: episodes that were left out.
        actions: of the environment.

    Returns:
        `left_out`; `mean_length`, decisions an episode; `clipped`, share of all action components that lie outside of the action space.
    """
    margin = 0.01 * (actions.high - actions.low)  # rounding at the border is no clipping
    # Much clipping means that the dataset has other units than the environment, degrees instead of radians for instance.
    outside = [(e.targets < actions.low - margin) | (e.targets > actions.high + margin) for e in shown]
    clipped = float(np.mean(np.concatenate([each.reshape(-1) for each in outside]))) if outside else 0.0
    return {"left_out": num_left_out, "mean_length": float(np.mean([*map(len, shown)])) if shown else 0.0, "clipped": clipped}


def cut(actions_nA: np.ndarray, counts_A: np.ndarray, action_repeat: int, chunk: int) -> np.ndarray:
    """Return the decisions of a recording at the environment's control rate, float32[T, H, A].

    A policy holds each action for `action_repeat` steps, so the recorded actions of each such stretch become one action.

    Args:
        actions_nA: float[n, A], one recorded action a step.
        counts_A: int[A], number of values of a discrete dimension, 0 where it is continuous.
        action_repeat: steps that an action is held for.
        chunk: H.
    """
    stretches = [actions_nA[start : start + action_repeat] for start in range(0, len(actions_nA), action_repeat)]
    # A continuous dimension gets the mean: the nearest constant action, and commanded displacements still add up to the same sum. The mean of
    # discrete labels has no meaning, so a discrete dimension gets the first one, which was chosen in the state that the frame shows.
    held = [np.where(counts_A > 0, actions[0], actions.mean(0)) for actions in stretches]
    held += held[-1:] * (-len(held) % chunk)  # the last action fills up its chunk
    return np.stack(held).reshape(-1, chunk, actions_nA.shape[1]).astype(np.float32)


def _open(config: Config, actions: Actions, codec: Any, leave_out: Callable[[str], None]) -> Iterator[Episode]:
    """Return the episodes of the dataset that the config names, failures among them."""
    source, (env, *others) = config.demonstrate.dataset, config.envs
    if others:
        raise ValueError(f"demonstrate.dataset {source} serves one environment, and this run has {1 + len(others)}; name experts instead.")
    span = env.action_repeat * codec.chunk  # environment steps of a decision
    if source.startswith(MINARI):
        recordings = readers.minari(source.removeprefix(MINARI), env, span, leave_out)
        return (_episode(each, each.frames, env, actions, codec) for each in recordings)  # the environment drew these frames, with their history
    root = Path(source).expanduser()
    info = _info(root)
    names = config.demonstrate.cameras or env.sources
    if len(names) != len(env.sources):
        raise ValueError(f"demonstrate.cameras names {len(names)} cameras, and env.cameras {len(env.sources)}; name one for each.")
    if "etude" in info:  # the key that only `agent.run.episodes` writes
        return _own(root, info, names, env, actions, codec, leave_out)
    readers.check_width(root, int(np.prod(info["features"].get("action", {"shape": [0]})["shape"])), len(actions), env)
    cameras = [_camera(root, info["features"], name) for name in names]
    recordings = readers.lerobot(root, info, cameras, span=span, size=env.size)
    return (_episode(each, _remembered(each.frames, env.history), env, actions, codec) for each in recordings)


def _info(root: Path) -> dict[str, Any]:
    """Return `meta/info.json` of a LeRobotDataset v3.0.

    Raises:
        ValueError: it is missing, damaged or of another version.
    """
    file = root / "meta/info.json"
    if not file.exists():
        # The folder of a run is no dataset itself, but its stages have datasets, which the message then suggests.
        inside = [str(each.parent.parent) for each in sorted(root.glob("*/episodes/meta/info.json"))]
        choice = " or ".join(inside[:2]) or "the folder of a LeRobotDataset v3.0, or minari:ID"
        raise ValueError(f"demonstrate.dataset is '{root}', and there is no meta/info.json in it; give {choice}.")
    with readers.reading(file):
        info = json.loads(file.read_text())
        version, _ = info.get("codebase_version"), info["features"]  # read here so that `reading` reports an info without features
    if version != VERSION:
        remedy = "convert it with lerobot's convert_dataset_v21_to_v30"
        raise ValueError(f"demonstrate.dataset {root} is of version {version}, and only {VERSION} is read; {remedy}.")
    return info


def _camera(root: Path, features: dict[str, Any], name: str) -> str:
    """Return the feature that holds the frames of the camera `name`."""
    pictures = [key for key, feature in features.items() if feature["dtype"] in ("image", "video")]
    for key in (name, CAMERA + name):  # the feature's full name, or its last part as in `env.cameras`
        if key in pictures:
            return key
    known = ", ".join(repr(key.removeprefix(CAMERA)) for key in pictures) or "none"
    raise ValueError(f"demonstrate.dataset {root} has no camera {name!r}; it has {known}. Name the cameras to use in demonstrate.cameras.")


# Fields that mean something in practice alone. `policy_tokens` are also in the codec of the policy that collected, which may be another one.
NOT_SHOWN: dict[str, Any] = {"policy_tokens": None, "lookahead_gains": None, "hindsight": None}


def _own(
    root: Path, info: dict[str, Any], names: Sequence[str], env: EnvConfig, actions: Actions, codec: Any, leave_out: Callable[[str], None]
) -> Iterator[Episode]:
    """Yield episodes that a run of etude stored, one row a decision. Actions are encoded anew: the codec may be another one now."""
    chosen = [[*info["features"]].index(_camera(root, info["features"], name)) for name in names]  # cameras are the first features that etude writes
    with readers.reading(root):
        episodes = dataset.read(root)
    for episode in episodes:
        if episode.faults or not len(episode):
            leave_out("were faulty")
            continue
        _, chunk, width = episode.actions.shape
        readers.check_width(root, width, len(actions), env)
        # Stored actions are held ones, so they cannot be cut anew for another chunk or action_repeat. Rewards are one an environment step.
        if (chunk, held := episode.rewards.shape[1] // chunk) != (codec.chunk, env.action_repeat):
            here = f"policy.chunk_size {codec.chunk} and env.action_repeat {env.action_repeat}"
            raise ValueError(f"demonstrate.dataset {root} was recorded with chunk {chunk} and action_repeat {held}, not {here}; set them alike.")
        frames = np.stack([[picture(frame, env.size) for frame in observation[chosen]] for observation in episode.frames])
        tokens = np.stack([codec.encode(each) for each in episode.targets])  # targets, not executed actions: those of a noisy expert differ
        blank = np.zeros(tokens.shape, np.float32)
        yield replace(episode, policy="oracle", frames=_remembered(frames, env.history), tokens=tokens, logprobs=blank, **NOT_SHOWN)


def _remembered(frames: np.ndarray, history: int) -> np.ndarray:
    """Return uint8[T + 1, F, h, w, 3] for uint8[T + 1, C, h, w, 3]: the frames of the last `history` observations, oldest first."""
    step = np.arange(len(frames))
    # Before the beginning nothing moved: the first frames are repeated, as an Adapter does.
    return np.concatenate([frames[np.maximum(step - age, 0)] for age in range(history - 1, -1, -1)], 1)


def _episode(recording: readers.Recording, frames: np.ndarray, env: EnvConfig, actions: Actions, codec: Any) -> Episode:
    """Return a recording as an episode of the policy's decisions; `frames` with their history, uint8[T + 1, F, h, w, 3]."""
    held, hits, seed = cut(recording.actions, actions.counts, env.action_repeat, codec.chunk), recording.hits, recording.seed
    span, tokens = env.action_repeat * codec.chunk, np.stack([codec.encode(each) for each in held])
    rewards = np.full(len(held) * span, np.nan, np.float32)  # NaN: steps of the last decision that were not recorded
    rewards[: len(hits)] = recording.rewards
    return Episode(
        task=env.title,
        seed=NO_SEED if seed is None or seed >= 2**63 else seed,  # Minari draws seeds of 64 bits; a dataset on disk holds signed ones
        attempt=recording.number,
        policy="oracle",  # as for any expert; each cycle replays all decisions of such episodes
        instruction=recording.instruction,
        frames=frames,
        actions=held,
        tokens=tokens,
        logprobs=np.zeros(tokens.shape, np.float32),
        rewards=rewards.reshape(len(held), span),
        success=bool(hits.any()),
        first_success=int(hits.argmax()) // span if hits.any() else None,
        success_at_end=bool(hits[-1]),
        terminated=bool(hits[-1]),  # a recording that does not end in a success counts as cut off
        truncated=not hits[-1],
        achieved=recording.achieved,
        states=recording.states,
    )
