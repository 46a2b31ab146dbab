"""Demonstrations that exist already: a stored dataset -> `Episode`s in the policy's own action tokens.

Three kinds: a LeRobotDataset v3.0 of any producer, one that a run of ours wrote, and a local Minari dataset.

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

MINARI, VERSION = "minari:", "v3.0"
NO_SEED = -1  # of an episode whose dataset says none


def stored(config: Config, actions: Actions, codec: Any, leave_out: Callable[[str], None]) -> Iterator[Episode]:
    """Yield `demonstrate.episodes` successful episodes of the dataset `demonstrate.dataset`, or as many as it has, in its order.

    Args:
        config: names the dataset, and says how the policy sees and acts.
        actions: of the environment.
        codec: a `policies.codec.Codec`: H, and actions to tokens.
        leave_out: called with the reason, words that follow "3 episodes", for each episode that is passed over.

    Raises:
        ValueError: there is no such dataset, it does not suit the environment, it is damaged, or nothing of it can be shown.
    """
    source, shown, reasons = config.demonstrate.dataset, 0, Counter[str]()

    def pass_over(why: str) -> None:
        reasons[why] += 1
        leave_out(why)

    for episode in _open(config, actions, codec, pass_over) if config.demonstrate.episodes else ():
        if SEEDS["gate"] <= episode.seed < SEEDS["ground"]:
            pass_over("begin as an exam does")  # an exam on what was shown would prove nothing
        elif not episode.success:
            pass_over("failed")
        else:
            yield episode
            shown += 1
        if shown == config.demonstrate.episodes:
            return
    if config.demonstrate.episodes and not shown:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3)) or "it is empty"
        raise ValueError(f"demonstrate.dataset {source} has no episode to show ({why}); name another one, or an expert in demonstrate.expert.")


def figures(shown: Sequence[Episode], num_left_out: int, actions: Actions) -> dict[str, float]:
    """Return what the records say of demonstrations that were read: how many were left out, decisions an episode, share of clipped numbers."""
    margin = 0.01 * (actions.high - actions.low)
    outside = [(e.targets < actions.low - margin) | (e.targets > actions.high + margin) for e in shown]
    clipped = float(np.mean(np.concatenate([each.reshape(-1) for each in outside]))) if outside else 0.0
    return {"left_out": num_left_out, "mean_length": float(np.mean([*map(len, shown)])) if shown else 0.0, "clipped": clipped}


def cut(actions_nA: np.ndarray, counts_A: np.ndarray, action_repeat: int, chunk: int) -> np.ndarray:
    """Return float32[T, H, A], decisions for a recording at the environment's control rate.

    A policy holds each action for `action_repeat` steps, so each piece of that length becomes one action. Where the dimension is continuous it
    is the mean, the held action nearest to all that was done (and as large in sum: a commanded displacement arrives). Where it is discrete
    (`counts_A` > 0) the mean of labels means nothing, and it is the first, decided on what the frame shows. The last one fills up its chunk.
    """
    pieces = [actions_nA[start : start + action_repeat] for start in range(0, len(actions_nA), action_repeat)]
    held = [np.where(counts_A > 0, piece[0], piece.mean(0)) for piece in pieces]
    held += held[-1:] * (-len(held) % chunk)
    return np.stack(held).reshape(-1, chunk, actions_nA.shape[1]).astype(np.float32)


def _open(config: Config, actions: Actions, codec: Any, leave_out: Callable[[str], None]) -> Iterator[Episode]:
    """Return the episodes of whichever kind of dataset the config names."""
    source, (env, *others) = config.demonstrate.dataset, config.envs
    if others:
        raise ValueError(f"demonstrate.dataset {source} serves one environment, and this run has {1 + len(others)}; name experts instead.")
    span = env.action_repeat * codec.chunk
    if source.startswith(MINARI):
        found = readers.minari(source.removeprefix(MINARI), env, span, leave_out)
        return (_episode(each, each.frames, env, actions, codec) for each in found)
    root = Path(source).expanduser()
    info = _info(root)
    names = config.demonstrate.cameras or env.sources
    if len(names) != len(env.sources):
        raise ValueError(f"demonstrate.cameras names {len(names)} cameras, and env.cameras {len(env.sources)}; name one for each.")
    if "etude" in info:
        return _own(root, info, names, env, actions, codec, leave_out)
    readers.check_width(root, int(np.prod(info["features"].get("action", {"shape": [0]})["shape"])), len(actions), env)
    cameras = [_camera(root, info["features"], name) for name in names]
    found = readers.lerobot(root, info, cameras, span=span, size=env.size)
    return (_episode(each, _remembered(each.frames, env.history), env, actions, codec) for each in found)


def _info(root: Path) -> dict[str, Any]:
    """Return what a LeRobotDataset of the right version says of itself."""
    file = root / "meta/info.json"
    if not file.exists():
        inside = [str(each.parent.parent) for each in sorted(root.glob("*/episodes/meta/info.json"))]
        choice = " or ".join(inside[:2]) or "the folder of a LeRobotDataset v3.0, or minari:ID"
        raise ValueError(f"demonstrate.dataset is '{root}', and there is no meta/info.json in it; give {choice}.")
    with readers.reading(file):
        info = json.loads(file.read_text())
        version, _ = info.get("codebase_version"), info["features"]
    if version != VERSION:
        mend = "convert it with lerobot's convert_dataset_v21_to_v30"
        raise ValueError(f"demonstrate.dataset {root} is of version {version}, and only {VERSION} is read; {mend}.")
    return info


def _camera(root: Path, features: dict[str, Any], name: str) -> str:
    """Return the feature that holds a camera's frames."""
    pictures = [key for key, feature in features.items() if feature["dtype"] in ("image", "video")]
    for key in (name, CAMERA + name):
        if key in pictures:
            return key
    known = ", ".join(repr(key.removeprefix(CAMERA)) for key in pictures) or "none"
    raise ValueError(f"demonstrate.dataset {root} has no camera {name!r}; it has {known}: say by demonstrate.cameras which to use.")


NOT_SHOWN: dict[str, Any] = {"rivals": None, "margins": None, "unasked": None}  # of practice, in tokens of the policy that practised


def _own(
    root: Path, info: dict[str, Any], names: Sequence[str], env: EnvConfig, actions: Actions, codec: Any, leave_out: Callable[[str], None]
) -> Iterator[Episode]:
    """Yield episodes that a run stored, one row a decision, with their actions written anew: bins may be others now."""
    chosen = [[*info["features"]].index(_camera(root, info["features"], name)) for name in names]  # cameras are its first features
    with readers.reading(root):
        episodes = dataset.read(root)
    for episode in episodes:
        if episode.faults or not len(episode):
            leave_out("were spoilt by their environment")
            continue
        _, chunk, width = episode.actions.shape
        readers.check_width(root, width, len(actions), env)
        if (chunk, held := episode.rewards.shape[1] // chunk) != (codec.chunk, env.action_repeat):
            here = f"policy.chunk {codec.chunk} and env.action_repeat {env.action_repeat}"
            raise ValueError(f"demonstrate.dataset {root} was recorded with chunk {chunk} and action_repeat {held}, not {here}; set them alike.")
        frames = np.stack([[picture(frame, env.size) for frame in moment[chosen]] for moment in episode.frames])
        tokens = np.stack([codec.encode(each) for each in episode.targets])
        blank = np.zeros(tokens.shape, np.float32)
        yield replace(episode, policy="oracle", frames=_remembered(frames, env.history), tokens=tokens, logprobs=blank, **NOT_SHOWN)


def _remembered(frames: np.ndarray, history: int) -> np.ndarray:
    """Return uint8[T + 1, F, h, w, 3] for uint8[T + 1, C, h, w, 3]: the frames of the last `history` moments, oldest first."""
    now = np.arange(len(frames))
    return np.concatenate([frames[np.maximum(now - age, 0)] for age in range(history - 1, -1, -1)], 1)


def _episode(recording: readers.Recording, frames: np.ndarray, env: EnvConfig, actions: Actions, codec: Any) -> Episode:
    """Return a recording as the policy would have made it."""
    held, hits, seed = cut(recording.actions, actions.counts, env.action_repeat, codec.chunk), recording.hits, recording.seed
    span, tokens = env.action_repeat * codec.chunk, np.stack([codec.encode(each) for each in held])
    rewards = np.full(len(held) * span, np.nan, np.float32)
    rewards[: len(hits)] = recording.rewards
    return Episode(
        task=env.title,
        seed=NO_SEED if seed is None or seed >= 2**63 else seed,  # Minari draws seeds of 64 bits; the dataset on disk holds 63
        take=recording.number,
        policy="oracle",  # as of any expert: the loop shows all its decisions again
        instruction=recording.instruction,
        frames=frames,
        actions=held,
        tokens=tokens,
        logprobs=np.zeros(tokens.shape, np.float32),
        rewards=rewards.reshape(len(held), span),
        success=bool(hits.any()),
        first_success=int(hits.argmax()) // span if hits.any() else None,
        success_at_end=bool(hits[-1]),
        terminated=bool(hits[-1]),
        truncated=not hits[-1],
        achieved=recording.achieved,
        states=recording.states,
    )
