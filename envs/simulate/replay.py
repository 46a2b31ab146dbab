"""Returns an environment to an earlier state: by a snapshot of all its attributes, or by repeating its actions from the reset.

Look-ahead and before/after videos need several futures of one state. Whether either way is exact depends on the environment, so both are tested on
the environment itself (`prove`) before they are used.
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

# Types that a snapshot does not copy, because they do not change during an episode.
SHARED = (gymnasium.Space, EnvSpec, types.ModuleType, types.FunctionType, types.MethodType, type, Actions, Success)
# Arrays of MjModel that change during an episode: Gymnasium-Robotics moves and colours markers of goals and finger tips, for instance.
MOVED = ("body_pos", "body_quat", "geom_pos", "geom_quat", "geom_rgba", "site_pos", "site_quat", "site_rgba")
# Arrays of MjData of which an environment may hold a view as an attribute (`init_qvel` of FrankaKitchen, the pads of Meta-World). A deep copy would
# cut the connection, so views are left out.
STATE = ("qpos", "qvel", "act", "ctrl", "mocap_pos", "mocap_quat", "qfrc_applied", "xfrc_applied")
STATE += ("xpos", "xquat", "xmat", "xipos", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "sensordata")
# Parts of names of types that hold memory of the graphics driver, which cannot be copied.
DRAWING = ("Renderer", "Viewer", "GLContext", "MjrContext", "MjvScene")


@dataclass(frozen=True)
class Snapshot:
    """A state of one adapter: physics with all derived quantities, and all attributes, random generators and past frames among them."""

    seed: int
    """Of the episode. It determines MjModel (shapes, masses), of which only the arrays `MOVED` are copied."""
    data: Any
    """A copy of MjData; None without MuJoCo."""
    moved: dict[str, np.ndarray]
    """Copies of the arrays `MOVED`; empty without MuJoCo."""
    layers: list[dict[str, Any]]
    """Copied attributes of the wrappers, outermost first, of the environment, and of the adapter."""
    references: list[Any]
    """Objects that the copies refer to instead of holding a copy: layers, MjModel, MjData and its arrays, config."""


def snapshot(adapter: Adapter) -> Snapshot:
    """Return a snapshot of the present state.

    MjData is copied as a whole, not only its integration state: cameras and sensors read derived quantities, and many environments leave these one
    step behind.
    """
    references = _references(adapter)
    data = copy.copy(adapter.data) if adapter.data is not None else None
    moved = {name: getattr(adapter.model, name).copy() for name in MOVED} if data is not None else {}
    return Snapshot(adapter.seed, data, moved, _copies([vars(layer) for layer in _layers(adapter)], references), references)


def restore(adapter: Adapter, moment: Snapshot) -> None:
    """Return an adapter to the state of a snapshot: the one that it is of, or another one of the same config. A snapshot may be used repeatedly."""
    if adapter.seed != moment.seed:
        adapter.reset(moment.seed)  # makes the MjModel of that episode
    # `deepcopy` replaces references to objects of the old adapter by those of this one; copied again, so that the snapshot itself stays unchanged.
    memo = {id(each): instead for each, instead in zip(moment.references, _references(adapter), strict=True)}
    for layer, attributes in zip(_layers(adapter), copy.deepcopy(moment.layers, memo), strict=True):
        vars(layer).update(attributes)
    for name, values in moment.moved.items():
        getattr(adapter.model, name)[...] = values
    if moment.data is not None:
        _copy_data(adapter.model, moment.data, adapter.data)


def _copy_data(model: Any, source: Any, target: Any) -> None:
    """Copy all of one MjData into another one."""
    if hasattr(mujoco, "mj_copyData"):
        mujoco.mj_copyData(target, model, source)
        return
    # MuJoCo 3.3 has no such function in Python. So: copy the integration state, compute what follows from it, and then copy all arrays of equal
    # shape, because those may be one step behind the integration state.
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
    """Begin the episode of `seed` and repeat its decisions; frames are drawn only for the last ones, which the history of observations holds.

    Args:
        adapter: the environment.
        seed: of the episode.
        openings: float32[H, A] actions of each decision since the reset.
    """
    adapter.reset(seed)
    for t, actions in enumerate(openings):
        adapter.step(actions, look=t >= len(openings) - adapter.config.history)


@dataclass(frozen=True)
class Proof:
    """Whether one way of returning to a state is exact, and how long it takes."""

    exact: bool
    count: int
    """Number of states that were returned to; an episode that ends before its state is reached has none."""
    seconds: float
    """Median time of one return."""
    difference: str
    """The first difference, as a phrase; empty if there is none."""


def prove(
    adapter: Adapter,
    seeds: Sequence[int],
    rng: np.random.Generator,
    opening: int = 6,
    length: int = 6,
    enough: int = 1000,
    watch: Callable[[int], None] = lambda seed: None,
) -> dict[str, Proof]:
    """Return a proof for 'snapshot' and for 'replay': frames and rewards after a return must equal those before it, bit by bit.

    Args:
        adapter: the environment.
        seeds: of the episodes to try.
        rng: draws their random actions.
        opening: largest number of decisions before the state to return to.
        length: number of decisions after it that are compared.
        enough: number of states after which no further seeds are tried.
        watch: called with each seed before it is tried.
    """
    times: dict[str, list[float]] = {"snapshot": [], "replay": []}
    differences = {"snapshot": "", "replay": ""}
    for seed in seeds:
        if len(times["replay"]) >= enough:
            break
        watch(seed)
        actions = [adapter.actions.sample(rng)[None] for _ in range(opening + length)]
        first, future = actions[: int(rng.integers(1, opening + 1))], actions[opening:]
        adapter.reset(seed)
        # Frames are drawn at each decision, as in an episode, so that an environment which changes when it draws is found.
        if any(_over(adapter.step(each)) for each in first):
            continue
        moment = snapshot(adapter)
        expected = _future(adapter, future)
        for way, go_back in (("snapshot", lambda: restore(adapter, moment)), ("replay", lambda: replay(adapter, seed, first))):  # noqa: B023
            began = time.perf_counter()
            go_back()
            times[way].append(time.perf_counter() - began)
            differences[way] = differences[way] or _difference(expected, _future(adapter, future), seed)
    return {way: Proof(not differences[way] and bool(row), len(row), float(np.median(row or [0.0])), differences[way]) for way, row in times.items()}


def _future(adapter: Adapter, actions: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return frames and rewards of each decision up to the end; the first entry is the present state, without rewards."""
    steps = [(adapter.observe().frames, np.zeros(0, np.float32))]
    for action in actions:
        outcome = adapter.step(action)
        steps.append((outcome.observation.frames, outcome.rewards))
        if _over(outcome):
            break
    return steps


def _difference(expected: list[tuple[np.ndarray, np.ndarray]], got: list[tuple[np.ndarray, np.ndarray]], seed: int) -> str:
    """Return the first difference of two results of `_future`, as a phrase; empty if there is none."""
    for t, ((frames, rewards), (frames_2, rewards_2)) in enumerate(zip(expected, got, strict=False)):
        if not np.array_equal(rewards, rewards_2, equal_nan=True):
            return f"rewards differ at seed {seed}, {t} decisions later"
        if not np.array_equal(frames, frames_2):
            return f"frames differ at seed {seed}, {t} decisions later"
    return "" if len(expected) == len(got) else f"the episode of seed {seed} ends at another step"


def _over(outcome: Any) -> bool:
    return outcome.terminated or outcome.truncated


def _layers(adapter: Adapter) -> list[Any]:
    """Return the wrappers, outermost first, the environment, and the adapter."""
    layers, env = [], adapter.env
    while True:
        layers.append(env)
        if env is env.unwrapped or not isinstance(env, gymnasium.Wrapper):
            return [*layers, adapter]
        env = env.env


def _references(adapter: Adapter) -> list[Any]:
    """Return the objects that a snapshot refers to, in a fixed order, so that those of two adapters correspond."""
    model, data = mujoco_of(adapter.env)
    return [*_layers(adapter), model, data, *(getattr(data, name) for name in STATE if data is not None), adapter.config]


def _copies(layers: list[dict[str, Any]], references: list[Any]) -> list[dict[str, Any]]:
    """Return deep copies of the attributes of layers, without shared ones. Within them, references to `references` stay references."""
    memo = {id(each): each for each in references}  # `deepcopy` returns these themselves
    arrays = [each for each in references if isinstance(each, np.ndarray)]
    copies: list[dict[str, Any]] = []
    for layer in layers:
        copies.append({})
        for name, value in layer.items():
            if id(value) in memo and any(value is each for each in references):
                continue
            if isinstance(value, np.ndarray) and any(np.may_share_memory(value, each) for each in arrays):  # a view of the simulation's state
                continue
            if isinstance(value, SHARED) or any(word in type(value).__name__ for word in DRAWING):
                continue
            try:
                copies[-1][name] = copy.deepcopy(value, memo)
            except Exception:  # locks and sockets are not state; if something else is left out here, `prove` finds that the snapshot is not exact
                continue
    return copies
