"""The contract of our own tasks: what every environment in `envs.TASKS` promises to policies and to the learner."""

import re

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs import EnvConfig
from envs.adapt import Adapter
from envs.simulate import render
from envs.simulate.render import mujoco
from envs.tasks.base import COLOURS

pytestmark = pytest.mark.parametrize("task", envs.TASKS)


def rollout(env, seed: int, act, noise: int = 0):
    """Play an episode; return its steps as (observation, reward, terminated, truncated, info)."""
    rng = np.random.default_rng(noise)
    env.reset(seed=seed)
    steps = []
    while not steps or not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(act(env.unwrapped, rng)))
    return steps


def forward(env) -> np.ndarray:
    return np.resize(np.array([1, 1, 0.5, -1], np.float32), env.action_space.shape)


def oracle(inner, rng: np.random.Generator) -> np.ndarray:
    return inner.oracle()


def at_random(inner, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1, 1, inner.action_space.shape).astype(np.float32)


@pytest.mark.filterwarnings("ignore")
def test_gymnasiums_own_checker_is_content(task: str):
    check_env(gymnasium.make(task, size=32).unwrapped, skip_render_check=True)


def test_frames_show_the_scene_and_its_motion(task: str):
    env = gymnasium.make(task)
    (first, _), (other, _) = env.reset(seed=1), env.reset(seed=0)
    for _ in range(4):
        moved, *_ = env.step(forward(env))
    for name in ("front", "wrist"):
        assert other[name].mean() > 30 and other[name].std() > 15, f"{name} is blank"
        assert len(np.unique(other[name].reshape(-1, 3), axis=0)) > 10
        assert np.abs(other[name].astype(int) - first[name]).mean() > 1, f"{name} shows the same scene for another seed"
        assert np.abs(other[name].astype(int) - moved[name]).mean() > 1, f"{name} does not show the motion"
    assert other["front"].shape == (64, 64, 3)


def test_frames_show_the_present_moment(task: str):
    """Not the one before the last physics step, which is what MuJoCo's own step leaves behind."""
    env = gymnasium.make(task)
    env.reset(seed=0)
    inner = env.unwrapped
    for _ in range(4):
        seen, *_ = env.step(forward(env))
    mujoco.mj_forward(inner.model, inner.data)
    for name in ("front", "wrist"):
        assert np.array_equal(seen[name], render.camera(inner.source, inner.model, (64, 64)).draw(inner.model, inner.data, name))


def test_the_named_colours_can_be_seen(task: str):
    env, seen = gymnasium.make(task), []
    for seed in range(20):
        observation, info = env.reset(seed=seed)
        pixels = observation["front"].reshape(-1, 3) / 255
        hues = pixels / np.linalg.norm(pixels, axis=1, keepdims=True)
        for colour in re.findall("|".join(COLOURS), info["instruction"]):
            hue = np.array(COLOURS[colour][:3]) / np.linalg.norm(COLOURS[colour][:3])
            seen.append((hues @ hue > 0.995).sum() >= 10)
    assert np.mean(seen) > 0.9, "the instruction names what the front camera does not show"


@pytest.mark.parametrize("act", [oracle, at_random])
def test_what_a_step_returns(task: str, act):
    env = gymnasium.make(task, size=32)
    for seed in range(3):
        for observation, reward, terminated, _, info in rollout(env, seed, act):
            assert env.observation_space.contains(observation)
            assert isinstance(reward, float) and 0 <= reward <= 1
            assert isinstance(info["is_success"], bool) and isinstance(info["instruction"], str)
            assert info["is_success"] == (info["instruction"] in info["achieved"])
            assert terminated or not info["is_success"]


def test_the_reward_is_highest_at_the_end(task: str):
    steps = rollout(gymnasium.make(task, cameras=()), 0, oracle)
    rewards = [step[1] for step in steps]
    assert steps[-1][4]["is_success"] and rewards[-1] == max(rewards) > 0.9


def test_a_seed_is_an_episode(task: str):
    def play(seed: int, noise: int):
        env = gymnasium.make(task)
        began, info = env.reset(seed=seed)
        steps = rollout(env, seed, at_random, noise)
        seen = [began, *(step[0] for step in steps)]
        return info["instruction"], [step[1] for step in steps], seen

    one, same, other = play(3, 0), play(3, 0), play(4, 0)
    assert one[:2] == same[:2]
    for first, second in zip(one[2], same[2], strict=True):
        assert all(np.array_equal(first[key], second[key]) for key in ("front", "wrist", "state"))
    assert all(not np.array_equal(one[2][0][key], other[2][0][key]) for key in ("front", "wrist", "state"))


def test_a_used_environment_begins_as_a_new_one_does(task: str):
    used = gymnasium.make(task)
    rollout(used, 0, oracle)
    fresh, again = gymnasium.make(task).reset(seed=5), used.reset(seed=5)
    assert fresh[1] == again[1] and all(np.array_equal(fresh[0][key], again[0][key]) for key in fresh[0])


def test_the_instruction_names_things_that_are_there_and_must_be_told_apart(task: str):
    env, instructions = gymnasium.make(task, cameras=()), set()
    for seed in range(40):
        _, info = env.reset(seed=seed)
        instructions.add(info["instruction"])
        colours = env.unwrapped.colours
        named = re.findall(rf"\b({'|'.join(COLOURS)}) (\w+)", info["instruction"])
        assert named
        for colour, noun in named:
            objects = {body: seen for body, seen in colours.items() if body.startswith(f"{noun}_")}
            assert list(objects.values()).count(colour) == 1, f"{info['instruction']!r}, but there is {objects}"
            assert len(set(objects.values())) >= 2, "nothing to tell it apart from"
        assert not info["is_success"], "done before it began"
    assert len(instructions) >= len(COLOURS)


def test_the_oracle_succeeds(task: str):
    env = gymnasium.make(task, cameras=())
    assert np.mean([rollout(env, seed, oracle)[-1][4]["is_success"] for seed in range(200)]) >= 0.98


def test_the_oracle_succeeds_when_its_actions_are_held(task: str):
    """As policies' actions are: `EnvConfig.action_repeat` steps each."""
    adapter, successes = Adapter(EnvConfig(id=task)), []
    for seed in range(50):
        adapter.reset(seed, look=False)
        outcome = adapter.step(adapter.oracle()[None], look=False)
        while not (outcome.terminated or outcome.truncated):
            outcome = adapter.step(adapter.oracle()[None], look=False)
        successes.append(outcome.success)
    assert np.mean(successes) >= 0.96


def test_an_episode_goes_on_after_success_where_it_must_not_tell_of_it(task: str):
    for terminate_on_success in (True, False):
        adapter = Adapter(EnvConfig(id=task, terminate_on_success=terminate_on_success))
        adapter.reset(7, look=False)
        while not (outcome := adapter.step(adapter.oracle()[None], look=False)).success:
            assert not (outcome.terminated or outcome.truncated)
        assert outcome.terminated == terminate_on_success


def test_nothing_begins_inside_something_else(task: str):
    env = gymnasium.make(task, cameras=())
    for seed in range(40):
        env.reset(seed=seed)
        assert env.unwrapped.data.contact.dist.min(initial=0) > -1e-4, "metres"


def test_chance_does_not(task: str):
    env = gymnasium.make(task, cameras=())
    assert np.mean([rollout(env, seed, at_random, seed)[-1][4]["is_success"] for seed in range(40)]) < 0.15


def test_an_unknown_camera_is_named(task: str):
    with pytest.raises(ValueError, match=r"'top'.*'front' and 'wrist'"):
        gymnasium.make(task, cameras=("top",))


def test_render_is_for_people(task: str):
    env = gymnasium.make(task, cameras=(), render_mode="rgb_array", render_size=80)
    env.reset(seed=0)
    frame = env.render()
    assert isinstance(frame, np.ndarray) and frame.shape == (80, 80, 3) and frame.std() > 15
