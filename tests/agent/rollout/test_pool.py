"""Several processes: the same episodes, in the same order; one that dies is named, and nobody is left over."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from agent.config.config import Config
from agent.config.keys import CollectConfig, EvaluateConfig
from agent.records import Checkpoint, Job
from agent.rollout.rollout import rollout
from agent.rollout.session import Session
from agent.run.folder import Run
from policies import PolicyConfig

JOBS = [Job(seed, episode, (0, 1, seed, episode)) for seed in range(3) for episode in range(3)]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    evaluate = EvaluateConfig(variations={"dark": {"variation": {"light": 0.5}}})
    config = Config(threads=1, processes=2, policy=PolicyConfig(batch_size=8), collect=CollectConfig(num_envs=4), evaluate=evaluate)
    before = children()
    session = Session(Run(tmp_path_factory.mktemp("crew"), config).begin())
    session.policy.save(session.run.folder / "policy.safetensors")
    yield session
    session.close()
    assert children() <= before


def children() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE}


def checkpoint(session: Session) -> Checkpoint:
    return Checkpoint(session.run.folder / "policy.safetensors", session.policy.name)


def same(session: Session, jobs: list[Job], checkpoint: Checkpoint, variation: str = "") -> None:
    environments = session.variation_environments(variation) if variation else session.environments
    alone, together = list(rollout(session.load_checkpoint(checkpoint), environments, jobs)), list(session.rollout(checkpoint, jobs, variation))
    for one, other in zip(alone, together, strict=True):
        assert (one.id, one.policy, one.success, one.instruction) == (other.id, other.policy, other.success, other.instruction)
        for name in ("frames", "actions", "tokens", "logprobs", "rewards"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("variation", ["", "dark"])
def test_the_episodes_of_several_processes_are_those_of_one(session: Session, variation: str) -> None:
    same(session, JOBS[:5], checkpoint(session), variation)


def test_what_processes_saw_in_practice_need_not_be_encoded_again(session: Session) -> None:
    """The image tokens of practice come with its episodes, and are those that this process would compute."""
    encoded: list[int] = []
    handle = session.policy.base.model.vision_model.register_forward_hook(lambda module, given, result: encoded.append(1))
    for practice in (False, True):
        (episode,) = session.rollout(checkpoint(session), [Job(77 + practice)], practice=practice)
        encoded.clear()
        received = session.policy.features(episode.frames[:-1])
        assert bool(encoded) != practice
        assert torch.equal(received, session.policy._encode(episode.frames[:-1]))
    handle.remove()


def test_a_process_that_dies_is_named_and_replaced(session: Session) -> None:
    made = session.rollout(
        checkpoint(session), [Job(seed, 0, (0, 1, seed, 0)) for seed in range(60)]
    )  # so many that nobody is done when the first is heard of
    next(made)
    session._process_pool._workers[1].process.kill()
    with pytest.raises(ValueError, match=r"A rollout process died \(SIGKILL\); run the same command again"):
        list(made)
    same(session, JOBS[:4], checkpoint(session))


def test_whoever_stops_listening_gets_the_right_episodes_next_time(session: Session) -> None:
    made = session.rollout(checkpoint(session), JOBS)
    next(made)
    before = [worker.process for worker in session._process_pool._workers]
    made.close()
    assert all(process.poll() is not None for process in before), "their work is of no use any more"
    same(session, JOBS[:4], checkpoint(session))


def test_what_goes_wrong_in_a_process_is_said_here(session: Session) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.safetensors: its weights cannot be read \(No such file"):
        list(session.rollout(Checkpoint(session.run.folder / "nowhere.safetensors", ""), JOBS))
    with pytest.raises(ValueError, match=rf"holds the weights {checkpoint(session).name}, and 0123 were recorded; delete"):
        list(session.rollout(replace(checkpoint(session), name="0123"), JOBS))


def test_an_error_of_a_process_is_one_sentence(session: Session) -> None:
    with pytest.raises(ValueError, match=r"^A rollout process failed \(IndexError: .*\); the same command with processes: 1 shows where\.$"):
        list(session.rollout(checkpoint(session), [Job(0, kind=5), Job(1, kind=5)]))


def test_a_process_that_died_idle_is_replaced_and_nobody_minds(session: Session) -> None:
    same(session, JOBS[:2], checkpoint(session))
    session._process_pool._workers[0].process.kill()
    session._process_pool._workers[0].process.wait()
    same(session, JOBS[2:5], checkpoint(session))


ABANDONED = """
import sys
from pathlib import Path

from agent.config.read import read_own
from agent.records import Checkpoint, Job
from agent.rollout.pool import ProcessPool

folder = Path(sys.argv[1])
pool = ProcessPool(folder, [read_own(folder / 'config.yaml').model_copy(update={'processes': 1})] * 2)
made = pool.rollout(Checkpoint(folder / "policy.safetensors", ""), [Job(seed, i, (seed, i)) for seed in range(100) for i in range(30)])
next(made)
print(*[worker.process.pid for worker in pool._workers], flush=True)
list(made)
"""


def test_processes_end_with_a_run_that_is_killed(session: Session) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ABANDONED, str(session.run.folder)], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    workers = [int(word) for word in killed.stdout.readline().split()]
    assert len(workers) == 2 and all(map(alive, workers))
    killed.kill()
    killed.wait()
    deadline = time.time() + 60
    while any(map(alive, workers)) and time.time() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers))


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
