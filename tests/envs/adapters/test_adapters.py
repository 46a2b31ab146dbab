"""Families of environments of other packages: seeds, words, success, and going back, on the real package. Where it is missing, its tests are skipped.

`make test-envs` installs them, ManiSkill excepted.
"""

import random
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agent.config.read as configure
from agent.records import SEEDS
from agent.rollout.experts import resolve
from envs import EnvConfig
from envs.adapt import Adapter
from envs.adapters import INSTALL
from envs.adapters.libero import TEST_SEEDS
from envs.doctor import examine
from envs.make import make
from envs.simulate.replay import NOT_POSSIBLE, restore, snapshot

FOLDER = Path(__file__).parents[3] / "configs" / "envs"
PACKAGES = {  # a config, and the package that it needs
    "robosuite-lift": "robosuite",
    "libero-spatial-4": "libero",  # the bowl lies in a drawer, where the cabinet has to stand first
    "aloha-transfer-cube": "gym_aloha",
    "pusht": "gym_pusht",
    "myosuite-finger-reach": "myosuite",
}
families = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.skipif(find_spec(each) is None, reason=f"needs {each}")) for name, each in PACKAGES.items()]
)
MISSING = {"maniskill": "mani_skill"}  # prefixes whose package has another name


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed: make test-envs")


@cache
def adapter_of(name: str, max_episode_steps: int | None = None) -> Adapter:
    """Return one environment for all tests; they take seconds to make."""
    config = configure.read(FOLDER / f"{name}.yaml").envs[0]
    return Adapter(config.model_copy(update={"max_episode_steps": max_episode_steps or config.max_episode_steps}))


def actions(adapter: Adapter, count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [adapter.actions.sample(rng)[None] for _ in range(count)]


@families
def test_a_seed_is_an_episode_whatever_came_before(name: str) -> None:
    adapter, chosen = adapter_of(name), actions(adapter_of(name), 3)

    def episode(seed: int) -> list[np.ndarray]:
        return [adapter.reset(seed).frames, *(adapter.step(each).observation.frames for each in chosen)]

    first, other = episode(1), episode(2)
    for each in actions(adapter, 4, seed=1):  # leaves fingers and controllers elsewhere than they began
        adapter.step(each)
    assert all(np.array_equal(a, b) for a, b in zip(first, episode(1), strict=True))
    assert not np.array_equal(first[0], other[0])


@families
def test_the_words_are_known_and_nothing_is_solved_at_the_start(name: str) -> None:
    adapter = adapter_of(name)
    adapter.reset(3)
    outcome = adapter.step(actions(adapter, 1)[0], look=False)
    assert adapter.instruction and not outcome.success
    assert adapter.env.observation_space.contains(adapter.raw)


@families
def test_a_hundred_decisions_after_a_snapshot_are_those_of_an_environment_that_was_never_restored(name: str) -> None:
    adapter, plain = adapter_of(name, 4000), adapter_of(name, 4001)
    opening, future = actions(adapter, 3), actions(adapter, 100, seed=1)

    def played(each: Adapter) -> tuple[list[float], np.ndarray]:
        return [float(np.nansum(each.step(action, look=False).rewards)) for action in future], each.observe().frames

    for each in (adapter, plain):
        each.reset(5)
        for action in opening:
            each.step(action, look=False)
    moment = snapshot(adapter)
    played(adapter)
    restore(adapter, moment)
    (rewards, frames), (rewards_2, frames_2) = played(adapter), played(plain)
    assert (rewards == rewards_2 and np.array_equal(frames, frames_2)) == (name != "pusht")  # where the doctor says that it is not possible


@families
def test_the_doctor_finds_no_fault(name: str) -> None:
    found = examine(configure.read(FOLDER / f"{name}.yaml").envs[0], episodes=1, quick=True)
    assert not found.faults
    assert found.lines["replay"].startswith("exact")
    assert found.lines["snapshot"].startswith("exact" if name != "pusht" else NOT_POSSIBLE)
    assert "same frames: yes; other seeds differ: yes" in found.lines["seeding"]


@needs("robosuite")
def test_a_raised_cube_is_a_success_and_a_reset_leaves_the_generators_of_others_alone() -> None:
    adapter = adapter_of("robosuite-lift")
    adapter.reset(0, look=False)
    np.random.seed(0)
    random.seed(0)
    before = np.random.get_state()[1].copy(), random.getstate()
    adapter.reset(1, look=False)
    assert np.array_equal(before[0], np.random.get_state()[1]) and random.getstate() == before[1]
    assert not adapter.step(actions(adapter, 1)[0], look=False).success
    joint = adapter.model.joint("cube_joint0").qposadr[0]
    adapter.data.qpos[joint + 2] += 0.3
    assert adapter.step(actions(adapter, 1)[0], look=False).success


@needs("robosuite")
def test_robosuites_advice_about_private_settings_is_not_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import envs.adapters.robosuite, robosuite"], capture_output=True, text=True, check=True
    )
    assert "macro" not in done.stdout + done.stderr


@needs("libero")
def test_a_turned_knob_is_a_success_of_liberos_task() -> None:
    adapter = adapter_of("libero-goal-7")
    adapter.reset(0, look=False)
    assert adapter.instruction == "turn on the stove"
    knob = next(adapter.model.joint(i) for i in range(adapter.model.njnt) if "stove" in adapter.model.joint(i).name)
    adapter.data.qpos[knob.qposadr[0]] = knob.range[1]
    assert adapter.step(np.zeros((1, 7), np.float32), look=False).success


@pytest.mark.parametrize(
    "name", [pytest.param("robosuite-lift", marks=needs("robosuite")), pytest.param("robosuite-stack", marks=needs("robosuite")),
             pytest.param("libero-object-3", marks=needs("libero")), pytest.param("libero-90-0", marks=needs("libero"))],
)  # fmt: skip
def test_the_script_that_a_config_names_solves_its_task(name: str) -> None:
    config = configure.read(FOLDER / f"{name}.yaml")
    expert = resolve(str(FOLDER.parents[1] / config.demonstrate.expert), config.envs[0])
    adapter = adapter_of(name)
    for seed in range(2):
        adapter.reset(seed, look=False)
        while not (outcome := adapter.step(expert(adapter)[None], look=False)).success:
            assert not outcome.truncated


@needs("gym_pusht")
def test_a_t_in_its_place_is_a_success_of_pusht() -> None:
    config = configure.read(FOLDER / "pusht.yaml").envs[0]
    adapter = Adapter(config.model_copy(update={"reset_options": {"reset_to_state": [100.0, 100.0, 256.0, 256.0, np.pi / 4]}}))
    adapter.reset(0, look=False)
    inner: Any = adapter.env.unwrapped
    inner.block.angle = float(inner.goal_pose[2])
    inner.block.position = inner.goal_pose[:2].tolist()
    assert adapter.step(np.array([[100.0, 100.0]], np.float32), look=False).success


@needs("libero")
def test_test_seeds_alone_begin_in_the_published_states() -> None:
    adapter = adapter_of("libero-goal-7")
    inner: Any = adapter.env.unwrapped
    free = [adapter.model.jnt_qposadr[i] for i in range(adapter.model.njnt) if adapter.model.jnt_type[i] == 0]
    places = np.array([index for first in free for index in (first, first + 1)])  # x and y of each object: they fall a little at the start

    def distances(seed: int) -> np.ndarray:
        """Return float[50], metres: of each published state, the object that lies farthest from its place there."""
        adapter.reset(seed, look=False)
        return np.abs(inner._states[:, 1 + places] - adapter.data.qpos[places]).max(axis=1)

    for seed in (30_000_000, 30_000_007, 39_999_999):
        assert distances(seed).argmin() == seed % 50 and distances(seed).min() < 1e-3
    for seed in (0, 10_000_007, 20_000_007, 40_000_000):
        assert distances(seed).min() > 5e-3


@needs("libero")
def test_test_seeds_of_drawn_states_begin_in_more_states_than_are_published() -> None:
    config = configure.read(FOLDER / "libero-goal-7.yaml").envs[0]
    adapter = Adapter(config.model_copy(update={"kwargs": {"initial_states": "drawn"}}))
    first = adapter.reset(30_000_000).frames
    places = [adapter.data.qpos.copy() for seed in (30_000_050, 30_000_100) if adapter.reset(seed) is not None]
    assert np.abs(places[0] - places[1]).max() > 5e-3, "every 50 seeds the published states begin again"
    assert (adapter.reset(30_000_000).frames == first).all()
    adapter.close()


def test_the_range_of_test_seeds_is_that_of_the_records() -> None:
    assert range(SEEDS["test"], SEEDS["ground"]) == TEST_SEEDS


@pytest.mark.parametrize(
    ("name", "kwargs", "steps"),
    [
        pytest.param("aloha-transfer-cube", {}, 308, marks=needs("gym_aloha")),  # gym-aloha's own is 300
        pytest.param("robosuite-lift", {"horizon": 12}, 12, marks=needs("robosuite")),  # the config's own kwargs come first
    ],
)
def test_a_time_limit_may_be_longer_than_that_of_the_package(name: str, kwargs: dict[str, Any], steps: int) -> None:
    config = configure.read(FOLDER / f"{name}.yaml").envs[0]
    adapter = Adapter(config.model_copy(update={"max_episode_steps": 308, "kwargs": {**config.kwargs, **kwargs}, "action_repeat": 4}))
    adapter.reset(0, look=False)
    still, count, over = ((adapter.actions.low + adapter.actions.high)[None] / 2).astype(np.float32), 0, False
    while not over:
        outcome = adapter.step(still, look=False)
        count, over = count + int((~np.isnan(outcome.rewards)).sum()), outcome.truncated
    assert count == steps
    adapter.close()


@pytest.mark.parametrize("name", [pytest.param("robosuite-lift", marks=needs("robosuite")), pytest.param("libero-spatial-4", marks=needs("libero"))])
def test_robosuites_horizon_ends_no_episode_before_the_time_limit(name: str) -> None:
    inner: Any = adapter_of(name, 4000).env.unwrapped
    assert inner.robosuite.horizon == inner.horizon == 4000


@pytest.mark.parametrize("prefix", sorted(INSTALL))
def test_a_missing_package_is_one_sentence_with_the_line_that_installs_it(prefix: str) -> None:
    if find_spec(MISSING.get(prefix, prefix)) is not None:
        pytest.skip(f"{prefix} is installed")
    with pytest.raises(ValueError) as caught:
        make(EnvConfig(id=f"{prefix}:anything"))
    assert str(caught.value).startswith(f"Environment '{prefix}:anything' needs a package that is not installed (No module named ")
    assert str(caught.value).endswith(INSTALL[prefix])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("robosuite:Lyft", "robosuite has no task 'Lyft'; it has ", marks=needs("robosuite")),  # LIBERO, once imported, adds its own
        pytest.param("robosuite:Lift:x", "robosuite has no task 'Lift:x'; it has ", marks=needs("robosuite")),
        pytest.param("robosuite:Lift", "set env.cameras: [agentview, robot0_eye_in_hand]", marks=needs("robosuite")),
        pytest.param("libero:libero_gaol/0", "LIBERO has no suite 'libero_gaol'; it has libero_10, ", marks=needs("libero")),
        pytest.param("libero:libero_goal/10", "its tasks are libero_goal/0 to libero_goal/9, and 'libero_goal/10' is none", marks=needs("libero")),
        pytest.param("libero:libero_goal", "its tasks are libero_goal/0 to libero_goal/9", marks=needs("libero")),
    ],
)
def test_a_name_that_does_not_exist_is_one_sentence(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^Environment '{name}' cannot be made: ") as caught:
        make(EnvConfig(id=name))
    assert says in str(caught.value)
