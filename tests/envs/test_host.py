"""Environments in a process of their own: hanging and dying cost an episode, and neighbours notice nothing."""

import inspect
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from agent.check import check
from agent.config.config import Config
from agent.config.keys import EvaluateConfig, LabelConfig
from agent.demonstrate.stage import FaultBudget, record
from agent.ready import episodes_end
from agent.records import Episode, Job
from agent.report import videos
from agent.rollout.environments import Environments
from agent.rollout.experts import everyone
from agent.rollout.rollout import rollout, tolerate
from agent.rollout.session import Session
from agent.run.folder import Run
from agent.run.recognise import recognise
from envs import EnvConfig
from envs.adapt import Adapter
from envs.host import EnvironmentProcess, Proxy, examine_in_process
from envs.process import end_with_parent, portable
from policies.codec import Codec
from policies.scripted import Random
from tests.envs.worded import odd


def config(way: str, **kwargs: Any) -> EnvConfig:
    return EnvConfig(
        id=f"{Path(__file__).parent / 'fatal.py'}:Fatal", kwargs={"way": way, **kwargs}, cameras=("eye",), size=16, action_repeat=1, timeout=1.5
    )


WAYS = {"hang": "no answer within 1.5 s", "segfault": r"its process died \(SIGSEGV\)", "exit": r"its process died \(exit 3\)"}


def collect(of: EnvConfig, seeds: tuple[int, ...], count: int = 3) -> list[Episode]:
    environments = Environments(of, count)
    try:
        return list(
            rollout(Random(environments.first.actions.low, environments.first.actions.high, 1), environments, [Job(s, 0, (s,)) for s in seeds])
        )
    finally:
        environments.close()


@pytest.mark.parametrize("place", ["step", "reset"])
@pytest.mark.parametrize("way", WAYS)
def test_the_end_of_one_is_named_and_its_neighbours_are_as_ever(way: str, place: str) -> None:
    episodes = collect(config(way, place=place), (1, 7, 2, 3, 4))
    sound = collect(config(way).model_copy(update={"timeout": 0}), (1, 2, 3, 4))
    (fault,) = episodes[1].faults
    assert fault.startswith("decision 2: " if place == "step" else "reset: ")
    assert re.search(WAYS[way], fault)
    for here, there in zip(sound, [e for e in episodes if not e.faults], strict=True):
        for name in ("frames", "actions", "rewards"):
            np.testing.assert_array_equal(getattr(here, name), getattr(there, name))


def test_too_many_ends_stop_the_run_with_a_sentence() -> None:
    environments = Environments(config("exit", seeds=(1, 2, 7)), 2)
    with pytest.raises(ValueError, match=r"1 of 4 episodes were faulty.*its process died"):
        policy = Random(environments.first.actions.low, environments.first.actions.high, 1)
        list(tolerate(rollout(policy, environments, [Job(seed, 0, (seed,)) for seed in (7, 1, 2, 3)]), 4))
    environments.close()


@pytest.mark.parametrize("way", WAYS)
def test_an_environment_that_cannot_be_made_is_named(way: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("envs.host.STARTING", 5.0)
    with pytest.raises(ValueError, match=f"cannot be made: {WAYS[way].replace('1.5', '5')}"):
        Environments(config(way, place="init"), 2)


def test_errors_pass_as_they_are_and_cost_no_process() -> None:
    environment_process = EnvironmentProcess(config("hang"), 10)
    with pytest.raises(KeyError):
        environment_process.call(5, "step", np.zeros((1, 2)))
    assert environment_process.generation == 1
    environment_process.close()


def test_own_tasks_are_the_same_here_and_there() -> None:
    here = Adapter(EnvConfig())
    environment_process = EnvironmentProcess(here.config, 60)
    there = Proxy(environment_process)
    for seed in (0, 1):
        np.testing.assert_array_equal(here.reset(seed).frames, there.reset(seed).frames)
        for action in np.random.default_rng(seed).uniform(-1, 1, (3, 1, 3)).astype(np.float32):
            one, other = here.step(action), there.step(action)
            np.testing.assert_array_equal(one.observation.frames, other.observation.frames)
            np.testing.assert_array_equal(one.rewards, other.rewards)
    environment_process.close()


@pytest.mark.parametrize("way", WAYS)
def test_the_doctor_names_what_hangs_and_what_dies(way: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert not check(Config(env=config(way, seeds=tuple(range(70_000_003, 70_000_009)))), True, tmp_path)
    said = " ".join(capsys.readouterr().out.split())
    assert "random episode 4" in said and re.search(WAYS[way], said), "the limit is that of env.timeout"
    assert "physics not MuJoCo" in said and "control rate" in said, "what was found before it is kept"


def test_the_doctor_names_a_close_that_hangs() -> None:
    found = examine_in_process(config("hang", place="close", seeds=tuple(range(70_000_000, 70_000_400))), 1.5, lambda stage: None, quick=True)
    (fault,) = (each for each in found.faults if "no answer" in each)
    assert fault.endswith("fatal.py:Fatal, close(): no answer within 1.5 s; its process was ended.") and "speed" in found.lines


def test_the_doctor_finds_the_same_apart() -> None:
    found = examine_in_process(EnvConfig(), 120, lambda stage: None)
    assert not found.faults and "scripted oracle succeeds in 20 of 20" in found.lines["expert"] and found.sheet is not None


def test_a_users_own_folder_named_envs_does_not_get_in_the_way(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    environment_process = EnvironmentProcess(EnvConfig(), 60)
    environment_process.call(0, "make")
    assert environment_process.call(0, "reset", 0).instruction and environment_process.generation == 1
    environment_process.close()


SLOW = """
import os, pathlib, time
pathlib.Path(os.environ["SAYS"]).write_text(str(os.getpid()))
time.sleep(600)
"""


def test_a_process_that_still_imports_ends_with_whoever_began_it(tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text(SLOW)
    said, paths = tmp_path / "process", os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    begun = "import time\nfrom envs.process import begin\nbegin('slow_to_import')\ntime.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", begun], env={**os.environ, "SAYS": str(said), "PYTHONPATH": paths})
    while not (said.exists() and said.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    child = psutil.Process(int(said.read_text()))
    parent.kill()
    child.wait(30)  # raises if it lives on


def test_a_process_whose_parent_was_gone_before_its_first_line_ends_at_once() -> None:
    lines = f"{inspect.getsource(end_with_parent)}\nend_with_parent({os.getpid() + 1})\nprint('on it goes')"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout and not done.stderr


def children() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE}


def test_with_a_run_all_its_processes_end_also_where_it_stopped_half_way(tmp_path: Path) -> None:
    before, other = children(), {"seeds": [3]}
    session = Session(
        Run(tmp_path, Config(env=config("hang"), label=LabelConfig(by="detector"), evaluate=EvaluateConfig(variations={"other": other})))
    )
    opened = [session.environments, session.practice_environments, session.variation_environments("other")]
    for environments in opened:
        next(rollout(Random(-np.ones(2), np.ones(2), 1), environments, [Job(seed, 0, (seed,)) for seed in (1, 2)]))
    assert len(children() - before) == len(opened)
    session.close()
    assert children() == before


def test_of_environments_that_cannot_all_be_made_no_process_is_left() -> None:
    before = children()
    with pytest.raises(ValueError, match="Nothing-v9"):
        Environments((config("hang"), EnvConfig(id="Nothing-v9")), 2)
    assert children() == before


@pytest.mark.parametrize("place", ["step", "reset", "expert"])
def test_what_hangs_in_a_demonstration_costs_that_one(place: str) -> None:
    of = config("hang", place=place)
    expert = everyone([of], f"{Path(__file__).parent / 'fatal.py'}:expert") if place == "expert" else still
    environments, leave_out = Environments(of, 1), FaultBudget(of=3, share=0.5)
    codec = Codec(np.arange(65)[:, None], -np.ones(2), np.ones(2), 1)
    shown = list(record(environments, codec, [Job(seed) for seed in (1, 7, 2)], expert=expert, leave_out=leave_out))
    environments.close()
    assert [episode.seed for episode in shown] == [1, 2] and all(len(episode) == 6 for episode in shown)
    assert leave_out.count == 1 and leave_out.first.endswith("seed 7, TimeoutError: no answer within 1.5 s; its process was ended")


def still(adapter: Adapter) -> np.ndarray:
    return np.zeros(2, np.float32)


def test_what_hangs_in_a_video_or_at_the_close_is_ended() -> None:
    here = Adapter(config("hang", seeds=()).model_copy(update={"timeout": 0}))
    environments = Environments(here.config, 1)
    (episode,) = rollout(Random(-np.ones(2), np.ones(2), 1), environments, [Job(7, 0, (7,))])
    before, apart = children(), Environments(config("hang"), 1)
    with pytest.raises(TimeoutError, match=r"no answer within 1\.5 s"):
        apart.first.apply(videos.replayed, episode)
    apart.renew(0)
    assert len(apart.first.apply(videos.replayed, replace(episode, seed=3))) == 7
    apart.close()
    last_rewards = Environments(config("hang", place="close"), 1)
    last_rewards.first.reset(7)
    last_rewards.close()
    assert children() == before


def test_an_environment_with_a_limit_is_never_made_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Adapter, "__init__", None)  # which another process does not see
    session = Session(Run(tmp_path, Config(env=config("hang"))))
    assert "fault" not in recognise(session.run, session.environments.firsts) and (tmp_path / "environment.json").exists()
    first = session.environments.first
    assert (len(first.actions), first.state_size, first.rate, first.limit, first.drawn_by_mujoco) == (2, 0, 20.0, None, False)
    episodes_end(session)
    session.close()


def test_where_only_the_environments_process_is_killed_the_episodes_are_what_they_would_have_been() -> None:
    here = Adapter(config("hang", seeds=()).model_copy(update={"timeout": 0}))
    environment_process = EnvironmentProcess(config("hang", seeds=()), 60)
    there, neighbour = Proxy(environment_process), Proxy(environment_process)
    neighbour.reset(2)
    rng, killed = np.random.default_rng(0), []
    for one, other in (
        (here.reset(7), there.reset(7)),
        *((here.step(a).observation, there.step(a).observation) for a in _killing(environment_process, rng, killed)),
    ):
        np.testing.assert_array_equal(one.frames, other.frames)
    assert len(killed) == 1
    np.testing.assert_array_equal(neighbour.step(np.ones((1, 2))).rewards, _second(2))
    there.reset(7)
    for _ in range(2):
        environment_process._process.kill()  # type: ignore[union-attr]
        if _ == 0:
            there.step(np.zeros((1, 2)))
    with pytest.raises(ChildProcessError, match=r"its process died \(SIGKILL\)"):
        there.step(np.zeros((1, 2)))
    environment_process.close()


def _killing(environment_process: EnvironmentProcess, rng: np.random.Generator, killed: list[int]) -> Iterator[np.ndarray]:
    """Yield five actions; before the third the process of the environments is killed."""
    for i in range(5):
        if i == 2:
            killed.append(environment_process._process.pid)  # type: ignore[union-attr]
            environment_process._process.kill()  # type: ignore[union-attr]
        yield rng.uniform(-1, 1, (1, 2))


def _second(seed: int) -> np.ndarray:
    adapter = Adapter(config("hang", seeds=()).model_copy(update={"timeout": 0}))
    adapter.reset(seed)
    return adapter.step(np.ones((1, 2))).rewards


def worded(fault: str = "") -> Proxy:
    file = Path(__file__).parent / "worded.py"
    return Proxy(EnvironmentProcess(EnvConfig(id=f"{file}:Worded", kwargs={"fault": fault}, cameras=("eye",), size=16, action_repeat=1), 30))


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [("Broken", RuntimeError, "Broken: code 5 at here"), ("Refused", ValueError, "Refused: code 5 at here"), ("EOFError", EOFError, "here")],
)
def test_an_error_of_any_class_arrives_in_words(fault: str, kind: type[Exception], says: str) -> None:
    there = worded(fault)
    there.reset(0)
    with pytest.raises(kind, match=f"^{says}$"):
        there.step(np.zeros((3, 2)))
    assert there._process.generation == 1, "its process lives"
    there._process.close()


def test_texts_of_a_class_of_the_users_arrive_as_plain_ones() -> None:
    there = worded()
    outcome = (there.reset(0), there.step(np.zeros((3, 2))))[1]
    assert [type(each) for each in (outcome.observation.instruction, *outcome.achieved)] == [str, str]
    assert outcome.achieved == ("go on",)
    there._process.close()


def test_an_answer_that_cannot_be_read_here_is_one_sentence() -> None:
    there = worded()
    with pytest.raises(ValueError, match="its answer cannot be read in the main process"):
        there.apply(odd)
    there.reset(0)  # the process lives
    there._process.close()


def test_an_error_that_takes_more_than_words_keeps_its_name() -> None:
    assert str(portable(UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"))).startswith("UnicodeDecodeError")
    assert isinstance(portable(KeyError("x")), KeyError)
