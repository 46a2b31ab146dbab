"""Conventions of datasets that differ from the environment's: each is read rightly, or told in one sentence."""

import os
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.config.config import Config
from agent.demonstrate.datasets import figures, loss_figures, stored
from agent.demonstrate.sources import Dataset, cut
from agent.demonstrate.survey import Survey
from agent.demonstrate.target import Tally, Target
from agent.records import Episode
from envs.spaces import Actions
from policies.codec import Codec
from tests.agent.demonstrate.written import SIDE, frame, write

RNG = np.random.default_rng(0)
BOX = Actions(gymnasium.spaces.Box(-1, 1, (3,), np.float32))


def target(space: Actions = BOX, rate: float | None = 20, state_size: int = 0) -> Target:
    return Target(space, (space.low, space.high), rate, state_size)


def config(source: Path, success: str = "", state: dict | None = None, **demonstrate: Any) -> Config:
    return Config(
        env={"cameras": ("front",), "size": SIDE, "action_repeat": 4, "success": success},  # type: ignore[arg-type]
        policy={"state": state or {}, "prompt": "{instruction} {state}" if state else "{instruction}"},  # type: ignore[arg-type]
        demonstrate={"dataset": str(source), **demonstrate},  # type: ignore[arg-type]
    )


def codec(space: Actions = BOX, bins: int = 33) -> Codec:
    return Codec(100 + np.arange(bins)[:, None], space.low, space.high, 1, space.counts)


def read(chosen: Config, to: Target | None = None) -> tuple[list[Episode], Tally]:
    tally, to = Tally(), to or target()
    return list(stored(chosen, to, codec(to.actions), tally)), tally


def told(chosen: Config, to: Target | None = None) -> str:
    return " ".join(Dataset.of(chosen, to or target()).sentences())


def arm(length: int, size: float = 1.0, gripper: tuple[float, float] = (-1, 1)) -> list[list[float]]:
    """Random actions of two numbers of an arm, and a gripper that closes in the second half."""
    moves = RNG.uniform(-size, size, (length, 2))
    return [[*map(float, move), gripper[t >= length // 2]] for t, move in enumerate(moves)]


# --- ranges ------------------------------------------------------------------------------------------------------------


def test_small_actions_in_a_wide_box_are_told(tmp_path: Path) -> None:
    """33 bins of [-1, 1] are 0.06 wide, so each number of +-0.02 becomes 0."""
    episodes, _ = read(config(write(tmp_path, [arm(24, 0.02) for _ in range(3)])))
    made, said = loss_figures(episodes, codec())
    assert made["codec_loss/0"] == pytest.approx(1, abs=0.05) and made["codec_loss/1"] == pytest.approx(1, abs=0.05) and made["codec_loss/2"] == 0
    assert (
        len(said) == 1 and "of the standard deviation of action numbers 0 and 1 of the demonstrations; set env.action_bounds to quantiles" in said[0]
    )
    used = figures(episodes, Tally(), target())
    assert used["used/0"] < 0.02 and used["used/2"] == 1
    fine = Actions(gymnasium.spaces.Box(-1, 1, (3,), np.float32), Dataset.of(config(tmp_path), target()).survey.bounds)
    made, said = loss_figures(read(config(tmp_path), target(fine))[0], codec(fine))
    assert max(made.values()) < 0.1 and not said, "quantiles of the demonstrations mend it"


def test_quantiles_are_those_of_numpy_and_a_gripper_keeps_its_values() -> None:
    rows = np.concatenate([RNG.normal(0, 1, (1000, 2)), np.where(np.arange(1000) < 3, 1.0, 0.0)[:, None], np.full((1000, 1), 0.3)], 1)
    rows = np.concatenate([rows, np.where(np.arange(1000) == 7, 0.5, 0.0)[:, None]], 1)  # a movement that is rarer than one row in 100
    bounds = np.array(Survey.of([rows[:400], rows[400:]]).bounds)
    np.testing.assert_allclose(bounds[:2].T, np.quantile(rows[:, :2], (0.01, 0.99), axis=0))
    np.testing.assert_array_equal(bounds[2:], [[0, 1], [0.3, 0.3], [0, 0.5]])
    space = Actions(gymnasium.spaces.Box(-np.inf, np.inf, (5,)), tuple(map(tuple, bounds.tolist())))
    words = codec(space)
    for value in (0.0, 1.0):
        assert words.decode(words.encode(np.array([[0, 0, value, 0.3, 0]])))[0, 2] == value
    assert words.decode(words.encode(np.array([[0, 0, 0, 9, 0]])))[0, 3] == np.float32(0.3), "what never changes is held"


@pytest.mark.parametrize("closed", [0.0, 0.001])
def test_a_gripper_of_another_range_is_told(tmp_path: Path, closed: float) -> None:
    source = write(tmp_path, [arm(24, gripper=(closed, 1)) for _ in range(2)])
    said = told(config(source))
    assert f"Action number 2 has the values {closed:g} and 1 alone, and the environment's range is -1 to 1" in said
    episodes, tally = read(config(source))
    assert figures(episodes, tally, target())["used/2"] == pytest.approx(0.5, abs=0.01)


def test_a_gripper_of_a_small_range_gets_one_piece_of_advice(tmp_path: Path) -> None:
    """Bins for 0 to 0.08 would send such numbers to an environment whose gripper takes -1 to 1."""
    chosen = config(write(tmp_path, [arm(24, gripper=(0, 0.08)) for _ in range(2)]))
    assert told(chosen).count("number 2") == 1 and "number 2 has the values 0 and 0.08 alone" in told(chosen)
    made, said = loss_figures(read(chosen)[0], codec(), target().box)
    assert made["codec_loss/2"] > 0.25 and said == []


def test_a_range_of_one_side_and_one_beyond_the_box_are_told(tmp_path: Path) -> None:
    half = [[float(x), float(y), float(z)] for x, y, z in RNG.uniform((-1, 0, -90), (1, 1, 90), (40, 3))]
    said = told(config(write(tmp_path, [half])))
    assert "Only one half of the environment's range is used by action number 1;" in said
    assert "go beyond the environment's range in action number 2; perhaps they have other units" in said


def test_small_actions_are_no_half_of_the_range(tmp_path: Path) -> None:
    for low, high in ((-0.001, 0.001), (0.0, 0.3), (-0.7, 0.0)):
        some = [[float(x), float(y), float(t % 2)] for t, (x, y) in enumerate(RNG.uniform(low, high, (40, 2)))]
        assert "one half" not in told(config(write(tmp_path, [some])))


@pytest.mark.parametrize("gripper", [(0, 255), (-57, 57)])
def test_numbers_of_other_units_get_no_advice_to_send_them(gripper: tuple[float, float], tmp_path: Path) -> None:
    chosen = config(write(tmp_path, [arm(24, 0.02, gripper) for _ in range(2)]))
    assert "go beyond the environment's range in action number 2; perhaps they have other units" in told(chosen)
    made, (said,) = loss_figures(read(chosen)[0], codec(), target().box)
    assert made["codec_loss/2"] > 0.25 and "of action numbers 0 and 1 of the demonstrations; set env.action_bounds" in said
    coarse = config(write(tmp_path / "coarse", [arm(24, 1.0, gripper) for _ in range(2)]))
    assert loss_figures(read(coarse)[0], codec(), target().box)[1] == []


def test_what_is_usual_is_not_told(tmp_path: Path) -> None:
    lengths = [24, 17]
    rows = {"next.success": [[t == n - 1 for t in range(n)] for n in lengths]}
    assert told(config(write(tmp_path, [arm(n) for n in lengths], rows=rows))) == ""


# --- held actions --------------------------------------------------------------------------------------------------------


def test_a_gripper_has_the_value_of_the_majority_of_a_held_action() -> None:
    gripper = [-1, -1, -1, 1, 1, 1, -1, 1, 1, 1, -1, -1]
    rows = np.stack([np.linspace(0, 1, 12), gripper], 1)
    held = cut(rows, np.zeros(2, int), 4, 1)[:, 0]
    np.testing.assert_array_equal(held[:, 1], [-1, 1, 1], "of a tie the first")
    np.testing.assert_allclose(held[:, 0], rows[:, 0].reshape(3, 4).mean(1), rtol=1e-6)
    noisy = np.stack([np.linspace(0, 1, 12), np.where(np.array(gripper) > 0, 1.0, 0.0) + np.linspace(0, 0.005, 12)], 1)
    assert set(np.round(cut(noisy, np.zeros(2, int), 4, 1)[:, 0, 1])) == {0, 1}, "values that differ by noise alone are one"


# --- labels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-1, 4, 0.33])
def test_a_label_that_the_environment_does_not_have_costs_its_episode(tmp_path: Path, bad: float) -> None:
    labels = [[[float(RNG.integers(4))] for _ in range(8)] for _ in range(3)]
    labels[1][5] = [bad]
    four = Actions(gymnasium.spaces.Discrete(4))
    episodes, tally = read(config(write(tmp_path, labels)), target(four))
    assert [each.attempt for each in episodes] == [0, 2]
    assert tally.lines() == [f"1 have a label that the environment does not have, the first: episode 1, row 5 has {bad:g}, and 0 to 3 are allowed"]
    assert told(config(tmp_path), target(four)).startswith("The dataset has no success column"), "ranges and codec are not spoken of"
    assert not loss_figures(episodes, codec(four))[1]


# --- state ---------------------------------------------------------------------------------------------------------------


def test_the_state_is_read_at_each_decision(tmp_path: Path) -> None:
    states = [[[i + t / 100, -t] for t in range(10)] for i in range(2)]
    source = write(tmp_path, [arm(10), arm(10)], states=states)
    episodes, _ = read(config(source, state={0: (0, 1)}), target(state_size=2))
    for i, episode in enumerate(episodes):
        assert episode.states is not None
        np.testing.assert_allclose(episode.states, np.array(states[i])[[0, 4, 8, 9]], rtol=1e-6)
        np.testing.assert_array_equal(episode.frames[:, 0], [frame(i, t) for t in (0, 4, 8, 9)])
    box = (np.array([5.0, -20]), np.array([9.0, -12]))
    assert "lie outside of the environment's observation space" in told(config(source), Target(BOX, (BOX.low, BOX.high), 20, 2, box))
    assert read(config(source), target(state_size=3))[0][0].states is None
    assert "observation.state has 2 numbers, and that of the environment 3 (env.state), so a policy does not get it" in told(
        config(source), target(state_size=3)
    )


@pytest.mark.parametrize(("states", "says"), [(None, "has no observation.state"), ([[[0, 1]] * 8], "has 2 numbers in observation.state")])
def test_a_state_that_the_prompt_needs_and_the_dataset_lacks_is_one_sentence(tmp_path: Path, states: Any, says: str) -> None:
    with pytest.raises(ValueError, match=rf"{says}, and etude/Reach-v0 has 3 in its state \(env\.state\), which policy\.state puts into the prompt"):
        read(config(write(tmp_path, [arm(8)], states=states), state={0: (0, 1)}), target(state_size=3))


# --- rates ---------------------------------------------------------------------------------------------------------------


def test_another_rate_is_refused_until_it_is_said_what_a_row_is(tmp_path: Path) -> None:
    source = write(tmp_path, [arm(9)], fps=10)
    with pytest.raises(ValueError, match=r"has 10 rows a second, and etude/Reach-v0 takes 20 steps a second; set demonstrate\.steps_per_row to 2 if"):
        read(config(source))
    assert "10 rows a second, and etude/Reach-v0 takes 20 steps; a row lasts 2 of them" in told(config(source, steps_per_row=2))
    assert len(read(config(source), target(rate=None))[0][0]) == 3, "an environment that declares no rate: a row is a step"
    assert "etude/Reach-v0 declares no rate, so each of 10 rows a second is taken for one environment step; set demonstrate.steps_per_row" in told(
        config(source), target(rate=None)
    )
    assert "rate" not in told(config(source, steps_per_row=1), target(rate=None))
    assert len(read(config(source, steps_per_row=1))[0][0]) == 3
    (episode,), _ = read(config(source, steps_per_row=2))
    rows = np.array(arm_rows(source))
    assert len(episode) == 5 and episode.success_at_end
    np.testing.assert_allclose(episode.actions[:4, 0, :2], rows[:8, :2].reshape(4, 2, 2).mean(1), rtol=1e-6)
    np.testing.assert_array_equal(episode.frames[:, 0], [frame(0, t) for t in (0, 2, 4, 6, 8, 8)])


def test_more_rows_than_steps(tmp_path: Path) -> None:
    source = write(tmp_path, [arm(40)], fps=50, rows={"next.success": [[t == 38 for t in range(40)]]})
    (episode,), _ = read(config(source, steps_per_row=0.4))
    assert len(episode) == 4 and episode.success, "16 steps; the row of success is one that no step falls on"
    rows = np.array(arm_rows(source))
    np.testing.assert_allclose(episode.actions[0, 0, :2], rows[[0, 2, 5, 7], :2].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(episode.frames[:, 0], [frame(0, t) for t in (0, 10, 20, 30, 39)])


@pytest.mark.parametrize(("fps", "steps_per_row"), [(10, 2), (50, 0.4), (40, 0.5), (20, 1), (7, 2.7)])
def test_rewards_keep_their_total_and_success_by_them_at_any_rate(fps: int, steps_per_row: float, tmp_path: Path) -> None:
    """Rows that are merged add their rewards, and a row that is spread counts once; `env.success` is asked of the rows as they were recorded."""
    rng = np.random.default_rng(0)
    rewards = [rng.uniform(0, 0.5, 37).round(3).tolist() for _ in range(2)]
    rewards[0][18] = 1.0  # of a row that is merged with others
    source = write(tmp_path, [arm(37), arm(37)], rows={"next.reward": rewards}, fps=fps)
    totals = np.sum(rewards, axis=1)
    for rule, success in (("reward > 0.9", [True, False]), (f"total_reward > {totals.mean()}", (totals > totals.mean()).tolist())):
        episodes, _ = read(config(source, rule, steps_per_row=steps_per_row))
        np.testing.assert_allclose([each.total_reward for each in episodes], totals, rtol=1e-5)
        assert [each.success for each in episodes] == success


def arm_rows(source: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(source / "data/chunk-000/file-000.parquet")["action"].to_pylist()


# --- success -------------------------------------------------------------------------------------------------------------


def test_a_missing_success_column_is_told_and_a_rule_over_rewards_asked(tmp_path: Path) -> None:
    rewards = [[0.0] * 8, [0.0] * 7 + [1.0]]
    source = write(tmp_path, [arm(8), arm(8)], rows={"next.reward": rewards})
    assert "no success column (next.success), so all its episodes count as successes; an env.success over reward" in told(config(source))
    assert [each.success for each in read(config(source))[0]] == [True, True]
    for rule in ("reward >= 1", "total_reward > 0.5"):
        assert "so env.success decides by its rewards" in told(config(source, rule))
        assert [each.success for each in read(config(source, rule))[0]] == [False, True]
    for rule in ("success", "info['reward'] > 0", "reward > 0 and observation[0] > 0"):
        assert "so all its episodes count as successes" in told(config(source, rule))


def test_failures_are_read_up_to_as_many_as_successes(tmp_path: Path) -> None:
    wins = [False, True, False, False, True, True]
    rows = {"next.success": [[won and t == 7 for t in range(8)] for won in wins]}
    source = write(tmp_path, [arm(8) for _ in wins], rows=rows)
    assert [each.success for each in read(config(source))[0]] == wins
    assert [each.success for each in read(config(source, episodes=2))[0]] == [False, True, False, True]
    episodes, tally = read(config(source))
    assert figures(episodes, tally, target())["failures"] == 3


# --- idle steps ----------------------------------------------------------------------------------------------------------


def moved(actions: list[Any]) -> list[Any]:
    """The states of an arm that moves by each action."""
    return [np.cumsum([[0.0, 0.0], *(row[:2] for row in each[:-1])], 0).tolist() for each in actions]


def test_decisions_that_do_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    moving = arm(8)
    idle = [[0.0, 0.0, -1.0]] * 8
    closing = [[0.0, 0.0, 1.0]] * 4  # the arm stands still, and the gripper closes
    actions = [[*moving[:4], *idle, *closing, *moving[4:]], idle + moving]
    source = write(tmp_path, actions, states=moved(actions))
    episodes, tally = read(config(source))
    assert [len(each) for each in episodes] == [3, 2] and (tally.idle, tally.decisions) == (4, 9)
    assert figures(episodes, tally, target())["idle"] == 4 / 9
    np.testing.assert_array_equal(episodes[1].frames[0, 0], frame(1, 8), "the first decision is the one that begins to move")
    assert all(each.success and each.first_success == len(each) - 1 for each in episodes)


def test_an_absolute_command_is_idle_where_nothing_moves(tmp_path: Path) -> None:
    still, away = [[0.5, 0.2, 1.0]] * 12, arm(8)
    states = [[[0.1, 0.2]] * 12 + [[0.1 * t, 0.3] for t in range(8)]]
    source = write(tmp_path, [still + away], states=states)
    (episode,), tally = read(config(source), target(state_size=2))
    assert (len(episode), tally.idle) == (3, 2)
    (episode,), tally = read(config(source))
    assert tally.idle == 2 and episode.states is None, "the dataset's own state tells, though the environment has none"
    blind = write(tmp_path / "blind", [still + away])
    assert not read(config(blind))[1].idle, "without a state a command that stays may be a movement"
    home = write(tmp_path / "home", [away + [[0.0, 0.0, 1.0]] * 12])
    assert not read(config(home))[1].idle, "and a command of 0 a target"


def test_the_rewards_of_decisions_that_are_left_out_stay(tmp_path: Path) -> None:
    """With the next decision that is kept, or behind the success with it."""
    idle, ends = [[0.0, 0.0, -1.0]] * 8, [[0.0, 0.0, 1.0]] * 8
    rewards = [float(t) for t in range(24)]
    success = [t == 15 for t in range(24)]
    actions = [idle + arm(8) + ends]
    source = write(tmp_path, actions, states=moved(actions), rows={"next.reward": [rewards], "next.success": [success]})
    (episode,), tally = read(config(source))
    assert tally.idle == 4 and len(episode) == 2 and episode.total_reward == sum(rewards)
    np.testing.assert_array_equal(episode.rewards, [[sum(range(8)) + 8, 9, 10, 11], [12 + sum(range(16, 24)), 13, 14, 15]])


# --- values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "shows"),
    [([0.1, float("nan"), 1], "nan"), ([0.1, None, 1], "None"), ([0.1, float("inf"), 1], "inf"), (None, "None"), ([0.1, 0.2], "0.2]"), ([], r"\[\]")],
)
def test_an_action_that_is_none_costs_its_episode_and_is_named(tmp_path: Path, cell: Any, shows: str) -> None:
    actions: list[Any] = [arm(8) for _ in range(3)]
    actions[1][5] = cell
    episodes, tally = read(config(write(tmp_path / "one", actions)))
    assert [each.attempt for each in episodes] == [0, 2]
    assert tally.lines() == [tally.lines()[0]] and tally.lines()[0].startswith(
        "1 have an action that is not 3 finite numbers, the first: episode 1, row 5 has"
    )
    with pytest.raises(ValueError, match=rf"no usable episode \(1 have an action .* episode 0, row 5 has .*{shows}"):
        read(config(write(tmp_path / "all", actions[1:2])))


@pytest.mark.parametrize("name", ["data/file_index", "data/chunk_index", "length", "episode_index"])
@pytest.mark.parametrize("bad", [None, 0.5, -1.0, float("nan")])
def test_a_place_that_is_no_number_is_named(tmp_path: Path, name: str, bad: Any) -> None:
    values: list[Any] = [0.0, bad] if name != "length" else [8.0, bad]
    with pytest.raises(ValueError, match=rf"{name}.* is {bad}, and should be a whole number") as error:
        read(config(write(tmp_path, [arm(8), arm(8)], listing={name: values})))
    assert "\n" not in str(error.value) and ("episode 1" in str(error.value) or name == "episode_index")


def test_whole_floats_are_read(tmp_path: Path) -> None:
    """Pandas makes floats of whole numbers as soon as one is missing somewhere."""
    listing = {"data/file_index": [0.0, 0.0], "data/chunk_index": [0.0, 0.0], "length": [8.0, 8.0], "episode_index": [0.0, 1.0]}
    rows = {name: [[float(value(i, t)) for t in range(8)] for i in range(2)] for name, value in WHOLE.items()}
    assert len(read(config(write(tmp_path, [arm(8), arm(8)], listing=listing, rows=rows)))[0]) == 2


WHOLE: dict[str, Any] = {"episode_index": lambda i, t: i, "frame_index": lambda i, t: t, "task_index": lambda i, t: 0}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"next.success": [[None] * 8]}, "have a next.success that is neither true nor false"),
        ({"next.reward": [[float("nan")] * 8]}, "have a next.reward that is not 1 finite number"),
        ({"task_index": [[5] * 8]}, "have no task in meta/tasks.parquet, the first: episode 0 has the task_index 5"),
        ({"task_index": [[None] * 8]}, "have a task_index that is not"),
        ({"frame_index": [[0, 1, 2, 3, 5, 6, 7, 8]]}, "have a frame_index that does not count from 0, the first: episode 0, row 4 has 5"),
    ],
)
def test_other_values_that_are_none_are_named(tmp_path: Path, rows: Any, says: str) -> None:
    with pytest.raises(ValueError, match=rf"no usable episode \(1 {says}"):
        read(config(write(tmp_path, [arm(8)], rows=rows)))


# --- paths ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "/etc/passwd", "../secret.parquet", "data/../../secret.parquet", "{chunk_index.__class__}", "{chunk_index!r}", "{file_index:09999999}",
        "{episode_index}", "{0}", "{", "data/\0", "", 7, None, "link/secret.parquet", "pipe",
    ],
)  # fmt: skip
def test_paths_stay_inside(tmp_path: Path, template: Any) -> None:
    root = write(tmp_path / "set", [arm(8)], info={"data_path": template})
    (root / "data/chunk-000/file-000.parquet").rename(tmp_path / "secret.parquet")
    (root / "link").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    with pytest.raises(ValueError, match=r"cannot be read \(.*\); fetch or record the dataset anew") as error:
        read(config(root))
    assert "\n" not in str(error.value)


def test_a_folder_by_a_link_is_named(tmp_path: Path) -> None:
    root = write(tmp_path / "set", [arm(8)])
    (root / "data").rename(tmp_path / "elsewhere")
    (root / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"lies outside of the dataset by a link: put the files themselves there\); fetch"):
        read(config(root))


@pytest.mark.parametrize("file", ["meta/info.json", "meta/tasks.parquet", "meta/episodes/chunk-000/file-000.parquet"])
def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path: Path, file: str) -> None:
    root = write(tmp_path, [arm(8)])
    (root / file).unlink()
    os.mkfifo(root / file)
    with pytest.raises(ValueError, match="it is no regular file"):
        read(config(root))


def test_a_frame_of_another_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"\x89PNG")
    for path in ("../secret.png", str(tmp_path / "secret.png")):
        root = write(tmp_path / "set", [arm(8)], rows={"observation.images.front": [[{"bytes": None, "path": path}] * 8]})
        with pytest.raises(ValueError, match="lies outside of the dataset"):
            read(config(root))


def test_the_cache_of_hugging_face_is_read(tmp_path: Path) -> None:
    """Its snapshots are folders of links to blobs beside them."""
    whole, root = write(tmp_path / "whole", [arm(8)]), tmp_path / "datasets--a--b/snapshots/abc"
    blobs = tmp_path / "datasets--a--b/blobs"
    blobs.mkdir(parents=True)
    for i, file in enumerate(sorted(path for path in whole.rglob("*") if path.is_file())):
        file.rename(blobs / str(i))
        place = root / file.relative_to(whole)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(blobs / str(i), place.parent))
    assert len(read(config(root))[0]) == 1
