"""Returns an environment to an earlier state: by a snapshot of all its attributes, or by repeating its actions from the reset.

Look-ahead and before/after videos need several futures of one state. Whether either way is exact depends on the environment, so both are tested on
the environment itself (`prove`) before they are used.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.adapt import Adapter
from envs.faults import in_words
from envs.simulate import copies
from envs.simulate.render import mujoco

NOT_POSSIBLE = "not possible"  # how the difference of a snapshot begins that cannot be made
# Arrays of MjModel that change during an episode: Gymnasium-Robotics moves and colours markers of goals and finger tips, for instance.
MOVED = ("body_pos", "body_quat", "geom_pos", "geom_quat", "geom_rgba", "site_pos", "site_quat", "site_rgba")


@dataclass(frozen=True)
class Snapshot:
    """A state of one adapter: physics with all derived quantities, and all attributes, random generators and past frames among them."""

    seed: int
    """Of the episode. It determines MjModel (shapes, masses), of which only the arrays `MOVED` are copied."""
    data: Any
    """A copy of MjData; None without MuJoCo."""
    moved: dict[str, np.ndarray]
    """Copies of the arrays `MOVED`; empty without MuJoCo."""
    attributes: list[dict[str, Any]]
    """Copied attributes of the wrappers, outermost first, of the environment, of the adapter, and of those in `kept` that own something."""
    references: list[Any]
    """Objects that the copies refer to instead of holding a copy: layers, MjModel, MjData and its arrays, config."""
    kept: list[Any]
    """Further such objects: renderers, and what owns something outside of Python."""

    @property
    def outside(self) -> str:
        """Return the type of an object whose state may lie outside of Python, such as 'BulletClient'; '' if there is none."""
        return next((type(each).__name__ for each in self.kept if not copies.draws(each) and copies.owns(each)), "")


def snapshot(adapter: Adapter) -> Snapshot:
    """Return a snapshot of the present state.

    MjData is copied as a whole, not only its integration state: cameras and sensors read derived quantities, and many environments leave these one
    step behind.
    """
    references = copies.references(adapter)
    kept = copies.kept(adapter, references)
    data = copy.copy(adapter.data) if adapter.data is not None else None
    moved = {name: getattr(adapter.model, name).copy() for name in MOVED} if data is not None else {}
    attributes = copies.copies(_layered(adapter, kept), [*references, *kept])
    return Snapshot(adapter.seed, data, moved, attributes, references, kept)


def restore(adapter: Adapter, moment: Snapshot) -> None:
    """Return an adapter to the state of a snapshot: the one that it is of, or another one of the same config. A snapshot may be used repeatedly.

    Raises:
        ValueError: the environment does not hold the same kinds of renderers and clients as that of the snapshot.
    """
    same = adapter.seed == moment.seed and adapter.env is moment.references[0]
    if adapter.seed != moment.seed:
        adapter.reset(moment.seed)  # makes the MjModel of that episode
    references = copies.references(adapter)
    kept = moment.kept if same else copies.kept(adapter, references)
    if list(map(type, kept)) != list(map(type, moment.kept)):
        raise ValueError(f"{adapter.config.id}: a snapshot cannot be restored here, since other renderers or clients exist than when it was made.")
    # `deepcopy` replaces references to objects of the old adapter by those of this one; copied again, so that the snapshot itself stays unchanged.
    pairs = zip([*moment.references, *moment.kept], [*references, *kept], strict=True)
    copies.put_back(_layered(adapter, kept), copy.deepcopy(moment.attributes, {id(each): instead for each, instead in pairs}))
    for name, values in moment.moved.items():
        getattr(adapter.model, name)[...] = values
    if moment.data is not None:
        _copy_data(adapter.model, moment.data, adapter.data)
    adapter.forget_frames()


def _layered(adapter: Adapter, kept: list[Any]) -> list[Any]:
    """Return the objects whose attributes a snapshot holds."""
    return [*copies.holders(adapter), *(each for each in kept if copies.owns(each) and not copies.draws(each) and hasattr(each, "__dict__"))]


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
    late: Callable[[], bool] = lambda: False,
) -> dict[str, Proof]:
    """Return a proof for 'snapshot' and for 'replay': frames and rewards after a return must equal those before it, bit by bit.

    All replays come first: a snapshot that goes wrong may spoil the environment.

    Args:
        adapter: the environment.
        seeds: of the episodes to try.
        rng: draws their random actions.
        opening: largest number of decisions before the state to return to.
        length: number of decisions after it that are compared.
        enough: number of states after which no further seeds are tried.
        watch: called with each seed before it is tried.
        late: whether the time for it is over; each way is tried at least once all the same.
    """
    drawn = int(rng.integers(2**31))
    proofs = {}
    for way, attempt in (("replay", _replayed), ("snapshot", _restored)):
        times: list[float] = []
        difference = ""
        for seed in seeds:
            if len(times) >= enough or (times and late()) or (way == "snapshot" and difference):
                break
            watch(seed)
            choice = np.random.default_rng([drawn, seed])  # the same for both ways
            actions = [adapter.actions.sample(choice)[None] for _ in range(opening + length)]
            first, future = actions[: int(choice.integers(1, opening + 1))], actions[opening:]
            adapter.reset(seed)
            # Frames are drawn at each decision, as in an episode, so that an environment which changes when it draws is found.
            if any(_over(adapter.step(each)) for each in first):
                continue
            seconds, found = attempt(adapter, first, future)
            times.append(seconds)
            difference = difference or found
        proofs[way] = Proof(not difference and bool(times), len(times), float(np.median(times or [0.0])), difference)
    return proofs


def _replayed(adapter: Adapter, first: Sequence[np.ndarray], future: Sequence[np.ndarray]) -> tuple[float, str]:
    """Return how long a replay of the decisions `first` takes, in seconds, and the first difference in the `future` after it."""
    expected = _future(adapter, future)
    began = time.perf_counter()
    replay(adapter, adapter.seed, first)
    return time.perf_counter() - began, _difference(expected, _future(adapter, future), adapter.seed)


def _restored(adapter: Adapter, first: Sequence[np.ndarray], future: Sequence[np.ndarray]) -> tuple[float, str]:
    """Return the same for a snapshot, and why one is not possible, if it is not."""
    try:
        moment = snapshot(adapter)
        expected = _future(adapter, future)
        began = time.perf_counter()
        restore(adapter, moment)
        seconds = time.perf_counter() - began
        found = _difference(expected, _future(adapter, future), adapter.seed)
    except (Exception, SystemExit) as error:  # of the environment, or of a library that it uses
        return 0.0, f"{NOT_POSSIBLE}, {in_words(error)}"
    return seconds, f"{NOT_POSSIBLE}, as the state of its {moment.outside} lies outside of Python" if found and moment.outside else found


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
