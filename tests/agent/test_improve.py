"""The loop, whole: killed anywhere and resumed, stage by stage, on three model families, and through the command line."""

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from agent.config.read import parse
from agent.curate.stage import curate
from agent.evaluate.stage import evaluate, gate, gate_warm_start
from agent.improve import latest
from agent.label.stage import detector_examples
from agent.learning.training import base_model
from agent.records import Checkpoint, Scorecard, decisions
from agent.rollout.session import Session
from agent.run.files import load
from agent.run.folder import Run
from agent.run.labels import labelled
from agent.run.layout import evaluation_name, gate_of
from agent.run.tracking import Track
from policies.loading import NANO
from tests.called import Process, apart, etude
from tests.families import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "cycles": 2,
    "threads": 1,
    "policy": {"batch_size": 8, "temperature": 3.0},
    "demonstrate": {"episodes": 4, "steps": 6},
    "collect": {
        "num_seeds": 3,
        "episodes_per_seed": 3,
        "num_envs": 4,
        "dynamic_sampling": 2,
        "lookahead_episodes": 2,
        "lookahead_candidates": 4,
    },
    "tune": {"batch_size": 16, "epochs": 1, "learning_rate": 1e-4},
    "phases": [{"first": 2, "tune": {"epochs": 2}}],
    "evaluate": {"gate_episodes": 6, "test_episodes": 6, "gate_alpha": 1.0},
    "track": {"mode": "off", "videos": False},
}


SIZED = """
import gymnasium
import numpy as np


class Sized(gymnasium.Env):
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, size):
        eye, state = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8), gymnasium.spaces.Box(-1, 1, (size,))
        self.observation_space = gymnasium.spaces.Dict({"eye": eye, "state": state})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, True, {}
"""


def config(folder: Path, **changes: Any) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({**TINY, **changes}))
    return file


def essence(run: Path) -> dict[str, Any]:
    """All that a run came to, less its times."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "summary.json").read_text())
    weights = {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(run.glob("*/policy.safetensors"))}
    return {
        "rows": [{key: value for key, value in row.items() if not key.endswith("/seconds")} for row in rows],
        "summary": {key: value for key, value in summary.items() if key != "seconds"},
        "weights": weights,
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped, in an interpreter of its own."""
    folder = tmp_path_factory.mktemp("whole")
    command = [sys.executable, "-m", "agent.cli", "improve", config(folder), folder / "run"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_run_leaves_what_it_promises(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert {"task", "seed", "cycles", "promoted", "before_is", "gain", "p_value", "both_pass", "seconds"} <= summary.keys()
    assert all(summary[name].keys() >= {"rate", "low", "high", "n"} and summary[name]["n"] == 6 for name in ("base", "warm_start", "before", "after"))
    assert summary["before"] == max((summary["base"], summary["warm_start"]), key=lambda part: part["rate"])
    assert summary["cycles"] == 2 and summary["seconds"]["total"] > 0
    assert (whole / "report.html").stat().st_size > 1000
    stages = {json.loads(line)["stage"] for line in (whole / "metrics.jsonl").read_text().splitlines()}
    assert stages >= {"demonstrate", "collect", "label", "curate", "tune", "evaluate"}


def test_stored_episodes_have_the_rate_of_decisions(whole: Path) -> None:
    """Reach makes 20 steps a second, and each action is held for 4."""
    assert {json.loads(file.read_text())["fps"] for file in whole.rglob("episodes/meta/info.json")} == {5}


def test_every_cycle_practises_seeds_of_its_own(whole: Path) -> None:
    first, second = (json.loads((whole / f"cycle-{number:03d}" / "collect.json").read_text())["content"]["seeds"] for number in (1, 2))
    (task,) = first
    assert {len(first[task]), len(second[task])} <= {3, 4, 5}, "up to two more, where too few told something"
    assert not first[task].keys() & second[task].keys()
    run = Run(whole)
    attempts = [episode for number in (1, 2) for episode in run.episodes(run.cycle(number).folder)]
    assert len(attempts) == len({episode.id for episode in attempts}) == 3 * (len(first[task]) + len(second[task]))


def test_a_phase_begins_with_its_cycle(whole: Path) -> None:
    first, second = (whole / f"cycle-{number:03d}" for number in (1, 2))
    samples, steps = (
        [load(folder / f"{stage}.json")["figures"][key] for folder in (first, second)] for stage, key in (("curate", "samples"), ("tune", "steps"))
    )
    assert steps == [math.ceil(samples[0] / 16), 2 * math.ceil(samples[1] / 16)], "passes over the policy samples, 16 a step"


def test_where_nothing_is_imitated_nothing_is_shown_again_and_the_rest_is_as_it_was(whole: Path, tmp_path: Path) -> None:
    session = Session(Run(shutil.copytree(whole, tmp_path / "run")).begin())
    run = session.run
    cycle, track = run.cycle(2), Track(run.folder, run.config)
    warm = run.checkpoint(run.folder / "start")
    champion, made = latest(run, gate_warm_start(session, base_model(session), warm, track)), []
    for imitation in (1.0, 0.0):
        changed = cycle.config.model_copy(update={"tune": cycle.config.tune.model_copy(update={"bc_coef": imitation})})
        made.append(curate(session, champion, replace(cycle, config=changed), track, partial(detector_examples, run)))
    shown = sum(len(list(decisions(episode))) for episode in run.episodes(run.folder / "start") if episode.success)
    assert len(made[0].demonstrations) - len(made[1].demonstrations) >= shown > 0
    assert [len(each.samples) for each in made] == [load(cycle.folder / "curate.json")["figures"]["samples"]] * 2
    for one, other in zip(
        *((*each.samples, *(side for pair in each.pairs for side in (*pair.chosen, *pair.rejected))) for each in made), strict=True
    ):
        np.testing.assert_array_equal(one.tokens, other.tokens)


def test_each_cycle_has_gate_seeds_of_its_own(whole: Path) -> None:
    sat: dict[tuple[str, int], set[str]] = {}
    for file in (whole / "evaluate").glob("gate-*.json"):
        sat.setdefault(gate_of(file.stem), set()).update(load(file)["outcomes"])
    cycles = [{frozenset(seeds) for (_, cycle), seeds in sat.items() if cycle == number} for number in (0, 1, 2)]
    assert [len(each) for each in cycles] == [1, 1, 1] and len(sat) == 6, "champion and candidate were evaluated on the same, base and warm start too"
    assert not set.intersection(*(set(seeds) for each in cycles for seeds in each))


@pytest.mark.parametrize(
    ("champion", "candidate", "seats"),
    [
        ((10, 0, 0), (19, 0, 0), 20),  # surely better at first sight
        ((10, 0, 0), (9, 0, 0), 20),  # not better
        ((10, 5, 0), (11, 16, 0), 40),  # better perhaps, and surely at the second look
        ((10, 10, 0), (11, 8, 0), 40),  # better perhaps, and not at the second look
        ((10, 10, 10), (11, 10, 11), 60),  # nobody knows
    ],
)
def test_both_sit_further_seeds_while_the_candidate_may_be_better(
    champion: tuple[int, ...], candidate: tuple[int, ...], seats: int, tmp_path: Path
) -> None:
    run = Run(
        tmp_path / "run", parse({"evaluate": {"gate_episodes": 20, "gate_alpha": 0.05, "extra_rounds": 2}, "track": {"mode": "off"}}, "test")
    ).begin()
    for name, passed in (("old", champion), ("new", candidate)):
        for part, right in enumerate(passed[: seats // 20]):  # an evaluation that is not there would have to be sat, by nobody
            outcomes = {f"t/{part}-{seed}": seed < right for seed in range(20)}
            run.keep(
                run.folder / "evaluate" / f"{evaluation_name('gate', name, cycle=1, part=part)}.json",
                lambda name=name, made=outcomes: asdict(Scorecard(name, made)),
            )
    nobody = tmp_path / "nobody"
    before, after = gate(Session(run), run.cycle(1), Checkpoint(nobody, "old"), Checkpoint(nobody, "new"), Track(run.folder, run.config))
    assert before.outcomes.keys() == after.outcomes.keys() and len(after.outcomes) == seats
    assert (before.policy, after.policy) == ("old", "new") and sum(after.outcomes.values()) == sum(candidate[: seats // 20])


@pytest.mark.parametrize(("cycle", "part"), [(0, 10), (91, 0)])
def test_gate_seeds_never_reach_those_of_the_test_evaluation(cycle: int, part: int, tmp_path: Path) -> None:
    config = parse({"evaluate": {"gate_episodes": 100_000, "extra_rounds": 0 if cycle else 10}, "track": {"mode": "off"}}, "test")
    run = Run(tmp_path / "run", config).begin()
    with pytest.raises(ValueError, match=f"^cycle {cycle}: no gate seeds are left for 100000 more; lower evaluate.gate_episodes"):
        evaluate(Session(run), Checkpoint(tmp_path, "old"), "gate", Track(run.folder, config), cycle=cycle, part=part)


@pytest.mark.parametrize(
    ("base", "warm", "kept"),
    [(10, 20, True), (20, 10, False), (15, 15, False), (0, 0, True), (0, 3, True)],
    ids=["better", "worse", "no better", "neither passes any", "base passes none"],
)
def test_the_warm_start_has_to_pass_the_gate(base: int, warm: int, kept: bool, tmp_path: Path) -> None:
    run = Run(
        tmp_path / "run", parse({"evaluate": {"gate_episodes": 20, "gate_alpha": 0.3, "extra_rounds": 0}, "track": {"mode": "off"}}, "test")
    ).begin()
    for name, passed in (("base", base), ("warm", warm)):
        card = Scorecard(name, {f"t/{seed}": seed < passed for seed in range(20)})
        run.keep(run.folder / "evaluate" / f"{evaluation_name('gate', name, cycle=0)}.json", lambda card=card: asdict(card))
    checkpoints = [Checkpoint(tmp_path / "nobody", name) for name in ("base", "warm")]
    first = gate_warm_start(Session(run), *checkpoints, Track(run.folder, run.config))
    assert first.name == ("warm" if kept else "base")
    assert (
        run.metrics()[-1]["stage"] == "evaluate"
        and run.metrics()[-1]["eval/promoted"] == kept
        and run.metrics()[-1]["eval/base_success_rate"] == base / 20
    )


def test_a_lost_result_of_the_warm_starts_gate_is_computed_again_from_its_evaluations(tmp_path: Path) -> None:
    config = parse({"evaluate": {"gate_episodes": 20, "gate_alpha": 0.3, "extra_rounds": 0}, "track": {"mode": "off"}}, "test")
    base, warm = (Checkpoint(tmp_path / "nobody", name) for name in ("base", "warm"))
    run = Run(tmp_path / "run", config).begin()
    for checkpoint, passed in ((base, 20), (warm, 5)):
        card = Scorecard(checkpoint.name, {f"t/{seed}": seed < passed for seed in range(20)})
        run.keep(run.folder / "evaluate" / f"{evaluation_name('gate', checkpoint.name, cycle=0)}.json", lambda card=card: asdict(card))
    for _ in range(2):
        assert gate_warm_start(Session(run), base, warm, Track(run.folder, config)) == base
        (run.folder / "start" / "evaluate.json").unlink()


@pytest.mark.slow
def test_a_warm_start_that_harms_is_rolled_back_and_the_run_begins_from_the_base(tmp_path: Path) -> None:
    """Reach, which the base model passes, after imitation at a rate that destroys it."""
    file = config(
        tmp_path,
        cycles=1,
        demonstrate={"episodes": 2, "steps": 8, "learning_rate": 0.05},
        evaluate={"gate_episodes": 10, "test_episodes": 10},
    )
    done = etude("improve", file, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    summary, run = json.loads((tmp_path / "run" / "summary.json").read_text()), Run(tmp_path / "run")
    assert summary["base"]["rate"] >= 0.9 and summary["warm_start"]["rate"] <= 0.5 and summary["before_is"] == "base"
    assert not load(run.folder / "start" / "evaluate.json")["figures"]["promoted"] and "rolled back" in done.stdout
    assert load(run.cycle(1).folder / "collect.json")["policy"] == load(run.folder / "start" / "base.json")["policy"]


@pytest.mark.slow
def test_a_run_takes_its_grounding_first_and_goes_on_with_that_model(tmp_path: Path) -> None:
    """A new environment: the whole model learns to see it; killed after that, the same command goes on with what it has become."""
    env = {"id": "etude/Reach-v0", "cameras": ["front", "wrist"]}
    file = config(tmp_path, env=env, cycles=1, ground={"steps": 3})
    done = apart("improve", file, tmp_path / "run", "--until", "collect")
    assert done.returncode == 0, done.stderr
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["stage"] == "ground" and first["ground/steps"] == 3 and 0 <= first["ground/where_right"] <= 1
    changed, shipped = (load_file(folder / "model.safetensors") for folder in (tmp_path / "run" / "ground" / "model", NANO))
    assert any("vision" in name and not torch.equal(tensor, shipped[name]) for name, tensor in changed.items())
    done = apart("improve", file, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    tuned = load_file(tmp_path / "run" / "start" / "policy.safetensors")
    name = next(name for name in tuned if name.endswith("embed_tokens.weight"))
    distance = {which: float((tuned[name] - base[name]).abs().max()) for which, base in (("ground", changed), ("shipped", shipped))}
    assert distance["ground"] < distance["shipped"], "imitation began from the model that had taken its grounding"


@pytest.mark.slow
def test_a_model_with_adapters_takes_its_grounding_and_goes_on_with_them_merged(tmp_path: Path, smolvlm: Path) -> None:
    """Adapters and connector learn from questions in plain English; the grounded model is a whole one, and new adapters begin on it."""
    policy = {"model": str(smolvlm), "codec": "digits", "train": "lora+connector", "batch_size": 8, "prompt": "{instruction}."}
    file = config(tmp_path, policy=policy, cycles=1, ground={"steps": 3})
    for until in ("collect", "evaluate"):  # the second command goes on with the first one's model
        done = apart("improve", file, tmp_path / "run", "--until", until)
        assert done.returncode == 0, done.stderr
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["stage"] == "ground" and first["ground/steps"] == 3 and 0 <= first["ground/instruction_right"] <= 1
    changed, given = (load_file(folder / "model.safetensors") for folder in (tmp_path / "run" / "ground" / "model", smolvlm))
    assert changed.keys() == given.keys()
    different = {name for name in changed if not torch.equal(changed[name], given[name])}
    assert any("connector" in name for name in different) and any("q_proj" in name for name in different)
    assert not [name for name in different if "vision" in name or "norm" in name or "embed" in name]
    tuned = load_file(tmp_path / "run" / "start" / "policy.safetensors")
    assert any("lora_A" in name for name in tuned) and any("connector" in name for name in tuned)


def test_where_nothing_can_be_asked_about_the_base_model_stays_as_it_is(tmp_path: Path) -> None:
    """A pendulum on a rail: all of it is robot, and its end swings out of every name's reach."""
    env = {
        "id": "InvertedPendulum-v5",
        "cameras": ["render"],
        "instruction": "balance the pole",
        "success": "total_reward > 20",
        "max_episode_steps": 24,
    }
    policy = {"prompt": "{instruction}"}
    file = config(tmp_path, env=env, policy=policy, cycles=0, ground={}, demonstrate={"episodes": 0})
    done = etude("improve", file, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "ground: 0 of" in done.stdout and not (tmp_path / "run" / "ground" / "model").exists()


@pytest.mark.slow
def test_a_scene_without_a_simulator_is_asked_about_and_the_vision_tower_learns(tmp_path: Path) -> None:
    """By default, and said at the start; the run's own config says what trains, and a second command goes on with it."""
    env = {"id": f"{ROOT / 'examples' / 'point_goal.py'}:PointGoal", "cameras": ["pixels"], "max_episode_steps": 8}
    file = config(tmp_path, env=env, cycles=1, ground={"steps": 2, "from": {"dot": "info.dot_xy"}})
    for until in ("collect", "evaluate"):
        done = etude("improve", file, tmp_path / "run", "--until", until)
        assert done.returncode == 0, done.stderr
        said = " ".join(done.stdout.split())
        assert "has never seen scenes like those of" in said and "policy.train is all" in said
    assert Run(tmp_path / "run").config.policy.train == "all"
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["stage"] == "ground" and first["ground/steps"] == 2
    for kind in ("where", "left", "action", "apart", "same", "moved", "position"):
        assert 0 <= first[f"ground/{kind}_right"] <= 1 and 0 < first[f"ground/{kind}_constant"] < 1
    tuned = load_file(tmp_path / "run" / "start" / "policy.safetensors")
    assert any("vision" in name for name in tuned)


def kill_when(command: Sequence[Any], ready: Any, deadline: float = 120) -> bool:
    """Start `etude COMMAND` and kill -9 it as soon as `ready()`; return whether it was killed before it ended."""
    process = Process(*command)
    began = time.time()
    while process.poll() is None:
        if ready() or time.time() - began > deadline:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    return False


STAGE_FILES = (
    "config.yaml",
    "start/episodes/meta/info.json",
    "start/demonstrate.json",
    "start/tune.json",
    "cycle-001/episodes/meta/info.json",
    "cycle-001/collect.json",
    "cycle-001/label.json",
    "cycle-001/curate.json",
    "cycle-001/policy.safetensors",
    "cycle-001/tune.json",
    "cycle-001/cycle.json",
    "cycle-002/collect.json",
    "cycle-002/tune.json",
    "cycle-002/evaluate.json",
)


@pytest.mark.slow
def test_killed_in_each_stage_and_resumed_it_ends_bit_identical(whole: Path, tmp_path: Path) -> None:
    run, file, killed = tmp_path / "run", config(tmp_path), 0
    for name in STAGE_FILES:
        killed += kill_when(("improve", file, run), (run / name).exists)
    assert killed >= 10
    assert apart("improve", file, run).returncode == 0
    assert essence(run) == essence(whole)


@pytest.mark.slow
def test_killed_at_ten_random_moments_and_resumed_it_ends_bit_identical(whole: Path, tmp_path: Path) -> None:
    run, file, rng, killed = tmp_path / "run", config(tmp_path), np.random.default_rng(0), 0
    for _ in range(10):
        delay, files, moved = float(rng.uniform(0, 0.4)), len(list(run.rglob("*"))), []

        def ready(delay: float = delay, files: int = files, moved: list[float] = moved) -> bool:
            if not moved and len(list(run.rglob("*"))) > files:  # it has begun to work, not only to import
                moved.append(time.time())
            return bool(moved) and time.time() > moved[0] + delay

        killed += kill_when(("improve", file, run), ready)
    assert killed >= 5
    assert apart("improve", file, run).returncode == 0
    assert essence(run) == essence(whole)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_damaged_weights_stop_the_run_and_what_it_advises_mends_it(processes: int, whole: Path, tmp_path: Path) -> None:
    run, file = shutil.copytree(whole, tmp_path / "run"), config(tmp_path)
    shutil.rmtree(run / "evaluate")
    weights = run / "start" / "policy.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[len(raw) // 2] ^= 1
    weights.write_bytes(raw)
    before = {each: each.read_bytes() for each in run.rglob("*.safetensors")}
    done = apart("improve", file, run, "--processes", processes)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{weights} holds the weights" in done.stderr and f"delete the folder {run}/start and every cycle's folder" in done.stderr
    assert before == {each: each.read_bytes() for each in run.rglob("*.safetensors")}
    for each in ("start", "cycle-001", "cycle-002"):
        shutil.rmtree(run / each)
    assert apart("improve", file, run).returncode == 0
    assert essence(run) == essence(whole)


@pytest.mark.slow
def test_in_several_processes_killed_and_resumed_it_comes_to_the_same(whole: Path, tmp_path: Path) -> None:
    run, file, killed = tmp_path / "run", config(tmp_path, processes=2), 0
    for name in ("cycle-001/episodes/meta/info.json", "cycle-002/tune.json"):
        killed += kill_when(("improve", file, run), (run / name).exists)
    assert killed == 2
    assert apart("improve", file, run).returncode == 0
    assert essence(run) == essence(whole)


@pytest.mark.slow
@pytest.mark.parametrize("label", [{"by": "detector"}, {"by": "both"}])
def test_the_detector_judges_and_learns(label: dict[str, Any], tmp_path: Path) -> None:
    collect = {**TINY["collect"], "dynamic_sampling": 0, "lookahead_episodes": 0}  # which go by the environment's reward
    videos = {"mode": "off", "videos": True}
    file = config(tmp_path, cycles=2, label={**label}, env={"id": "etude/Reach-v0", "max_episode_steps": 12}, collect=collect, track=videos)
    done = apart("improve", file, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    critic = [row for row in rows if row["stage"] == "detector"]
    assert len(critic) == 2 and all(0 <= row["detector/brier"] <= 1 for row in critic if "detector/brier" in row)
    assert any("train/detector_loss" in row for row in rows if row["stage"] == "tune" and row["cycle"] == 1)
    run = Run(tmp_path / "run")
    episodes, seen = run.episodes(run.cycle(1).folder), labelled(run, run.cycle(1))
    if label["by"] == "detector":
        assert {len(episode) for episode in episodes} == {3}, "nothing ends an episode"
        assert (tmp_path / "run" / "videos" / "cycle-001-worst.mp4").exists()
        assert [each.success for each in seen] == [row["success"] for row in load(run.cycle(1).folder / "label.json")["episodes"]]
    else:
        assert [each.success for each in seen] == [each.success for each in episodes]


@pytest.mark.slow
def test_stage_by_stage_comes_to_the_same(whole: Path, tmp_path: Path) -> None:
    run, file = tmp_path / "run", config(tmp_path)
    for stage in ("collect", "label", "curate", "tune", "evaluate"):
        done = apart("improve", file, run, f"--until={stage}")
        assert done.returncode == 0 and f"{stage}: finished" in done.stdout, done.stderr
    assert load(run / "champion.json")["policy"] == load(run / "cycle-001" / "cycle.json")["champion"]
    assert apart("improve", file, run).returncode == 0
    assert essence(run) == essence(whole)


def with_model(folder: Path, model: str, **policy: Any) -> Path:
    """Write the config of a tiny run with grounding, a success detector and one cycle."""
    collect, policy = {"num_seeds": 2, "episodes_per_seed": 2, "num_envs": 4}, {"precision": "float32", **policy}
    more: dict[str, Any] = {"optim": "adamw_8bit"} if policy["precision"] == "4bit" else {}
    return config(
        folder,
        policy={"model": model, "batch_size": 4, **policy},
        cycles=1,
        ground={"steps": 2, "batch_size": 4, "kinds": ["offset"]},
        demonstrate={"episodes": 3, "steps": 2},
        collect=collect,
        label={"by": "both"},
        tune={**TINY["tune"], **more},
    )


TRAINED = {"qwen3": {"train": "lora", "precision": "4bit"}, "paligemma": {"train": "lora"}, "smolvlm": {"train": "lora+connector"}}


@pytest.mark.slow
@pytest.mark.parametrize("family", [each for each in FAMILIES if each != "nano"])
def test_the_loop_runs_on_every_other_family(family: str, folder_of: Any, tmp_path: Path) -> None:
    """With grounding and a success detector: families whose positions have three dimensions, or whose prompt attends both ways, are asked as well."""
    file = with_model(tmp_path, str(folder_of(family)), codec="digits", **TRAINED.get(family, {"train": "text"}))
    done = apart("improve", file, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["cycles"] == 1 and 0 <= summary["after"]["rate"] <= 1
    assert (tmp_path / "run" / "cycle-001" / "policy.safetensors").exists() and (tmp_path / "run" / "ground" / "model").is_dir()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["improv"], "Unknown verb"),
        (["improve"], "needs CONFIG and RUN"),
        (["improve", "configs/none.yaml", "r"], "cannot be read"),
        (["improve", "configs/reach.yaml", "r", "--collect.takes", "3"], "did you mean '--collect.episodes_per_seed'"),
        (["improve", "configs/reach.yaml", "r", "--collect.episodes_per_seed", "three"], "collect.episodes_per_seed is 'three'"),
        (["improve", "configs/reach.yaml", "RUN", "--env.id", "etude/Nowhere-v0", "--track.mode", "off"], "cannot be made"),
        (["improve", "configs/reach.yaml", "r", "--until", "lunch"], "--until is 'lunch'; give one stage of a cycle: collect, label"),
        (["improve", "configs/reach.yaml", "r", "--until"], "--until needs a STAGE (collect, label"),
        (["collect", "configs/reach.yaml", "r"], "Unknown verb"),
        (["watch", "nowhere"], "needs the folder of a run"),
        (["report", "nowhere"], "needs the folder of a run"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_traceback(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = etude(*[str(tmp_path / "run") if each == "RUN" else each for each in arguments])
    assert done.returncode != 0 and says in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_one_policy_learns_several_tasks(tmp_path: Path) -> None:
    """Demonstrations, practice, evaluations and the report know each task; practice goes where success is rare."""
    envs = [{"id": "etude/Reach-v0"}, {"id": "etude/Press-v0", "weight": 2, "name": "buttons"}]
    file = config(tmp_path, env=envs, track={"mode": "off", "videos": True}, cycles=2)
    done = etude("improve", file, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["task"] == "etude/Reach-v0 + buttons"
    assert {name: part["before"]["n"] for name, part in summary["tasks"].items()} == {"etude/Reach-v0": 2, "buttons": 4}
    for name in ("before", "after"):
        passed = sum(round(part[name]["rate"] * part[name]["n"]) for part in summary["tasks"].values())
        assert passed == round(summary[name]["rate"] * 6), "the parts make up the whole"
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    collected = [row for row in rows if row["stage"] == "collect"]
    assert all({"rollout/success_rate/etude/Reach-v0", "rollout/success_rate/buttons"} <= row.keys() for row in collected)
    assert "eval/success_rate/buttons" in next(row for row in rows if row["stage"] == "evaluate")
    assert "The test evaluation, environment by environment." in (tmp_path / "run" / "report.html").read_text()


def test_tasks_of_one_run_must_take_the_same_actions(tmp_path: Path) -> None:
    frames = {"cameras": ["render"], "success": "reward > 0", "instruction": "go"}
    envs = [{"id": "Reacher-v5", **frames}, {"id": "Pusher-v5", **frames}]
    done = etude("improve", config(tmp_path, env=envs), tmp_path / "run")
    assert done.returncode == 1 and "Pusher-v5 takes other actions than Reacher-v5" in done.stderr and "Traceback" not in done.stderr


def test_tasks_of_one_run_must_have_states_of_one_size(tmp_path: Path) -> None:
    """Before anything is recorded: both would stand in one column."""
    (tmp_path / "sized.py").write_text(SIZED)
    env = {"id": f"{tmp_path}/sized.py:Sized", "cameras": ["eye"], "instruction": "go", "success": "reward > 1"}
    envs = [{**env, "name": f"with {size}", "kwargs": {"size": size}} for size in (2, 5)]
    collect = {**TINY["collect"], "lookahead_episodes": 0}  # its episodes are too short to come back to
    done = etude("improve", config(tmp_path, env=envs, collect=collect, demonstrate={"episodes": 0}), tmp_path / "run")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "has 2 numbers in with 2 and 5 in with 5; name keys of one size in env.state" in " ".join(done.stderr.split())
    assert not (tmp_path / "run" / "cycle-001" / "episodes").exists()


FLAKY = """
import gymnasium
import numpy as np


class Flaky(gymnasium.Env):
    # Never done; fails in one evaluation, and whenever it is seen a second time in one process.
    action_space = gymnasium.spaces.Discrete(3)
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})
    met = set()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.mine, self.first = seed, seed not in self.met
        self.met.add(seed)
        return self.look(), {}

    def look(self):
        return {"eye": self.np_random.integers(0, 255, (16, 16, 3), dtype=np.uint8)}

    def step(self, action):
        if self.mine == 30_000_002 or (self.mine < 1000 and not self.first):
            raise RuntimeError("the gripper is stuck")
        return self.look(), 0.0, False, False, {"success": False}
"""


def test_what_an_environment_spoils_in_videos_and_evaluations_is_said_and_costs_no_more(tmp_path: Path) -> None:
    (tmp_path / "flaky.py").write_text(FLAKY)
    env = {"id": f"{tmp_path}/flaky.py:Flaky", "cameras": ["eye"], "instruction": "go", "max_episode_steps": 4, "action_repeat": 2}
    collect = {"num_seeds": 2, "episodes_per_seed": 1, "num_envs": 1}
    file = config(
        tmp_path, env=env, collect=collect, ground={"steps": 0}, demonstrate={"episodes": 0}, track={"mode": "off", "videos": True}, cycles=1
    )
    done = etude("improve", file, tmp_path / "run", "--tune.bc_coef", 0, "--collect.dynamic_sampling", 1)
    said = " ".join(done.stdout.split())
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "no video: RuntimeError: the gripper is stuck" in said and "nothing to learn from" in said
    assert "test evaluation: 1 of 6 seeds failed by a fault of the environment: seed 30000002" in said
    assert "seed 30000002: decision 0: RuntimeError: the gripper is stuck" in (tmp_path / "run" / "report.html").read_text()


def test_a_run_stops_where_its_environment_spoils_most_of_an_evaluation(tmp_path: Path) -> None:
    """Their failures say nothing about the policy: a gate or a test of them would be no measurement."""
    (tmp_path / "flaky.py").write_text(FLAKY.replace("self.mine == 30_000_002 or (self.mine < 1000 and not self.first)", "self.mine > 30_000_003"))
    env = {"id": f"{tmp_path}/flaky.py:Flaky", "cameras": ["eye"], "instruction": "go", "max_episode_steps": 4, "action_repeat": 2}
    file = config(tmp_path, env=env, ground={"steps": 0}, demonstrate={"episodes": 0}, cycles=0)
    done = etude("improve", file, tmp_path / "run")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1 and "Traceback" not in said, said
    assert "2 of 6 episodes were faulty, more than 20 %; the last at seed 30000005, decision 0: RuntimeError: the gripper is stuck." in said
    assert not list((tmp_path / "run" / "evaluate").glob("test-*.json"))


def test_evaluations_of_generalisation_are_sat_at_the_end(tmp_path: Path) -> None:
    variations = {"camera moved": {"variation": {"camera": 0.05}}, "other words": {"variation": {"wording": "other"}}}
    file = config(tmp_path, cycles=1, evaluate={**TINY["evaluate"], "variations": variations})
    done = etude("improve", file, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "summary.json").read_text())["variations"]
    assert found.keys() == variations.keys() and all(part["after"]["n"] == 6 for part in found.values())
    assert "camera moved" in (tmp_path / "run" / "report.html").read_text()


def test_a_mistake_in_a_variation_is_found_before_anything_is_learnt(tmp_path: Path) -> None:
    file = config(tmp_path, evaluate={**TINY["evaluate"], "variations": {"odd": {"variation": {"camra": 1}}}})
    done = etude("improve", file, tmp_path / "run")
    assert done.returncode == 1 and "evaluate.variations 'odd'" in done.stderr and "Unknown variation 'camra'" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run" / "start").exists()
    camera = {"lookat": [0, 0, 0], "distance": 1, "azimuth": 0, "elevation": -30}
    env = {"id": "etude/Reach-v0", "cameras": ["side"], "free_cameras": {"side": camera}}
    file = config(tmp_path, env=env, evaluate={**TINY["evaluate"], "variations": {"odd": {"variation": {"camera": 0.1}}}})
    done = etude("improve", file, tmp_path / "other")
    assert done.returncode == 1 and "moves the camera front, which env.cameras of" in done.stderr
