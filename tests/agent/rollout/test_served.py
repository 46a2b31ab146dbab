"""One model for the environments of several processes, as on a GPU: the same episodes, and half of the environments step while it decides."""

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from agent.config.config import Config
from agent.config.keys import CollectConfig, EvaluateConfig
from agent.records import Checkpoint, Episode, Job
from agent.rollout import pool
from agent.rollout.pool import ProcessPool, configs_of_processes
from agent.rollout.rollout import rollout
from agent.rollout.served import decide
from agent.rollout.session import Session
from agent.run.folder import Run
from policies import PolicyConfig
from policies.policy import Decision, Situation

SAMPLED = [Job(seed, episode, (0, 1, seed, episode)) for seed in range(3) for episode in range(2)]
GREEDY = [Job(seed, 0, None) for seed in range(3, 6)]
AHEAD = [Job(7, 0, (0, 1, 7, 0), lookahead_candidates=3)]
CONFIG = Config(
    threads=1,
    processes=3,
    policy=PolicyConfig(batch_size=8),
    collect=CollectConfig(num_envs=3),
    evaluate=EvaluateConfig(variations={"dark": {"variation": {"light": 0.5}}}),
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    session = Session(Run(tmp_path_factory.mktemp("served"), CONFIG).begin())
    assert not session.served, "on a CPU each process has a model"
    session.served = True
    session.policy.save(session.run.folder / "policy.safetensors")
    yield session
    session.close()


def checkpoint(session: Session) -> Checkpoint:
    return Checkpoint(session.run.folder / "policy.safetensors", session.policy.name)


def same(one: list[Episode], other: list[Episode]) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a.id, a.policy, a.success, a.instruction) == (b.id, b.policy, b.success, b.instruction)
        for name in ("frames", "actions", "tokens", "logprobs", "rewards"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("groups", [2, 1])
def test_the_episodes_are_those_of_one_process_with_and_without_overlap(groups: int, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GROUPS", groups)
    jobs = [*SAMPLED[:4], *GREEDY, *AHEAD, *SAMPLED[4:]]
    alone = list(rollout(session.load_checkpoint(checkpoint(session)), session.environments, jobs))
    same(alone, list(session.rollout(checkpoint(session), jobs)))


def test_a_variation_has_environments_of_its_own(session: Session) -> None:
    alone = list(rollout(session.load_checkpoint(checkpoint(session)), session.variation_environments("dark"), GREEDY))
    same(alone, list(session.rollout(checkpoint(session), GREEDY, "dark")))


def test_while_one_half_is_decided_the_other_half_is_not_waited_for(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch has the situations of all processes of one half, and of none of the others."""
    asked: list[set[int]] = []

    def watched(policy: Any, questions: Any) -> Any:
        own = [each for each in session._process_pool._workers if any(each.asked is question for question in questions)]  # type: ignore[union-attr]
        asked.append({session._process_pool._workers.index(each) for each in own})  # type: ignore[union-attr]
        return decide(policy, questions)

    monkeypatch.setattr(pool, "decide", watched)
    list(session.rollout(checkpoint(session), SAMPLED))
    assert {0, 2} in asked and {1} in asked
    assert all(each <= {0, 2} or each == {1} for each in asked)


def test_processes_with_environments_hold_no_model(session: Session) -> None:
    list(session.rollout(checkpoint(session), GREEDY))
    for worker in session._process_pool._workers:  # type: ignore[union-attr]
        libraries = {Path(each.path).name for each in psutil.Process(worker.process.pid).memory_maps()}
        assert any("mujoco" in each for each in libraries) and not any("torch" in each for each in libraries)


def test_what_goes_wrong_in_the_model_or_a_process_is_said_and_the_next_rollout_is_right(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = list(rollout(session.load_checkpoint(checkpoint(session)), session.environments, GREEDY))

    def tired(situations: Any, noise: Any) -> Any:
        raise RuntimeError("CUDA out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(session.policy, "act", tired)
        with pytest.raises(RuntimeError, match="CUDA out of memory"):
            list(session.rollout(checkpoint(session), GREEDY))
    same(alone, list(session.rollout(checkpoint(session), GREEDY)))
    made = session.rollout(checkpoint(session), [Job(seed, 0, (0, 1, seed, 0)) for seed in range(60)])
    next(made)
    session._process_pool._workers[1].process.kill()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"A rollout process died \(SIGKILL\); run the same command again"):
        list(made)
    same(alone, list(session.rollout(checkpoint(session), GREEDY)))


def test_nobody_waits_for_a_process_that_died_after_it_asked(tmp_path: Path) -> None:
    workers = ProcessPool(tmp_path, [CONFIG])._workers
    workers[0].due = 3
    workers[0].note("asked", ([], None))
    workers[0].note("died", "SIGKILL")
    assert workers[0].due == 0 and workers[0].asked is None


class Echo:
    """Decides by what it is shown, and notes the sizes of its batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, bool]] = []

    def act(self, situations: Any, noise: Any) -> list[Decision]:
        self.batches.append((len(situations), noise is None))
        tags = [float(each.instruction) + (0 if noise is None else noise[i, 0]) for i, each in enumerate(situations)]
        return [Decision(np.full((1, 1), tag, np.float32), np.zeros(1, np.int64), np.zeros(1, np.float32)) for tag in tags]


def test_who_asks_gets_the_decisions_for_its_own_situations() -> None:
    def seen(*numbers: int) -> list[Situation]:
        return [Situation(str(number), np.zeros((1, 2, 2, 3), np.uint8)) for number in numbers]

    policy: Any = Echo()
    answers = decide(policy, [(seen(1, 2), np.array([[0.25], [0.5]])), (seen(3), None), (seen(4), np.array([[0.75]])), (seen(5, 6), None)])
    assert [[each.actions.item() for each in answer] for answer in answers] == [[1.25, 2.5], [3], [4.75], [5, 6]]
    assert policy.batches == [(3, True), (3, False)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_one_model_decides_for_all(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"policy": PolicyConfig(batch_size=8, device="cuda:0")})
    session = Session(Run(tmp_path, config).begin())
    try:
        session.policy.save(tmp_path / "policy.safetensors")
        assert session.served
        alone = list(rollout(session.load_checkpoint(checkpoint(session)), session.environments, SAMPLED))
        same(alone, list(session.rollout(checkpoint(session), SAMPLED)))
    finally:
        session.close()


def test_several_gpus_get_processes_in_turn() -> None:
    def given(device: str, processes: int, gpus: int, served: bool = True) -> list[tuple[str, int, int]]:
        config = CONFIG.model_copy(update={"processes": processes, "policy": PolicyConfig(device=device)})
        return [(each.policy.device, each.processes, each.collect.num_envs) for each in configs_of_processes(config, gpus, served)]

    assert given("cpu", 2, 0, served=False) == [("cpu", 1, 3)] * 2
    assert given("cuda", 4, 1) == [("cuda", 1, 2)] * 4, "6 environments in 4 processes: 3 are decided while 3 step, and some more"
    assert given("cuda:1", 4, 8) == [("cuda:1", 1, 2)] * 4, "one GPU was asked for"
    assert given("cuda", 7, 3) == [("cuda:0", 3, 3), ("cuda:1", 2, 3), ("cuda:2", 2, 3)]
    assert given("cuda", 2, 8) == [("cuda:0", 1, 3), ("cuda:1", 1, 3)]


def test_a_process_with_a_model_may_have_processes_of_its_own(session: Session) -> None:
    """As with several GPUs."""
    nested = ProcessPool(session.run.folder, [CONFIG.model_copy(update={"processes": 2})])
    try:
        alone = list(rollout(session.load_checkpoint(checkpoint(session)), session.environments, SAMPLED[:3]))
        same(alone, [episode for episode, _ in nested.rollout(checkpoint(session), SAMPLED[:3])])
    finally:
        nested.close()
