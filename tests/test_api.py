"""The public API: a champion acts in a plain Gymnasium loop as it did in its run, and a loop is begun from Python."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import etude
from agent.records import Checkpoint, Job
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run.files import save
from agent.run.folder import Run

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "threads": 1, "cycles": 1, "policy": {"batch_size": 8}, "demonstrate": {"episodes": 2, "steps": 2},
    "track": {"mode": "off", "videos": False},
    "collect": {"num_seeds": 2, "episodes_per_seed": 2, "num_envs": 4}, "tune": {"batch_size": 16, "epochs": 1},
    "evaluate": {"gate_episodes": 4, "test_episodes": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run whose champion is the base model with other weights."""
    session = Session(Run(tmp_path_factory.mktemp("api") / "run", etude.Config(**TINY)).begin())
    weights = session.policy.weights()
    next(iter(weights.values())).mul_(1.01)
    session.policy.put(weights)
    place = session.run.folder / "start" / "policy.safetensors"
    place.parent.mkdir()
    session.policy.save(place)
    session.policy.load(place)
    session.record_champion(Checkpoint(place, session.policy.name))
    yield session
    session.close()


def test_a_loaded_policy_acts_in_a_plain_loop_as_it_did_in_its_run(run: Session) -> None:
    (episode,) = rollout(run.policy, run.environments, [Job(30_000_003)])
    policy = etude.load_policy(run.run.folder)
    env = gymnasium.make("etude/Reach-v0")
    observation, info = env.reset(seed=30_000_003)
    done, executed = False, []
    while not done:
        executed.append(policy.act(observation, info["instruction"]))
        observation, _, terminated, truncated, _ = env.step(executed[-1])
        done = terminated or truncated
    assert len(executed) == int((~np.isnan(episode.rewards)).sum())
    np.testing.assert_allclose(np.stack(executed)[::4][: len(episode)], episode.actions[:, 0], atol=1e-6)
    assert etude.evaluate(policy, episodes=1, num_envs=1, first_seed=30_000_003).rate == float(episode.success)
    for wrong in ({"episodes": 0}, {"episodes": 2.5}, {"num_envs": 0}):
        with pytest.raises(ValueError, match=rf"{next(iter(wrong))} is .*; give a whole number of at least 1"):
            etude.evaluate(policy, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="evaluate takes what load_policy returns, and got a str"):
        etude.evaluate("runs/reach")  # type: ignore[arg-type]


def test_what_cannot_be_loaded_is_one_sentence(run: Session, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no run in .*nowhere"):
        etude.load_policy(tmp_path / "nowhere")
    Run(tmp_path / "new", etude.Config()).begin()
    with pytest.raises(ValueError, match=r"has no champion\.json; it has one after its warm start"):
        etude.load_policy(tmp_path / "new")
    policy = etude.load_policy(run.run.folder)
    with pytest.raises(ValueError, match=r"sees 'front', 'wrist', and the observation has 'state'; add 'front' to it"):
        policy.act({"state": np.zeros(9)}, "touch the red ball")
    with pytest.raises(ValueError, match=r"sees 'front', 'wrist', and was given ndarray; give a dictionary with a picture under each name"):
        policy.act(np.zeros(9), "touch the red ball")
    with pytest.raises(ValueError, match=r"The instruction is None; give the task in words"):
        policy.act({"front": np.zeros((64, 64, 3), np.uint8)}, None)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="it has Config, evaluate, improve"):
        _ = etude.train


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: etude.improve({"seed": 1}, "run"), r"The config is a dict; give an etude\.Config"),  # type: ignore[arg-type]
        (lambda: etude.improve(etude.Config(), None), "RUN is None; name the folder"),  # type: ignore[arg-type]
        (lambda: etude.improve(etude.Config(), ""), "RUN is empty; name the folder"),
        (lambda: etude.load_run(None), "RUN is None; name the folder"),  # type: ignore[arg-type]
        (lambda: etude.load_run(""), "RUN is empty; name the folder"),
    ],
)
def test_arguments_of_a_wrong_type_are_one_sentence(call: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^{says}"):
        call()
    assert not list(tmp_path.iterdir())


def test_another_base_model_than_the_runs_is_refused(run: Session) -> None:
    file = run.run.folder / "base.json"
    raw = file.read_bytes()
    save(file, {"model": "nano", "weights": "0123"})
    with pytest.raises(ValueError, match="began from 'nano' with weights 0123"):
        etude.load_policy(run.run.folder)
    file.write_bytes(raw)


@pytest.mark.slow
def test_a_loop_from_python_and_its_run(tmp_path: Path) -> None:
    summary = etude.improve(etude.Config(**TINY), tmp_path / "run")
    assert summary["after"]["n"] == 4 and (tmp_path / "run" / "report.html").exists()
    loaded = etude.load_run(tmp_path / "run")
    assert len(loaded.results()) == 1 and {row["stage"] for row in loaded.metrics()} >= {"collect", "curate"}
    assert etude.load_policy(tmp_path / "run").model.name == summary["policy"]


def test_importing_it_registers_our_environments_and_loads_nothing_heavy() -> None:
    code = "import sys, etude, gymnasium; gymnasium.spec('etude/Slide-v0'); print({'torch', 'transformers', 'mujoco'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr
