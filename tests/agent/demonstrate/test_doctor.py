"""`etude check --dataset`: what a dataset holds, in lines and sentences, and "Ready." or a fault."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from agent import cli
from agent.config.config import Config
from agent.config.keys import DemonstrateConfig
from agent.config.read import read
from agent.demonstrate.doctor import examine
from agent.demonstrate.looks import MOMENTS, SIZE
from agent.rollout.environments import Environments
from tests.agent.demonstrate.written import CAMERA, frame, png, write

RNG = np.random.default_rng(0)


def rows(length: int, size: float = 1.0, gripper: tuple[float, float] = (-1, 1)) -> list[list[float]]:
    return [[*map(float, RNG.uniform(-size, size, 2)), gripper[t >= length // 2]] for t in range(length)]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["etude", "check", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return code, " ".join((said.out + said.err).replace("│", " ").split())  # without the lines of the table


def sound(root: Path, **changes: Any) -> Path:
    lengths = (24, 30, 18)
    wins = {"next.success": [[t == n - 1 for t in range(n)] for n in lengths]}
    return write(root, [rows(n) for n in lengths], states=[[[t, 1.0] for t in range(n)] for n in lengths], **{"rows": wins, **changes})


def test_a_sound_dataset_is_ready_and_shows_its_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run(monkeypatch, capsys, "--dataset", str(sound(tmp_path / "pick")))
    assert code == 0 and said.endswith("Ready.") and "note" not in said
    assert "3 usable ones of 18 to 30 rows, 72 rows in all" in said and "20 rows a second" in said and "3 of 3 episodes (next.success)" in said
    assert "1 instruction: 'pick the cube'" in said and "state 2 numbers" in said
    sheet = np.asarray(Image.open(tmp_path / "check-pick.png"))
    assert sheet.shape == (3 * SIZE, MOMENTS * SIZE, 3)
    np.testing.assert_array_equal(sheet[SIZE + 5, 5], frame(1, 0)[0, 0])
    np.testing.assert_array_equal(sheet[SIZE + 5, -5], frame(1, 29)[0, 0])


def test_oddities_are_told(tmp_path: Path) -> None:
    idle = [[0.0, 0.0, -1.0]] * 8
    actions: list[Any] = [idle + rows(16), rows(24), rows(24)]
    actions[2][3] = [0.1, float("nan"), 1]
    times = [[t / 20 for t in range(24)], [t / 10 for t in range(24)], [t / 20 for t in range(24)]]
    states = [[[max(0.0, t - 8)] for t in range(24)]] * 3
    found = examine(str(write(tmp_path, actions, states=states, rows={"timestamp": times})), None)
    notes = " ".join(found.notes)
    assert "no success column" in notes and "of 48 rows do nothing" in notes
    assert "1 have an action that is not 3 finite numbers, the first: episode 2, row 3 has" in notes
    assert "Timestamps differ from frame_index / fps by up to 23 frames" in notes
    assert not found.faults and found.lines["action 2"] == "-1 and 1 alone"
    low, high = np.quantile(np.concatenate(actions[:2])[:, 0], (0.01, 0.99))
    assert f"quantiles {low:.4g} to {high:.4g}" in found.lines["action 0"]


def configured(folder: Path, **changes: Any) -> str:
    content = {"env": {"cameras": ["front"], "size": 64, **changes.pop("env", {})}, "demonstrate": {"episodes": 5, **changes.pop("demonstrate", {})}}
    (folder / "run.yaml").write_text(yaml.safe_dump(content | changes))
    return str(folder / "run.yaml")


def test_with_a_config_it_says_whether_the_dataset_suits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    small = [rows(24, 0.02, (0, 1)) for _ in range(3)]
    write(tmp_path / "small", small, rows={"next.success": [[t == 23 for t in range(24)] if i else [False] * 24 for i in range(3)]})
    code, said = run(monkeypatch, capsys, "--dataset", "small", "--config", configured(tmp_path))
    assert code == 0 and said.endswith("Ready.")
    assert "2 % of [-1, 1] is used; the codec loses 100 %" in said and "Action number 2 has the values 0 and 1 alone" in said
    assert "set env.action_bounds to quantiles" in said and "2 of 3 episodes" in said
    code, said = run(monkeypatch, capsys, "--dataset", "small", "--config", configured(tmp_path), "--env.action_bounds", "quantiles")
    assert code == 0 and "the codec loses 100 %" not in said and "set env.action_bounds" not in said
    write(tmp_path / "slow", [rows(24)], fps=5)
    code, said = run(monkeypatch, capsys, "--dataset", "slow", "--config", configured(tmp_path))
    assert code == 1 and "5 rows a second, and etude/Reach-v0 takes 20 steps a second; set demonstrate.steps_per_row to 4" in said
    code, said = run(monkeypatch, capsys, "--dataset", "small", "--config", configured(tmp_path, env={"cameras": ["top"]}))
    assert code == 1 and "fault" in said and "there is no camera 'top'" in said


@pytest.mark.parametrize(
    ("env", "rewards", "says"),
    [
        (None, 0.0, "The dataset has no success column (next.success), so all its episodes count as successes."),
        ({}, None, "The dataset has no success column (next.success), so all its episodes count as successes."),
        ({}, 0.0, "so all its episodes count as successes; an env.success over reward or total_reward would be asked of its rewards."),
        ({"success": "reward > 0.5"}, 0.9, "The dataset has no success column, so env.success decides by its rewards."),
    ],
)
def test_about_success_there_is_one_sentence(env: dict[str, Any] | None, rewards: float | None, says: str, tmp_path: Path) -> None:
    root = write(tmp_path / "pick", [rows(24)] * 2, rows={} if rewards is None else {"next.reward": [[rewards] * 24] * 2})
    found = examine(str(root), None if env is None else read(Path(configured(tmp_path, env=env))))
    told = [note for note in found.notes if "success" in note]
    assert len(told) == 1 and told[0].endswith(says) and not found.faults


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataset"], "--dataset needs a PATH, as in"),
        (["--dataset", "nowhere"], "there is no meta/info.json in it"),
        (["--dataset", "nowhere", "--env.size", "8"], "takes overrides only with --config FILE"),
        (["--dataset", "minari:nothing/none-v0"], "demonstrate.dataset minari:nothing/none-v0"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 1 and says in said


def test_a_dataset_without_frames_or_rows(tmp_path: Path) -> None:
    root = sound(tmp_path / "one")
    assert examine(str(root), None).sheet is not None
    blind = write(tmp_path / "two", [rows(8)], info={"features": {"action": {"dtype": "float32", "shape": [3]}}})
    assert examine(str(blind), None).sheet is None and CAMERA not in examine(str(blind), None).lines["cameras"]
    shutil.copytree(tmp_path / "one", tmp_path / "none")
    shutil.rmtree(tmp_path / "none/meta/episodes")
    assert "No episode can be used" in examine(str(tmp_path / "none"), None).faults[0]
    (tmp_path / "one/data/chunk-000/file-000.parquet").unlink()
    assert "cannot be read (it is missing)" in examine(str(root), None).faults[0]


# --- it says what the run will do ------------------------------------------------------------------------------------------


NAN = float("nan")
GRID = """
import gymnasium
import numpy as np

class Grid(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(4)
    observation_space = gymnasium.spaces.Dict({"front": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return {"front": np.zeros((16, 16, 3), np.uint8)}, {}

    def step(self, action):
        return {"front": np.zeros((16, 16, 3), np.uint8)}, 0.0, False, False, {}
"""


def blind_run(folder: Path, **env: Any) -> Config:
    """A run in an environment without a state and without a rate, in which a row is a decision."""
    (folder / "grid.py").write_text(GRID.replace("Discrete(4)", "Box(-1, 1, (3,), np.float32)"))
    env = {"id": f"{folder}/grid.py:Grid", "action_repeat": 1, "instruction": "go", "success": "reward > 1", "max_episode_steps": 9} | env
    return read(Path(configured(folder, env=env)))


def test_a_state_that_no_run_reads_costs_no_episode(tmp_path: Path) -> None:
    states = [[[0.1, NAN]] * 24] * 3
    root = str(write(tmp_path / "a", [rows(24)] * 3, states=states))
    found = examine(root, None)
    assert not found.faults and found.lines["episodes"].startswith("3 usable ones")
    says = "Of its episodes 3 have an observation.state that is not 2 finite numbers, the first: episode 0, row 0 has [0.1, nan]: left out of a run"
    assert any(note.startswith(says) for note in found.notes)
    found = examine(root, blind_run(tmp_path))
    assert not found.faults and found.lines["decisions"].startswith("72 in the first 3 episodes")
    assert not any("finite" in note for note in found.notes)


def test_a_state_that_the_run_reads_costs_its_episode(tmp_path: Path) -> None:
    config = read(Path(configured(tmp_path)))
    with closing(Environments(config.envs[:1], 1)) as environments:
        size = environments.first.state_size
    states = [[[0.1 * t] * size for t in range(24)] for _ in range(3)]
    states[1][5] = [NAN] * size
    found = examine(str(write(tmp_path / "a", [rows(24)] * 3, states=states)), config)
    assert not found.faults and found.lines["decisions"].endswith("in the first 2 episodes, 0 of them idle")
    (said,) = [note for note in found.notes if "finite" in note]
    assert said.startswith(f"Of its episodes 1 have an observation.state that is not {size} finite numbers, the first: episode 1, row 5 has")
    assert said.endswith(": left out.")


@pytest.mark.parametrize("times", [None, 1.7e9])
def test_times_that_no_video_needs_cost_no_episode(times: float | None, tmp_path: Path) -> None:
    root = str(write(tmp_path / "a", [rows(24)] * 3, rows={"timestamp": [[times] * 24] * 3}))
    for found in (examine(root, None), examine(root, blind_run(tmp_path))):
        assert not found.faults and found.lines["episodes"].startswith("3 usable ones") and not any("left out" in note for note in found.notes)


def test_labels_do_not_rest_and_get_no_bounds(tmp_path: Path) -> None:
    config = blind_run(tmp_path)
    (tmp_path / "grid.py").write_text(GRID)
    labels = [[[int(x)] for x in RNG.integers(0, 4, 20)] for _ in range(3)]
    root = str(write(tmp_path / "a", labels))
    for found in (examine(root, None), examine(root, config)):
        assert not found.faults and found.lines["idle"] == "no state tells which rows do nothing"
        assert not any("do nothing" in note or "action_bounds" in note for note in found.notes)
    labels[1][3] = [4]
    found = examine(str(write(tmp_path / "b", labels)), config)
    says = "Of the first episodes 1 have a label that the environment does not have, the first: episode 1, row 3 has 4, and 0 to 3 are allowed"
    assert f"{says}: left out." in found.notes and not any("action_bounds" in note or "units" in note for note in found.notes)


def test_what_the_last_row_of_an_episode_does_is_not_counted(tmp_path: Path) -> None:
    still = [[0.0, 0.0, 1.0]] * 6
    states = [[[float(min(t, 24))] for t in range(30)]] * 2
    root, config = str(write(tmp_path / "a", [rows(24) + still] * 2, states=states)), blind_run(tmp_path)
    found = examine(root, config)
    assert "10 of 60 rows do nothing; decisions of such rows alone are left out." in found.notes
    assert found.lines["decisions"] == "60 in the first 2 episodes, 10 of them idle"


def test_failures_alone_are_a_fault_with_and_without_a_run(tmp_path: Path) -> None:
    root = str(write(tmp_path / "a", [rows(24)] * 3, rows={"next.success": [["False"] * 24] * 3}))
    assert examine(root, None).faults == ["None of its 3 usable episodes succeeded, and a run needs one that did."]
    (fault,) = examine(root, blind_run(tmp_path)).faults
    assert "has no usable episode (3 failed)" in fault


# --- frames ----------------------------------------------------------------------------------------------------------------


def test_a_camera_of_one_colour_is_told(tmp_path: Path) -> None:
    def black(episode: int, step: int) -> np.ndarray:
        return np.zeros((16, 16, 3), np.uint8) if episode else frame(0, step)

    def grey(episode: int, step: int) -> np.ndarray:
        return np.full((16, 32, 3), 90 + step % 3, np.uint8)  # not square, so it gets black borders

    found = examine(str(sound(tmp_path / "a", frames=black)), None)
    assert found.notes == ["Camera 'front' shows one colour alone in 2 of the 3 episodes that were looked at, the first: episode 1."]
    found = examine(str(sound(tmp_path / "b", frames=grey)), None)
    assert found.notes == ["Camera 'front' shows one colour alone in 3 of the 3 episodes that were looked at, the first: episode 0."]
    assert not found.faults


def test_a_camera_that_cannot_be_read_is_a_fault_only_where_it_is_needed(tmp_path: Path) -> None:
    depth = "observation.images.depth"
    features = {name: {"dtype": "image", "shape": [16, 16, 3]} for name in (CAMERA, depth)} | {"action": {"dtype": "float32", "shape": [3]}}
    cells = {depth: [[{"bytes": b"no picture", "path": None}] * 24] * 3}
    root = str(write(tmp_path / "a", [rows(24)] * 3, rows=cells, info={"features": features}))
    found = examine(root, None)
    assert not found.faults and any("cannot be read" in note for note in found.notes) and found.sheet is not None
    found = examine(root, blind_run(tmp_path))
    assert not found.faults and not any("cannot be read" in note for note in found.notes)
    (fault,) = examine(root, blind_run(tmp_path).model_copy(update={"demonstrate": DemonstrateConfig(cameras=("depth",))})).faults
    assert "cannot be read (episode 0, row 0 has no picture of a known format)" in fault


def test_a_camera_that_no_episode_has_is_a_fault_where_there_is_no_other(tmp_path: Path) -> None:
    says = "Of the episodes that were looked at, {} lack a frame, the first: episode 0, row 0 (camera 'front')."
    gone: list[Any] = [[None] * 24] * 3
    found = examine(str(write(tmp_path / "a", [rows(24)] * 3, rows={CAMERA: gone})), None)
    assert found.faults == [says.format(3)] and found.sheet is None
    there = [[{"bytes": png(frame(2, t)), "path": None} for t in range(24)]]
    found = examine(str(write(tmp_path / "b", [rows(24)] * 3, rows={CAMERA: gone[:2] + there})), None)
    assert not found.faults and says.format(2) in found.notes
