"""Which policy a word names, what it fits, and a run that was copied to another place."""

import shutil
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import etude
from agent.export import export
from agent.run.code import keep_code, with_own_code
from agent.run.files import load, save
from agent.source import EXPORT, find
from tests.agent.runs import make

GOAL = """
import gymnasium
import numpy as np

class Goal(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)})
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return {"eye": np.full((64, 64, 3), 10, np.uint8)}, {"instruction": "reach the goal"}

    def step(self, action):
        self.count += 1
        return {"eye": np.full((64, 64, 3), 10, np.uint8)}, 0.0, False, self.count == 8, {"is_success": self.count == WON}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "run"
    make(folder)
    return folder


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with an environment of the user's, copied into an empty folder without that file."""
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    Path("goal.py").write_text(GOAL.replace("WON", "3"))
    make(Path("runs/goal"), env={"id": "goal.py:Goal", "cameras": ["eye"], "max_episode_steps": 8})
    (tmp_path / "here").mkdir()
    shutil.copytree("runs/goal", tmp_path / "here" / "goal")
    shutil.rmtree(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")
    return Path("goal")


def test_a_run_that_was_copied_acts_and_is_evaluated(copied: Path) -> None:
    policy = etude.load_policy(copied)
    assert policy.act({"eye": np.zeros((64, 64, 3), np.uint8)}, "reach the goal").shape == (2,)
    rate = etude.evaluate(policy, episodes=3, num_envs=2)
    assert (rate.rate, rate.n) == (1.0, 3)


def test_another_file_of_the_same_name_is_not_taken_for_the_runs_own(copied: Path, capsys: pytest.CaptureFixture) -> None:
    assert find("goal").config.envs[0].id == "goal/code/goal.py:Goal" and not capsys.readouterr().err, "there is one file alone"
    Path("goal.py").write_text(GOAL.replace("WON", "99"))
    assert find("goal").config.envs[0].title == "goal.py:Goal"
    assert capsys.readouterr().err == "etude: goal.py is not as the run in goal knows it; the run's copy goal/code/goal.py is used.\n"
    assert etude.evaluate(etude.load_policy(copied), episodes=1, num_envs=1).rate == 1.0


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_file_is_as_its_copy_whatever_its_line_ends(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"# -*- coding: {encoding} -*-\r\n# für alle\r\nclass Goal:\r\n    pass\r\n".encode(encoding)
    Path("goal.py").write_bytes(text)
    config = etude.Config(env={"id": "goal.py:Goal"})  # type: ignore[arg-type]
    keep_code(Path("run"), config)
    for change in (text, text.replace(b"\r\n", b"\n")):
        Path("goal.py").write_bytes(change)
        assert with_own_code(Path("run"), config) == config and not capsys.readouterr().err
    Path("goal.py").write_bytes(text + b"# more\r\n")
    assert with_own_code(Path("run"), config).envs[0].id == "run/code/goal.py:Goal"
    with pytest.raises(ValueError, match=r"goal.py has changed since the run in run began; put it back, or name a new folder"):
        keep_code(Path("run"), config)
    assert Path("run/code/goal.py").read_bytes() == text, "the copy of the file that was practised with is not lost"
    Path("run/code/goal.py").unlink()
    keep_code(Path("run"), config)
    assert with_own_code(Path("run"), config) == config


@pytest.mark.parametrize(
    "section", [{"curate": {"rule": "mine.py:f"}}, {"tune": {"loss": "mine.py:f"}}, {"label": {"by": "both", "detector": "mine.py:f"}}]
)
def test_a_file_of_a_run_that_decides_what_is_learnt_is_kept_too(section: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def f(*given):\n    return None\n")
    config = etude.Config(**section)
    keep_code(Path("run"), config)
    Path("mine.py").write_text("def f(*given):\n    return 1\n")
    with pytest.raises(ValueError, match=r"mine.py has changed since the run in run began"):
        keep_code(Path("run"), config)


def test_every_file_of_a_run_can_be_read_by_those_whom_the_umask_allows(run: Path) -> None:
    (run / "probe").touch()
    usual = stat.S_IMODE((run / "probe").stat().st_mode)
    assert {stat.S_IMODE(file.stat().st_mode) for file in run.rglob("*") if file.is_file()} == {usual}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the Hugging Face hub, empty, without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_words_and_what_they_name(run: Path, hub: Path) -> None:
    champion = find(str(run))
    assert (champion.weights, champion.run) == (run / "start" / "policy.safetensors", run)
    assert find(str(run / "start")).name == find(str(run / "start" / "policy.safetensors")).name == champion.name
    assert find("nano").actions is None
    with pytest.raises(ValueError, match="There is no run in"):
        find(str(run / "cycle-009"))
    (run / "cycle-001").mkdir()
    shutil.copy(run / "start" / "policy.safetensors", run / "cycle-001")
    with pytest.raises(ValueError, match=r"is no finished checkpoint \(tune\.json is not there yet\)"):
        find(str(run / "cycle-001"))


@pytest.mark.parametrize("offline", [True, False])
def test_a_model_is_looked_up_once_and_without_a_network_in_the_cache(offline: bool, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download would try again and again for half a minute, and so would each later one."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"^owner/other is nothing on this machine, and the Hugging Face hub cannot be asked .*\(\w+: .*\)\.$"):
        find("owner/other")
    for name, content in {"refs/main": "0" * 40, f"snapshots/{'0' * 40}/config.json": "{}"}.items():
        file = hub / "models--owner--model" / name
        file.parent.mkdir(parents=True)
        file.write_text(content)
    assert find("owner/model").config.policy.model == "owner/model" and time.monotonic() - began < 20


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "out"
    export(find(str(run)), folder)
    return folder


def test_an_export_on_the_hub_acts_as_its_folder_and_not_as_an_untrained_model(exported: Path, hub: Path) -> None:
    cached, commit = hub / "models--owner--policy", "0" * 40
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    shutil.copytree(exported, cached / "snapshots" / commit)
    there, here = find("owner/policy"), find(str(exported))
    assert (there.title, there.name) == ("owner/policy", here.name) and there.actions is not None
    assert there.config.envs == here.config.envs and there.load().name == here.load().name


DAMAGED: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"actions": {"kind": "Torus"}}, " at actions"),
    "shape": ({"actions": {"kind": "Box", "low": [0], "high": [1], "shape": [2], "dtype": "float32"}}, " at actions"),
    "dtype": ({"actions": {"kind": "Box", "low": [0], "high": [1], "shape": [1], "dtype": "nothing"}}, " at actions"),
    "text": ({"actions": "Box"}, " at actions"),
    "a file": ({"files": ["model.safetensors"]}, " at files"),
    "a digest": ({"files": {"model.safetensors": 3}}, r" at files\.model\.safetensors"),
    "base": ({"base": 3}, " at base"),
    "name": ({"name": None}, " at name"),
    "values": ({"pictures": {"front": {"values": [1], "square": True}}}, r" at pictures\.front\.values.*"),
    "pictures": ({"pictures": ["front"]}, " at pictures"),
    "config": ({"config": []}, " at config"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_export_is_one_sentence(exported: Path, kind: str, tmp_path: Path) -> None:
    """The checksum holds: such a file was written by a program, not cut off by a kill."""
    changes, place = DAMAGED[kind]
    save(tmp_path / EXPORT, load(exported / EXPORT) | changes)
    with pytest.raises(ValueError, match=rf"^{tmp_path / EXPORT} is damaged{place}; export the run again\.$"):
        find(str(tmp_path))


def test_an_export_with_a_missing_key_or_none_at_all_is_one_sentence(exported: Path, tmp_path: Path) -> None:
    content = load(exported / EXPORT)
    for key in content.keys() - {"pictures"}:
        save(tmp_path / EXPORT, {name: value for name, value in content.items() if name != key})
        with pytest.raises(ValueError, match=rf"etude\.json is damaged at {key}; export the run again\.$"):
            find(str(tmp_path))
    for key in content["actions"]:
        save(tmp_path / EXPORT, {**content, "actions": {name: value for name, value in content["actions"].items() if name != key}})
        with pytest.raises(ValueError, match=r"etude\.json is damaged at actions; export the run again\.$"):
            find(str(tmp_path))
    raw = (exported / EXPORT).read_text()
    for text in ("", "[]", "null", raw[:300], raw.replace('"name"', '"nome"'), "\0"):
        (tmp_path / EXPORT).write_text(text)
        with pytest.raises(ValueError, match=r"etude\.json is damaged; export the run again\.$"):
            find(str(tmp_path))
    save(tmp_path / EXPORT, [content])
    with pytest.raises(ValueError, match=r"etude\.json is damaged; export the run again\.$"):
        find(str(tmp_path))
    save(tmp_path / EXPORT, {**content, "files": {}, "config": {**content["config"], "nonsense": 1}})
    with pytest.raises(ValueError, match=r"etude\.json.*nonsense.* Where another version of etude wrote it, use that version, or export"):
        find(str(tmp_path))
    save(tmp_path / EXPORT, {name: value for name, value in content.items() if name != "pictures"} | {"files": {}})
    assert find(str(tmp_path)).pictures == {}, "an export of an earlier version"
    assert find(str(exported)).spec("front").square


def test_another_environment_is_seen_as_the_policy_was_trained(run: Path, tmp_path: Path) -> None:
    policy = find(str(run))
    (env,) = policy.within("Pusher-v5").config.envs
    assert env.sources == ("front", "wrist") and env.size == 64
    assert policy.within("etude/Reach-v0").config.envs == policy.config.envs
    (tmp_path / "c.yaml").write_text("env: {id: etude/Push-v0, cameras: [front]}\npolicy: {num_bins: 65}\n")
    with pytest.raises(ValueError, match=r"sees 2 frames of 64 pixels \(front, wrist\), and etude/Push-v0 gives 1 frame of 64 pixels \(front\)"):
        policy.within(str(tmp_path / "c.yaml"))
    assert policy.within(str(tmp_path / "c.yaml"), ["--env.cameras", "front", "wrist"]).config.policy == policy.config.policy
    untrained = find("nano").within(str(tmp_path / "c.yaml")).config
    assert (untrained.policy.num_bins, untrained.policy.model, untrained.envs[0].id) == (65, "nano", "etude/Push-v0")
    assert find("nano").beside(policy, []).config.envs == policy.config.envs


@pytest.mark.parametrize("bounds", ["env: {id: etude/Reach-v0, action_bounds: quantiles}", "env: [{id: etude/Reach-v0}, {id: etude/Push-v0}]"])
def test_a_policy_keeps_its_own_bounds_in_the_environments_of_a_config(bounds: str, tmp_path: Path) -> None:
    """A run replaces `quantiles` by those of its demonstrations; elsewhere the word says nothing."""
    from agent.rollout.environments import Environments

    make(tmp_path / "run", env={"id": "etude/Reach-v0", "action_bounds": [[-1, 1], [-0.5, 0.5], [-0.25, 1.0]]})
    (tmp_path / "c.yaml").write_text(f"{bounds}\ndemonstrate: {{episodes: 0}}\n")
    policy = find(str(tmp_path / "run"))
    for source in (policy.within(str(tmp_path / "c.yaml")), policy.within("", ["--env.action_bounds", "quantiles"])):
        assert {env.action_bounds for env in source.config.envs} == {((-1, 1), (-0.5, 0.5), (-0.25, 1.0))}
    environments = Environments(policy.within(str(tmp_path / "c.yaml")).config.envs, 1)
    policy.check(environments.actions, environments.configs[0])
    environments.close()
    (tmp_path / "c.yaml").write_text("env: {id: etude/Reach-v0, action_bounds: [-1, 1]}\n")
    numbers = policy.within(str(tmp_path / "c.yaml")).config.envs[0]
    assert numbers.action_bounds == (-1, 1), "numbers of the user's are not overruled, but refused"


def test_other_actions_are_one_sentence(run: Path) -> None:
    from agent.evaluate.apart import evaluate_source
    from agent.rollout.environments import Environments

    policy: Any = find(str(run)).within("etude/Lift-v0")
    environments = Environments(policy.config.envs, 1)
    with pytest.raises(ValueError, match=r"gives 3 numbers from -1 to 1 \(Box\), and etude/Lift-v0 takes 4 numbers from -1 to 1 \(Box\)"):
        evaluate_source(policy, environments, 1)
    environments.close()
