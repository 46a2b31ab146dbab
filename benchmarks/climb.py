"""Ablations of the loop: runs from the same start with the same number of cycles. Each arm changes one part of the loop.

    python benchmarks/climb.py run [--tasks slide lift push] [--arms full "KL penalty"] [--seeds 0 1] [--beside 2] [--device cuda]
    python benchmarks/climb.py table      # rewrites the tables in docs/climb.md from docs/results/climb/*.json

Each task and run seed has one start: the warm start, or the base model where the gate rolled the warm start back. Every arm begins there.
Arms with another prompt, other labels or no thought make this start again, from the same demonstrations.
The arms `demonstrations` and `ppo` have no cycles; they train for the time that `full` took. All arms are evaluated on the same test seeds.
A run is a folder in runs/climb, and the same command resumes it. An arm that has its JSON file is not run again.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rollout import RESULTS, fill, machine

from agent.evaluate.statistics import compare
from agent.records import Scorecard
from agent.run.files import load, write_text
from agent.run.layout import cycle_folders, seconds_before_practice

ROOT = Path(__file__).resolve().parent.parent
RUNS, OUT, PAGE = ROOT / "runs" / "climb", RESULTS / "climb", ROOT / "docs" / "climb.md"
MARKS = "<!-- climb: begin (python benchmarks/climb.py table) -->", "<!-- climb: end -->"
DETECTORS = "<!-- detectors: begin (python benchmarks/climb.py table) -->", "<!-- detectors: end -->"
CYCLES = {"slide": 3, "lift": 2, "push": 1}  # improvement cycles of every arm
SAMPLED_ONLY: dict[str, Any] = {  # sampled episodes alone, in every cycle; an arm adds its own loss terms
    "collect.lookahead_episodes": 0,
    "curate.lookahead_pairs": 0,
    "collect.num_seeds": 64,
    "phases": (),
    **{f"tune.{name}": 0 for name in ("pg_coef", "bc_coef", "dpo_coef")},
}
POLICY_GRADIENT = {**SAMPLED_ONLY, "tune.pg_coef": 1, "tune.batch_size": 256, "tune.epochs": 2}
CLONING = {**SAMPLED_ONLY, "tune.bc_coef": 1, "tune.batch_size": 64}
DPO = {**SAMPLED_ONLY, "tune.dpo_coef": 1, "tune.batch_size": 32}  # a small batch, because pairs are few
BY_DETECTOR = {**POLICY_GRADIENT, "label.by": "detector", "tune.bc_coef": 0.1, "tune.dpo_coef": 0.05}
# An arm has the keys that it changes, and the tasks in which it is run.
ARMS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "full": ({}, ("slide", "lift", "push")),
    # one loss, of sampled episodes
    "policy gradient": (POLICY_GRADIENT, ("slide", "push")),  # in Lift it is `full`
    "behaviour cloning": (CLONING, ("slide", "lift", "push")),
    "filtered cloning": ({**POLICY_GRADIENT, "tune.pg_coef": 0, "tune.filtered_bc_coef": 1}, ("slide", "lift")),
    "conditioned cloning": (
        {**CLONING, "curate.conditioned_weight": 1, "policy.prompt": "{state} {advantage} {instruction} : how far to the first ?"},
        ("lift",),
    ),
    "preference pairs": (DPO, ("slide", "lift")),
    "preference pairs, no anchor": ({**DPO, "tune.rpo_alpha": 0}, ("slide",)),
    "preference pairs, ipo": ({**DPO, "tune.dpo_loss_type": "ipo"}, ("slide",)),
    "preference pairs, robust": ({**DPO, "tune.dpo_loss_type": "robust"}, ("slide",)),
    "preference pairs, trajectory": ({**DPO, "curate.pairs_by": "trajectory"}, ("slide",)),
    # one part more
    "KL penalty": ({"tune.kl_coef": 0.05}, ("lift",)),
    "entropy bonus": ({"tune.ent_coef": 0.01}, ("lift",)),
    "dynamic sampling": ({"collect.dynamic_sampling": 64}, ("lift",)),
    "steps-to-go credit": ({"curate.credit": "steps_to_go"}, ("lift",)),
    "outcome credit": ({"curate.credit": "outcome"}, ("lift",)),
    "cloning, replay": ({**CLONING, "curate.replay": 4096}, ("lift",)),
    "cloning, hindsight": ({**CLONING, "curate.hindsight_weight": 1}, ("slide", "lift")),
    "cloning and pairs beside": ({"tune.bc_coef": 0.1, "tune.dpo_coef": 0.05}, ("lift",)),
    # one part less
    "no look-ahead pairs": ({"curate.lookahead_pairs": 0}, ("slide",)),
    "no phases": ({"phases": ()}, ("slide",)),
    "look-ahead share 0.5": ({"collect.lookahead_policy_share": 0.5}, ("slide",)),
    "look-ahead share 0": ({"collect.lookahead_policy_share": 0}, ("push",)),
    "thought is sampled": ({"policy.sample": "reply"}, ("push",)),
    "no thought": ({"policy.thought": "", "policy.sample": "reply"}, ("push",)),
    # other labels
    "labels of both": ({"label.by": "both"}, ("lift",)),
    "detector only": ({**BY_DETECTOR, "label.detector": "base"}, ("slide", "lift")),
    "detector only, distance": (
        {**BY_DETECTOR, "label.detector": "base", "label.distance_question": "{instruction} : how far to the first ?"},
        ("lift",),
    ),
    "detector only, champion": (BY_DETECTOR, ("slide", "lift")),
}
ANOTHER_START = ("policy.prompt", "policy.thought", "label.by")  # an arm that changes one of these keys cannot begin with the others' weights
START = "warm start"  # the arm without cycles, from which the others begin
BASELINES = ("demonstrations", "ppo")  # arms without cycles of etude, which have the time of `full`
START_FILES = ("ground", "start", "evaluate", "base.json", "environment.json")  # copied into the run of an arm


def run(
    tasks: tuple[str, ...] = tuple(CYCLES),
    arms: tuple[str, ...] = (*ARMS, *BASELINES),
    seeds: tuple[int, ...] = (0,),
    beside: int = 2,
    device: str = "cpu",
) -> None:
    """Make all missing results.

    Args:
        tasks: names of files in configs/.
        arms: keys of `ARMS`, or `BASELINES`.
        seeds: run seeds.
        beside: runs at a time, each on one core.
        device: torch device of the models; several runs can share a GPU.
    """
    OUT.mkdir(parents=True, exist_ok=True)
    # In this order a job waits only for jobs that were submitted, and so began, before it. Otherwise the pool could block.
    order = [START, "full", *(arm for arm in arms if arm in ARMS and arm != "full"), *(arm for arm in arms if arm in BASELINES)]
    cells = [(task, seed, arm) for arm in order if arm in (START, *arms) for seed in seeds for task in tasks]
    jobs: dict[tuple[str, int, str], Future[None]] = {}
    with ThreadPoolExecutor(beside) as pool:
        for task, seed, arm in cells:
            needed = _folder(task, seed, START) / "summary.json" if arm == START else _file(task, seed, arm)
            if (arm not in ARMS or task in ARMS[arm][1]) and not (needed.exists() and _file(task, seed, arm).exists()):
                earlier = [jobs[task, seed, other] for other in (START, *(("full",) if arm in BASELINES else ())) if (task, seed, other) in jobs]
                jobs[task, seed, arm] = pool.submit(_make, task, seed, arm, device, earlier)
    for job in jobs.values():
        job.result()


def _make(task: str, seed: int, arm: str, device: str, earlier: list[Future[None]]) -> None:
    """Make one result, after the jobs that it depends on."""
    for job in earlier:
        job.result()
    print(f"{task} {seed} {arm}", flush=True)
    folder, out, full = _folder(task, seed, START), _file(task, seed, arm), _file(task, seed, "full")
    if arm in BASELINES:
        if not full.exists():
            sys.exit(f"The arm {arm} has the time that the arm full took; run full for {task}, seed {seed}, first.")
        minutes, title = json.loads(full.read_text())["seconds"]["total"] / 60, json.loads((folder / "summary.json").read_text())["task"]
        command = (
            ["benchmarks/demonstrations_only.py", folder]
            if arm == "demonstrations"
            else ["benchmarks/ppo_pixels.py", "--task", title, "--seed", seed]
        )
        _call(*command, "--threads", 1, "--minutes", minutes, "--out", out, log=folder.parent / f"{arm}.log")
    else:
        changes = {"cycles": 0} if arm == START else {"cycles": CYCLES.get(task, 3), **ARMS[arm][0]}
        folder = _run(task, seed, arm, {"policy.device": device, **changes})
        if not out.exists():  # a start that is made again, on another machine, leaves the JSON of the former one
            write_text(out, json.dumps(_result(folder), indent=1) + "\n")


def _run(task: str, seed: int, arm: str, changes: dict[str, Any]) -> Path:
    """Return the folder of an arm's finished run, which begins from a copy of the start."""
    folder, start = _folder(task, seed, arm), _folder(task, seed, START)
    if (folder / "summary.json").exists():
        return folder
    makes_start = arm == START or any(key in changes for key in ANOTHER_START)
    if not makes_start and not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for name in START_FILES:
            source = start / name
            if source.is_dir():
                shutil.copytree(source, partial / name)
            elif source.exists():
                partial.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, partial / name)
        partial.rename(folder)
    overrides = {"seed": seed, "threads": 1, "processes": 1, "max_minutes": 0, "track.mode": "off", "track.videos": False}
    overrides |= {"evaluate.extra_rounds": 0, **changes}  # gate evaluations of one length, so that the arms' minutes can be compared
    folder.parent.mkdir(parents=True, exist_ok=True)
    options = [word for key, value in overrides.items() for word in (f"--{key}", *([] if value == () else [value]))]
    _call("-m", "agent.cli", "improve", ROOT / "configs" / f"{task}.yaml", folder, *options, log=folder.parent / f"{folder.name}.log")
    return folder


def _call(*command: Any, log: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with log.open("ab") as file:
        done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, env=environment, stdout=file, stderr=file, check=False)
    if done.returncode:
        sys.exit(f"A run failed; the last lines of {log.relative_to(ROOT)} say why. The same command continues.")


def _practice_seconds(folder: Path) -> float:
    """Return the seconds that a run took after its start, gate evaluations among them."""
    return json.loads((folder / "summary.json").read_text())["seconds"]["total"] - seconds_before_practice(folder)


def _result(folder: Path) -> dict[str, Any]:
    """Return the content of an arm's JSON file, from its finished run."""
    summary = json.loads((folder / "summary.json").read_text())

    def stages(name: str) -> list[Any]:
        return [load(file) for cycle in cycle_folders(folder).values() if (file := cycle / f"{name}.json").exists()]

    collects, detectors = stages("collect"), stages("detector")
    outcomes = load(folder / "evaluate" / f"test-{summary['policy']}.json")["outcomes"]
    kept = ("task", "seed", "base_weights", "base", "before_is", "cycles", "promoted", "before", "after", "gain", "gain_low", "gain_high", "p_value")
    return {
        **{key: summary[key] for key in kept},
        "practice_decisions": sum(stage["figures"]["decisions"] for stage in collects),
        "candidates_tried": sum(stage["figures"].get("candidates_tried", 0) for stage in collects),
        "gate_rates": [stage.get("gate_rate") for stage in stages("cycle")],
        **({"detector": [stage["figures"].get("balanced_accuracy") for stage in detectors]} if detectors else {}),
        "outcomes": "".join("01"[passed] for passed in outcomes.values()),
        "seconds": {"total": round(_practice_seconds(folder), 1)},
        "machine": machine(),
    }


def _folder(task: str, seed: int, arm: str) -> Path:
    return RUNS / f"{task}-{seed}" / _slug(arm)


def _file(task: str, seed: int, arm: str) -> Path:
    return OUT / f"{task}-{seed}-{_slug(arm)}.json"


def _slug(arm: str) -> str:
    """Return an arm's name as it stands in file names."""
    return arm.replace(",", "").replace(" ", "-")


NAMES = {_slug(arm): arm for arm in (START, *ARMS, *BASELINES)}


def _results() -> dict[tuple[str, str], dict[int, dict[str, Any]]]:
    """Return the contents of all JSON files by task and arm, then by run seed."""
    results: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for file in sorted(OUT.glob("*.json")):
        task, seed, arm = re.fullmatch(r"(.+?)-(\d+)-(.+)", file.stem).groups()  # type: ignore[union-attr]
        results[task, NAMES[arm]][int(seed)] = json.loads(file.read_text())
    return results


def rows() -> list[str]:
    """Return the table of all arms: a row for each task and arm, over its run seeds. Differences are paired by test seed."""
    results = _results()
    heads = ("task", "arm", "seeds", "passed", "own warm start", "gain over the row `warm start`", "this arm less `full`")
    heads = (*heads, "practice decisions", "tried in copies", "detector", "minutes")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for task in sorted({task for task, _ in results}, key=lambda task: ([*CYCLES, task].index(task), task)):
        for arm in (arm for arm in NAMES.values() if (task, arm) in results):
            runs = results[task, arm]
            against = [_difference(runs, results.get((task, other), {})) if other != arm else "" for other in (START, "full")]
            starts = {seed: results[task, START][seed]["after"]["rate"] for seed in runs}
            own = [f"{100 * rate:.1f} %" for seed, content in runs.items() if (rate := content["before"]["rate"]) != starts[seed] and arm != START]
            counts = [[content.get(name, 0) for content in runs.values()] for name in ("practice_decisions", "candidates_tried")]
            means = [f"{np.mean(count):,.0f}" if any(count) else "" for count in counts]
            # Balanced accuracy by run and cycle; NaN in a cycle whose episodes all succeeded or all failed.
            accuracy = np.array([content["detector"] for content in runs.values() if "detector" in content], float)
            detector = ", ".join(f"{100 * rate:.1f}" for rate in np.nanmean(accuracy, axis=0)) if len(accuracy) else ""
            seconds = [content["seconds"].get("imitation", content["seconds"]["total"]) for content in runs.values()]
            passed, minutes = str(_joined(runs).success), f"{np.mean(seconds) / 60:.1f}"
            cells = [task, arm, str(len(runs)), passed, ", ".join(own), *against, *means, detector, minutes]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _difference(runs: dict[int, dict[str, Any]], others: dict[int, dict[str, Any]]) -> str:
    """Return the gain of some runs over others, on the run seeds that both have; '' if there is none."""
    both = sorted(runs.keys() & others.keys())
    return str(compare(_joined({seed: runs[seed] for seed in both}), _joined({seed: others[seed] for seed in both}))) if both else ""


def _joined(runs: dict[int, dict[str, Any]]) -> Scorecard:
    """Return one scorecard of runs with several run seeds."""
    return Scorecard("", {f"{seed}/{i}": passed == "1" for seed, content in runs.items() for i, passed in enumerate(content["outcomes"])})


def detector_rows() -> list[str]:
    """Return the table of arms with the detector's labels alone: their gain as a share of the gain with the environment's labels."""
    results = _results()
    lines = ["| task | arm | run seeds | share of the gain | by run seed | balanced accuracy, second cycle |", "|---|---|---|---|---|---|"]
    for task, arm in (key for key in results if key[1].startswith("detector")):
        # With the environment's labels: policy gradients alone, which is `full` in Lift and Place.
        by_detector, by_env = results[task, arm], results.get((task, "policy gradient")) or results[task, "full"]
        seeds, start = sorted(by_detector.keys() & by_env.keys()), results[task, START]
        gains = np.array([[runs[seed]["after"]["rate"] - start[seed]["after"]["rate"] for seed in seeds] for runs in (by_detector, by_env)])
        shares = [f"{100 * gain / full_gain:.0f} %" for gain, full_gain in (gains.mean(1), *gains.T)]
        # The earliest runs did not record the accuracy. A run of one cycle has that of its only one.
        accuracy = np.mean([100 * by_detector[seed]["detector"][:2][-1] for seed in seeds if "detector" in by_detector[seed]])
        lines.append(f"| {task} | {arm} | {', '.join(map(str, seeds))} | {shares[0]} | {', '.join(shares[1:])} | {accuracy:.1f} % |")
    return lines


def table() -> None:
    """Rewrite the two tables in docs/climb.md."""
    fill(PAGE, MARKS, "\n".join(rows()))
    fill(PAGE, DETECTORS, "\n".join(detector_rows()))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table})
