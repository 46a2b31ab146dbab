"""PPO from pixels: what it reads, what it is rewarded for, and that it trains and sits an evaluation."""

import itertools

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecTransposeImage

import envs
from policies import sb3

REACH = "etude/Reach-v0"


def test_equal_instructions_are_equal_numbers() -> None:
    one, same = sb3.encode("touch the red ball"), sb3.encode("touch the red ball")
    assert np.array_equal(one, same)
    assert one.shape == (sb3.SLOTS * len(sb3.WORDS),) and one.dtype == np.float32
    assert one.sum() == 4  # one word, one number


def test_different_instructions_are_different_numbers() -> None:
    colours = sb3.WORDS[-5:]
    told = [f"push the {block} block onto the {pad} pad" for block, pad in itertools.product(colours, colours)]
    told += [f"{verb} the {colour} {name}" for verb, name in (("touch", "ball"), ("press", "button")) for colour in colours]
    assert len({sb3.encode(each).tobytes() for each in told}) == len(told)


def test_word_order_counts() -> None:
    one, other = sb3.encode("push the red block onto the blue pad"), sb3.encode("push the blue block onto the red pad")
    assert one.sum() == other.sum() and not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("instruction", "told"), [("touch the pink ball", "'pink'"), ("Touch the red ball", "'Touch'"), ("the " * 9, "9 words; at most 8")]
)
def test_what_cannot_be_encoded_is_named(instruction: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        sb3.encode(instruction)


@pytest.mark.parametrize("task", envs.TASKS)
def test_every_task_fits_its_observation_space(task: str) -> None:
    env = sb3.make(task)
    for seed in range(8):
        seen, info = env.reset(seed=seed)
        assert set(seen) == {"front", "wrist", "instruction"} and env.observation_space.contains(seen)
        assert np.array_equal(seen["instruction"], sb3.encode(info["instruction"]))
    assert env.observation_space.contains(env.step(env.action_space.sample())[0])


def test_state_only_if_asked_for() -> None:
    seen, _ = sb3.make(REACH, cameras=(), state=True).reset(seed=0)
    assert set(seen) == {"state", "instruction"} and seen["state"].shape == (9,)


def test_unknown_task_is_named() -> None:
    with pytest.raises(ValueError, match="etude/Juggle-v0"):
        sb3.make("etude/Juggle-v0")


def test_reward_is_progress_and_one_for_success() -> None:
    plain, ours = gymnasium.make(REACH, cameras=()), sb3.make(REACH, cameras=(), repeat=1)
    for seed in range(3):
        plain.reset(seed=seed)
        ours.reset(seed=seed)
        raw, progress, success = [], [], False
        while not success:
            action = plain.unwrapped.oracle()  # type: ignore[attr-defined]
            raw.append(float(plain.step(action)[1]))
            _, reward, _, truncated, info = ours.step(action)
            progress.append(float(reward))
            success = info["is_success"]
            assert success or not truncated, "the oracle solves these seeds"
        assert len(raw) > 1 and progress[0] == 0  # nothing is known of the reward before the first step
        assert np.allclose(progress, np.diff(raw, prepend=raw[0]) + np.eye(len(raw))[-1])


def test_held_actions_are_the_same_episode_with_fewer_pictures() -> None:
    held, single = sb3.make(REACH), sb3.make(REACH, repeat=1)
    held.reset(seed=0)
    single.reset(seed=0)
    rng = np.random.default_rng(0)
    for count in range(1, 7):
        action = rng.uniform(-0.2, 0.2, 3).astype(np.float32)
        seen, reward, _, truncated, _ = held.step(action)
        steps = [single.step(action) for _ in range(4)]
        assert all(np.array_equal(seen[key], steps[-1][0][key]) for key in seen)
        assert reward == pytest.approx(sum(step[1] for step in steps)) and truncated == steps[-1][3] == (count == 6)


def test_ppo_trains_from_pixels_and_sits_an_evaluation() -> None:
    rows: list[tuple[int, dict[str, float]]] = []
    model = sb3.train_pixels(REACH, 0, 600, 4, max_steps=256, batch_size=64, n_epochs=1, watch=lambda *row: rows.append(row))
    assert model.num_timesteps == 256 and [steps for steps, _ in rows] == [256]
    assert isinstance(model.get_env(), VecTransposeImage)  # SB3 saw that the frames are images with channels last
    assert model.observation_space["front"].shape == (3, 64, 64)  # type: ignore[index]
    outcomes = sb3.evaluate(sb3.greedy(model), REACH, [30_000_000, 30_000_001])
    assert list(outcomes) == [f"{REACH}/30000000", f"{REACH}/30000001"]
    assert outcomes == sb3.evaluate(sb3.greedy(model), REACH, [30_000_000, 30_000_001])


def test_training_stops_when_the_time_is_up() -> None:
    model = sb3.train_pixels(REACH, 0, 0.0, 2, batch_size=64, cameras=(), state=True)
    assert model.num_timesteps == 2


def test_an_evaluation_does_not_depend_on_how_many_sit_it_at_a_time() -> None:
    def sink(seen: dict[str, np.ndarray]) -> np.ndarray:  # straight down, which is right where a ball lies below the tool
        return np.tile([0.0, 0.0, -1.0], (len(seen["instruction"]), 1))

    seeds = [8, 9, 10, 11, 41]
    alone = sb3.evaluate(sink, REACH, seeds, num_envs=1, cameras=())
    assert [seed for seed in seeds if alone[f"{REACH}/{seed}"]] == [10, 41]
    assert alone == sb3.evaluate(sink, REACH, seeds, num_envs=3, cameras=())
