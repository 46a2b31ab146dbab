"""Generated datasets with planted oddities: each oddity is named or read rightly, and nothing but one sentence is ever raised."""

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.config.config import Config
from agent.demonstrate.datasets import figures, loss_figures, stored
from agent.demonstrate.doctor import examine
from agent.demonstrate.sources import Dataset
from agent.demonstrate.target import Tally, Target
from envs.spaces import Actions
from policies.codec import Codec
from tests.agent.demonstrate.written import CAMERA, SIDE, write

BOX = Actions(gymnasium.spaces.Box(-1, 1, (3,), np.float32))
TARGET = Target(BOX, (BOX.low, BOX.high), 20.0, 2)
CODEC = Codec(np.arange(33)[:, None], BOX.low, BOX.high, 1)


@dataclass
class Draft:
    """A dataset before it is written; an oddity changes it."""

    rng: np.random.Generator
    actions: list[Any]
    states: list[Any] | None
    rows: dict[str, Any] = field(default_factory=dict)
    listing: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    demonstrate: dict[str, Any] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    """Episodes that have to be left out."""

    def cells(self, value: Callable[[int, int], Any]) -> list[list[Any]]:
        return [[value(i, t) for t in range(len(each))] for i, each in enumerate(self.actions)]

    def somewhere(self) -> tuple[int, int]:
        i = int(self.rng.integers(len(self.actions)))
        return i, int(self.rng.integers(len(self.actions[i])))

    def each(self, value: Any) -> list[Any]:
        return [value for _ in self.actions]


def sound(seed: int) -> Draft:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, 14, rng.integers(2, 4)).tolist()
    actions = [[[*map(float, rng.uniform(-1, 1, 2)), (-1.0, 1.0)[t > n // 2]] for t in range(n)] for n in lengths]
    draft = Draft(rng, actions, [[[float(t), float(i)] for t in range(n)] for i, n in enumerate(lengths)])
    draft.rows["next.success"] = draft.cells(lambda i, t: t == lengths[i] - 1)
    return draft


# --- oddities that cost their episode --------------------------------------------------------------------------------------


def cell(value: Any) -> Callable[[Draft], None]:
    def plant(draft: Draft) -> None:
        i, t = draft.somewhere()
        draft.actions[i][t] = value
        draft.lost.add(i)

    return plant


def one(name: str, usual: Callable[[int, int], Any], value: Any) -> Callable[[Draft], None]:
    """One cell of a column is `value`."""

    def plant(draft: Draft) -> None:
        i, t = draft.somewhere()
        t = 0 if name == "task_index" else t  # the first row says the task
        draft.rows[name] = draft.cells(lambda j, s: value if (i, t) == (j, s) else usual(j, s))
        draft.lost.add(i)

    return plant


def state(value: Any) -> Callable[[Draft], None]:
    def plant(draft: Draft) -> None:
        i, t = draft.somewhere()
        assert draft.states is not None
        draft.states[i][t] = value
        draft.lost.add(i)

    return plant


def longer(draft: Draft) -> None:
    """More rows of the last episode are listed than there are."""
    draft.listing["length"] = [*map(len, draft.actions[:-1]), 99]
    draft.lost.add(len(draft.actions) - 1)


# --- oddities that are told, and the rest is read -----------------------------------------------------------------------------


def no_success(draft: Draft) -> None:
    draft.rows.pop("next.success")


def failures(draft: Draft) -> None:
    draft.rows["next.success"] = draft.cells(lambda i, t: bool(i) and t == len(draft.actions[i]) - 1)


def gripper(draft: Draft) -> None:
    draft.actions = [[row if row is None or len(row) < 3 else [*row[:2], (row[2] + 1) / 2] for row in each] for each in draft.actions]


def small(draft: Draft) -> None:
    draft.actions = [[[0.02 * row[0], 0.02 * row[1], row[2]] for row in each] for each in draft.actions]


def degrees(draft: Draft) -> None:
    draft.actions = [[[90 * row[0], row[1], row[2]] for row in each] for each in draft.actions]


def idle(draft: Draft) -> None:
    draft.actions = [[[0.0, 0.0, -1.0]] * 4 + each[4:] for each in draft.actions]
    draft.states = draft.states and [[each[4]] * 4 + each[4:] for each in draft.states]


def times(draft: Draft) -> None:
    draft.rows["timestamp"] = draft.cells(lambda i, t: t / 7)


def other_state(draft: Draft) -> None:
    draft.states = [[[*row, 0.0] for row in each] for each in draft.states or ()]


def no_state(draft: Draft) -> None:
    draft.states = None


def whole_floats(draft: Draft) -> None:
    draft.listing |= {"data/file_index": draft.each(0.0), "length": [float(len(each)) for each in draft.actions]}
    draft.rows |= {"frame_index": draft.cells(lambda i, t: float(t)), "task_index": draft.cells(lambda i, t: 0.0)}


def slow(draft: Draft) -> None:
    draft.other["fps"], draft.demonstrate["steps_per_row"] = 10, 2


def fast(draft: Draft) -> None:
    draft.other["fps"], draft.demonstrate["steps_per_row"] = 50, 0.4


# --- oddities for which the whole dataset is refused ------------------------------------------------------------------------


def told(**info: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.info.update(info)


def listed(name: str, value: Any) -> Callable[[Draft], None]:
    def plant(draft: Draft) -> None:
        usual = [*map(len, draft.actions)] if name == "length" else [*range(len(draft.actions))] if name == "episode_index" else draft.each(0)
        draft.listing[name] = [*usual[:-1], value]

    return plant


def rate(value: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.other.update(fps=value)


def damaged(draft: Draft) -> None:
    draft.rows[CAMERA] = draft.cells(lambda i, t: {"bytes": b"\x89PNG and no more", "path": None})


def outside(draft: Draft) -> None:
    draft.rows[CAMERA] = draft.cells(lambda i, t: {"bytes": None, "path": "../../secret.png"})


NAN = float("nan")
LEFT_OUT = {
    "nan": (cell([0.1, NAN, 1.0]), r"an action that is not 3 finite numbers, the first: episode \d+, row \d+ has .*nan"),
    "inf": (cell([0.1, float("inf"), 1.0]), r"an action that is not 3 finite numbers, the first: episode \d+, row \d+"),
    "null in a list": (cell([0.1, None, 1.0]), r"an action that is not 3 finite numbers, the first: episode \d+, row \d+"),
    "null": (cell(None), r"an action that is not 3 finite numbers, the first: episode \d+, row \d+ has None"),
    "short": (cell([0.1, 0.2]), r"an action that is not 3 finite numbers, the first: episode \d+, row \d+"),
    "state": (state([NAN, 0.0]), r"an observation.state that is not 2 finite numbers, the first: episode \d+, row \d+"),
    "reward": (one("next.reward", lambda i, t: 0.0, NAN), r"a next.reward that is not 1 finite number, the first: episode \d+, row \d+"),
    "success": (one("next.success", lambda i, t: int(t > 6), -1), r"a next.success that is neither true nor false, the first: episode \d+, row \d+"),
    "task": (one("task_index", lambda i, t: 0, 7), r"no task in meta/tasks.parquet, the first: episode \d+ has the task_index 7"),
    "frame_index": (one("frame_index", lambda i, t: t, 99), r"a frame_index that does not count from 0, the first: episode \d+, row \d+"),
    "length": (longer, r"another number of rows than meta/episodes says, the first: episode \d+ has \d+ of 99"),
    "no frame": (one(CAMERA, lambda i, t: {"bytes": b"", "path": "?"}, None), r"lack a frame|cannot be read"),
}
TOLD = {
    "no success": (no_success, "no success column"),
    "failures": (failures, r"[12] of [23] episodes \(next.success\)"),
    "gripper": (gripper, "Action number 2 has the values 0 and 1 alone, and the environment's range is -1 to 1"),
    "small": (small, "The codec loses .* of action numbers 0 and 1 of the demonstrations"),
    "degrees": (degrees, "go beyond the environment's range in action number 0"),
    "idle": (idle, r"of \d+ rows do nothing"),
    "times": (times, "Timestamps differ from frame_index / fps by up to"),
    "other state": (other_state, "observation.state has 3 numbers, and that of the environment 2"),
    "no state": (no_state, "none"),
    "whole floats": (whole_floats, ""),
    "slow": (slow, "has 10 rows a second, and etude/Reach-v0 takes 20 steps; a row lasts 2 of them"),
    "fast": (fast, "has 50 rows a second, and etude/Reach-v0 takes 20 steps; a row lasts 0.4 of them"),
}
REFUSED = {
    "rate": (rate(10), r"10 rows a second, and .* takes 20 steps a second; set demonstrate.steps_per_row to 2"),
    **{f"fps {value!r}": (rate(value), "fps is|could not convert|must be a string or a real number") for value in (0, -3, "soon", None)},
    "version": (told(codebase_version="v2.1"), "is of version v2.1"),
    "no features": (told(features=None), "cannot be read"),
    "list of features": (told(features=[1]), "cannot be read"),
    "width": (told(features={"action": {"dtype": "float32", "shape": [7]}, CAMERA: {"dtype": "image", "shape": [9, 9, 3]}}), "actions of 7 numbers"),
    "no camera": (told(features={"action": {"dtype": "float32", "shape": [3]}}), "no camera 'front'"),
    **{
        f"path {path}": (told(data_path=path), "cannot be read")
        for path in ("/etc/passwd", "../x.parquet", "{chunk_index.__class__}", "{", None, 5, "data", "{file_index:99999999}")
    },
    **{
        f"{name} {value!r}": (listed(name, value), "should be a whole number")
        for name in ("data/file_index", "data/chunk_index", "length", "episode_index")
        for value in (None, 0.5, -1, NAN)
    },
    "file": (listed("data/file_index", 9), "it is missing"),
    "twice": (listed("episode_index", 0), "it lists an episode twice"),
    "damaged frame": (damaged, "cannot be read"),
    "frame outside": (outside, "lies outside of the dataset"),
}
KINDS = LEFT_OUT | TOLD | REFUSED
EXCLUSIVE = (  # kinds that undo one another: a set holds one of each group at most
    {"state", "no state", "other state"},
    {"success", "failures", "no success"},
    {"rate", "fast", "slow"},
    {"gripper", "idle"},
    {"idle", "no state"},  # without a state nothing tells
    {"degrees", "small"},
)


def read(draft: Draft, root: Path) -> tuple[str, list[Any]]:
    """Write a draft and read it as a run and as the doctor do; return all that was said, and the episodes."""
    write(root, draft.actions, states=draft.states, rows=draft.rows, listing=draft.listing, info=draft.info, **draft.other)
    config = Config(
        env={"cameras": ("front",), "size": SIDE, "action_repeat": 4},  # type: ignore[arg-type]
        demonstrate={"dataset": str(root), **draft.demonstrate},  # type: ignore[arg-type]
    )
    found, tally, episodes = examine(str(root), None), Tally(), []
    said = [*found.notes, *found.faults, *map(str, found.lines.values())]
    try:
        episodes = list(stored(config, TARGET, CODEC, tally))
        said += [*Dataset.of(config, TARGET).sentences(), *loss_figures(episodes, CODEC)[1]]
        assert all(np.isfinite(value) for value in figures(episodes, tally, TARGET).values())
    except ValueError as error:
        said.append(str(error))
    said += tally.lines()
    assert not any("\n" in each for each in said)
    return " ".join(said), episodes


def planted(seed: int, names: frozenset[str]) -> None:
    """Plant oddities into a sound dataset, and check that they are named or read rightly."""
    for group in EXCLUSIVE:
        names -= set(sorted(names & group)[1:])
    draft = sound(seed)
    before = [len(each) for each in draft.actions]
    for name in sorted(names, key=lambda name: [*TOLD, *LEFT_OUT, *REFUSED].index(name)):  # what changes all actions comes first
        KINDS[name][0](draft)
    with tempfile.TemporaryDirectory() as folder:
        said, episodes = read(draft, Path(folder) / "set")
    context = f"{sorted(names)} (seed {seed}): {said}"
    if refused := names & {*REFUSED, "no frame"}:
        # One fault may hide another, so one of them has to be named; or none where all episodes are lost to something else before.
        assert any(re.search(KINDS[name][1], said) for name in refused | (names & {*LEFT_OUT})), context
        return
    for name in names:
        if not (name in TOLD and draft.lost) and not (len(names & {*LEFT_OUT}) > 1 and name in LEFT_OUT):  # what is lost has no ranges
            assert re.search(KINDS[name][1], said), f"{name} of {context}"
    assert len(draft.lost) == 0 or any(re.search(KINDS[name][1], said) for name in names & {*LEFT_OUT}), context
    kept = [i for i in range(len(before)) if i not in draft.lost]
    if "failures" not in names or any(i > 0 for i in kept):
        assert [each.attempt for each in episodes] == (kept if kept else []), context
        assert all(each.success == ("failures" not in names or each.attempt > 0) for each in episodes), context


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), names=st.frozensets(st.sampled_from(sorted(KINDS)), max_size=3))
@example(seed=0, names=frozenset())
def test_what_is_planted_is_named_or_read(seed: int, names: frozenset[str]) -> None:
    planted(seed, names)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_each_oddity_alone(name: str) -> None:
    planted(1, frozenset([name]))


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), names=st.frozensets(st.sampled_from(sorted(KINDS)), max_size=4))
def test_a_thousand_datasets(seed: int, names: frozenset[str]) -> None:
    planted(seed, names)
