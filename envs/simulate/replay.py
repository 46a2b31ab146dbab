"""Put an environment back to an earlier moment: by a snapshot of everything that it is, or by repeating its actions from the reset.

Preference pairs at exactly the same frame, and Monte-Carlo credit, need two futures of one moment. Whether either way is exact depends on the
environment, so both are proved on the environment itself (`prove`) before they are relied on.
"""

import copy
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from envs.adapt import Adapter
from envs.simulate.render import mujoco, mujoco_of
from envs.spaces import Actions
from envs.success import Success

# Kept by reference: they do not change during an episode, or (renderers) hold memory of the graphics driver.
SHARED = (gymnasium.Space, EnvSpec, types.ModuleType, types.FunctionType, types.MethodType, type, Actions, Success)
# Of the model, moved or coloured during an episode: the markers of goals and finger tips in Gymnasium-Robotics, for instance.
MOVED = ("body_pos", "body_quat", "geom_pos", "geom_quat", "geom_rgba", "site_pos", "site_quat", "site_rgba")
# Of the simulation; an environment may hold one of these arrays, or a part of it, instead of a copy (FrankaKitchen's `init_qvel`, Meta-World's pads).
STATE = ("qpos", "qvel", "act", "ctrl", "mocap_pos", "mocap_quat", "qfrc_applied", "xfrc_applied")
STATE += ("xpos", "xquat", "xmat", "xipos", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "sensordata")
DRAWING = ("Renderer", "Viewer", "GLContext", "MjrContext", "MjvScene")


@dataclass(frozen=True)
class Snapshot:
    """A moment of one adapter: physics with all derived quantities, every layer's attributes, random generators, frames of the past."""

    seed: int
    """Of the episode; the simulation's model (shapes, masses) belongs to it, and is not copied but for `MOVED`."""
    data: Any
    """A copy of MjData, or None without MuJoCo."""
    moved: dict[str, np.ndarray]
    """Copies of the model's arrays in `MOVED`; empty without MuJoCo."""
    layers: list[dict[str, Any]]
    """Attributes of the environment and its wrappers, outermost first, and last of the adapter itself; shared ones are left out."""
    kept: list[Any]
    """What copies refer to instead of copying it: layers, model, data, config."""


def snapshot(adapter: Adapter) -> Snapshot:
    """Return the present moment.

    Physics are copied whole, not only the integration state: cameras and sensors read derived quantities, and many environments leave these
    one step behind.
    """
    kept = _kept(adapter)
    data = copy.copy(adapter.data) if adapter.data is not None else None
    moved = {name: getattr(adapter.model, name).copy() for name in MOVED} if data is not None else {}
    return Snapshot(adapter.seed, data, moved, _copied([vars(layer) for layer in _layers(adapter)], kept), kept)


def restore(adapter: Adapter, moment: Snapshot) -> None:
    """Put the adapter that the snapshot was taken of, or another one of the same config, to that moment; as often as wanted."""
    if adapter.seed != moment.seed:
        adapter.reset(moment.seed)
    memo = {id(each): instead for each, instead in zip(moment.kept, _kept(adapter), strict=True)}
    for layer, then in zip(_layers(adapter), copy.deepcopy(moment.layers, memo), strict=True):
        vars(layer).update(then)
    for name, then in moment.moved.items():
        getattr(adapter.model, name)[...] = then
    if moment.data is not None:
        _copy_data(adapter.model, moment.data, adapter.data)


def _copy_data(model: Any, source: Any, target: Any) -> None:
    """Make one MjData what another one is."""
    if hasattr(mujoco, "mj_copyData"):
        mujoco.mj_copyData(target, model, source)
        return
    # Older bindings (3.3) cannot copy into data that is there: integration state, everything that follows from it, then all that has a fixed
    # size as it was, which may be one step behind.
    kind = mujoco.mjtState.mjSTATE_INTEGRATION.value
    state = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, source, state, kind)
    mujoco.mj_setState(model, target, state, kind)
    mujoco.mj_forward(model, target)
    for name in dir(source):
        value = None if name.startswith("_") else getattr(source, name, None)
        if isinstance(value, np.ndarray) and value.shape == getattr(target, name).shape and value.size:
            getattr(target, name)[...] = value


def replay(adapter: Adapter, seed: int, openings: Sequence[np.ndarray]) -> None:
    """Begin the episode of `seed` and repeat decisions, float32[H, A] each; frames are drawn at the last ones that history shows."""
    adapter.reset(seed)
    for t, actions in enumerate(openings):
        adapter.step(actions, look=t >= len(openings) - adapter.config.history)


@dataclass(frozen=True)
class Proof:
    """Whether one way of going back is exact, and what it costs."""

    exact: bool
    count: int
    """Moments that were gone back to; an episode that ends in its opening has none."""
    seconds: float
    """Median time to go back once."""
    difference: str
    """What was not the same, in words; empty where exact."""


def prove(
    adapter: Adapter,
    seeds: Sequence[int],
    rng: np.random.Generator,
    opening: int = 6,
    length: int = 6,
    enough: int = 1000,
    watch: Callable[[int], None] = lambda seed: None,
) -> dict[str, Proof]:
    """Return a proof for 'snapshot' and for 'replay': frames and rewards of a future, bit by bit, against the same future after going back.

    Args:
        adapter: any.
        seeds: episodes to try, each with random actions.
        rng: draws them.
        opening: decisions before the moment to come back to, at most.
        length: decisions after it.
        enough: moments after which no further seeds are tried.
        watch: called with each seed before it is tried.
    """
    times: dict[str, list[float]] = {"snapshot": [], "replay": []}
    found = {"snapshot": "", "replay": ""}
    for seed in seeds:
        if len(times["replay"]) >= enough:
            break
        watch(seed)
        actions = [adapter.actions.sample(rng)[None] for _ in range(opening + length)]
        taken, future = actions[: int(rng.integers(1, opening + 1))], actions[opening:]
        adapter.reset(seed)
        if any(_over(adapter.step(each)) for each in taken):  # looks at each, as a take does, so that it comes out if looking moves anything
            continue
        moment = snapshot(adapter)
        expected = _future(adapter, future)
        for way, go_back in (("snapshot", lambda: restore(adapter, moment)), ("replay", lambda: replay(adapter, seed, taken))):  # noqa: B023
            began = time.perf_counter()
            go_back()
            times[way].append(time.perf_counter() - began)
            found[way] = found[way] or _difference(expected, _future(adapter, future), seed)
    return {way: Proof(not found[way] and bool(spent), len(spent), float(np.median(spent or [0.0])), found[way]) for way, spent in times.items()}


def _future(adapter: Adapter, actions: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return frames and rewards of each decision, until the end; the first entry is the present."""
    seen = [(adapter.observe().frames, np.zeros(0, np.float32))]
    for action in actions:
        outcome = adapter.step(action)
        seen.append((outcome.observation.frames, outcome.rewards))
        if _over(outcome):
            break
    return seen


def _difference(expected: list[tuple[np.ndarray, np.ndarray]], got: list[tuple[np.ndarray, np.ndarray]], seed: int) -> str:
    for t, ((frames, rewards), (frames_2, rewards_2)) in enumerate(zip(expected, got, strict=False)):
        if not np.array_equal(rewards, rewards_2, equal_nan=True):
            return f"rewards differ at seed {seed}, {t} decisions later"
        if not np.array_equal(frames, frames_2):
            return f"frames differ at seed {seed}, {t} decisions later"
    return "" if len(expected) == len(got) else f"the episode of seed {seed} ends elsewhere"


def _over(outcome: Any) -> bool:
    return outcome.terminated or outcome.truncated


def _layers(adapter: Adapter) -> list[Any]:
    """Return wrappers, environment, and adapter."""
    layers, env = [], adapter.env
    while True:
        layers.append(env)
        if env is env.unwrapped or not isinstance(env, gymnasium.Wrapper):
            return [*layers, adapter]
        env = env.env


def _kept(adapter: Adapter) -> list[Any]:
    """Return what must stay what it is: layers, simulation."""
    model, data = mujoco_of(adapter.env)
    return [*_layers(adapter), model, data, *(getattr(data, name) for name in STATE if data is not None), adapter.config]


def _copied(layers: list[dict[str, Any]], kept: list[Any]) -> list[dict[str, Any]]:
    """Return deep copies of attributes, without what is kept or shared, in which references to what is kept stay references."""
    memo = {id(each): each for each in kept}
    own = [each for each in kept if isinstance(each, np.ndarray)]
    copies: list[dict[str, Any]] = []
    for layer in layers:
        copies.append({})
        for name, value in layer.items():
            if id(value) in memo and any(value is each for each in kept):
                continue
            if isinstance(value, np.ndarray) and any(np.may_share_memory(value, each) for each in own):
                continue
            if isinstance(value, SHARED) or any(word in type(value).__name__ for word in DRAWING):
                continue
            try:
                copies[-1][name] = copy.deepcopy(value, memo)
            except Exception:  # a lock, a socket: no part of a simulation's state; if it is one, `prove` finds the snapshot inexact
                continue
    return copies
