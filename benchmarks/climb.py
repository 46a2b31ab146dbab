"""What each part of etude is worth: one start, one budget, one part changed.

    python benchmarks/climb.py run [--tasks reach push lift] [--arms full imitation] [--seeds 0 1 2] [--beside 2] [--device cuda]
    python benchmarks/climb.py table      # rewrite the table in docs/climb.md from docs/results/climb/*.json

For each task and run seed the start is made once: the warm start, or the base model where the gate rolled that back. Every arm begins there (those
where the critic labels alone make it anew, for their
demonstrations go on after a success; what is imitated is the same) and takes as many cycles as `full`; how many takes and decisions a cycle of it has
stands in the table. `demonstrations` and `ppo` have the time that `full` took instead. All of them then sit the same final exam.
A run is a folder under runs/climb that the same command continues; what has a JSON is left alone.
"""

import functools
import itertools
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

from agent.config.read import read
from agent.evaluate.statistics import compare
from agent.records import Scorecard
from agent.run.files import load, write_text
from agent.run.layout import cycle_folders, seconds_before_practice

ROOT = Path(__file__).resolve().parent.parent
RUNS, OUT, PAGE = ROOT / "runs" / "climb", RESULTS / "climb", ROOT / "docs" / "climb.md"
MARKS = "<!-- climb: begin (python benchmarks/climb.py table) -->", "<!-- climb: end -->"
CRITICS = "<!-- critics: begin (python benchmarks/climb.py table) -->", "<!-- critics: end -->"
CYCLES = {"reach": 2, "push": 1, "lift": 2}  # improvement cycles of every arm
ROUND = {
    "collect.guided": 0,
    "curate.contrast": 0,
    "collect.refill": 0,
    "collect.seeds": 64,
    "phases": (),
}  # ordinary practice alone, in every cycle
ROUND |= {f"tune.{name}": 0 for name in ("policy_gradient", "filtered", "preference", "imitation")}
OWN: dict[str, dict[str, Any]] = {  # of a task, where an arm says None; what is not here stays as in the task's config
    "reach": {"curate.replay": 4096, "label.way": "{instruction} : how far to the first ?"},
    "lift": {"tune.imitation": 0.1, "tune.preference": 0.05, "label.way": "{instruction} : how far to the first ?"},
    "place": {"label.study": 240, "label.way": "{instruction} : how far to the second ?"},  # its judge has more to learn
}
TRIALS = {"tune.policy_gradient": 1, "tune.batch": 256, "tune.epochs": 2}
CRITIC = {"label.by": "critic", "label.study": None, "tune.imitation": 0.1, "tune.preference": 0.05}
SMALL = {"tune.batch": 32, "curate.pairs_per_seed": 8}  # as many gradient steps from pairs as `full` takes from trials
BESIDE = {"tune.imitation": None, "tune.preference": None}  # where a config has none of both
ARMS: dict[str, tuple[dict[str, Any], str]] = {
    # what is changed, and the weight or number in the task's own config without which the change would change nothing
    "full": ({}, ""),
    "imitation": ({**ROUND, "tune.imitation": 1, "tune.batch": 64}, ""),
    "preference": ({**ROUND, **SMALL, "tune.preference": 1}, ""),
    "preference, no anchor": ({**ROUND, **SMALL, "tune.preference": 1, "tune.anchor": 0}, ""),
    "policy gradient": ({**ROUND, **TRIALS}, ""),
    "no guided takes": ({"collect.guided": 0, "curate.contrast": 0, "collect.seeds": 64}, "collect.guided"),
    "no contrast": ({"curate.contrast": 0}, "curate.contrast"),
    "replay": ({"curate.replay": None}, "tune.imitation"),
    "mixed groups only": ({"curate.groups": "mixed"}, "tune.policy_gradient"),
    "no pairs of takes": ({"curate.pairs_per_seed": 0}, "tune.preference"),
    "hindsight": ({"curate.hindsight": 1.0}, "tune.imitation"),
    "imitation and pairs": (BESIDE, ""),
    "imitation, pairs, hindsight": ({**BESIDE, "curate.hindsight": 1.0}, ""),
    "critic only": ({**ROUND, **TRIALS, **CRITIC, "label.judge": "referee"}, ""),
    "critic only, way": ({**ROUND, **TRIALS, **CRITIC, "label.judge": "referee", "label.way": None}, ""),
    "critic only, champion": ({**ROUND, **TRIALS, **CRITIC}, ""),
}
WARM = "warm start"  # where all arms begin
OTHERS = ("demonstrations", "ppo")  # arms without practice of ours
START = ("ground", "start", "exams", "base.json", "environment.json")  # what an arm takes over from the common start


def run(
    tasks: tuple[str, ...] = tuple(CYCLES),
    arms: tuple[str, ...] = (*ARMS, *OTHERS),
    seeds: tuple[int, ...] = (0,),
    beside: int = 2,
    device: str = "cpu",
) -> None:
    """Make every result that is missing.

    Args:
        tasks: names of files in configs/.
        arms: which.
        seeds: of the runs.
        beside: runs at a time, each on one core.
        device: that the models lie on; several runs may share a GPU.
    """
    OUT.mkdir(parents=True, exist_ok=True)
    # In this order whoever waits for another waits for one that has begun.
    order = [WARM, "full", *(arm for arm in arms if arm in ARMS and arm != "full"), *(arm for arm in arms if arm in OTHERS)]
    cells = [(task, seed, arm) for arm in order if arm in (WARM, *arms) for seed in seeds for task in tasks]
    made: dict[tuple[str, int, str], Future[None]] = {}
    with ThreadPoolExecutor(beside) as pool:
        for task, seed, arm in cells:
            needed = _folder(task, seed, WARM) / "summary.json" if arm == WARM else _file(task, seed, arm)
            if _means_something(task, arm) and not (needed.exists() and _file(task, seed, arm).exists()):
                first = [made[task, seed, other] for other in (WARM, *(("full",) if arm in OTHERS else ())) if (task, seed, other) in made]
                made[task, seed, arm] = pool.submit(_make, task, seed, arm, device, first)
    for each in made.values():
        each.result()


def _means_something(task: str, arm: str) -> bool:
    """Return whether an arm differs from `full` in this task, in the cycles that there are, and from the arms above it."""
    if arm in ARMS and any(_changes(task, arm) == _changes(task, other) for other in itertools.takewhile(lambda other: other != arm, ARMS)):
        return False
    changes, needs = _changes(task, arm), ARMS[arm][1] if arm in ARMS else ""
    config = read(ROOT / "configs" / f"{task}.yaml")
    config = config.model_copy(update={"phases": tuple(phase for phase in config.phases if phase.first <= CYCLES.get(task, 3))})
    same = arm in ARMS and arm != "full" and all(_value(config, key) == value for key, value in changes.items())
    return not same and (not needs or bool(_value(config, needs)))


def _changes(task: str, arm: str) -> dict[str, Any]:
    if arm in (WARM, *OTHERS):
        return {"cycles": 0} if arm == WARM else {}
    own = OWN.get(task, {})
    given = {key: own.get(key) if value is None else value for key, value in ARMS[arm][0].items()}
    return {key: value for key, value in given.items() if value is not None}


def _value(config: Any, key: str) -> Any:
    return functools.reduce(getattr, key.split("."), config)


def _make(task: str, seed: int, arm: str, device: str, first: list[Future[None]]) -> None:
    """Make one result, when what it begins from is there."""
    for each in first:
        each.result()
    print(f"{task} {seed} {arm}", flush=True)
    folder, out, full = _folder(task, seed, WARM), _file(task, seed, arm), _file(task, seed, "full")
    if arm in OTHERS:
        if not full.exists():
            sys.exit(f"{arm} has the time that full took: run the arm full for {task}, seed {seed}, first.")
        minutes, title = json.loads(full.read_text())["seconds"]["total"] / 60, json.loads((folder / "summary.json").read_text())["task"]
        command = (
            ["benchmarks/demonstrations_only.py", folder]
            if arm == "demonstrations"
            else ["benchmarks/ppo_pixels.py", "--task", title, "--seed", seed]
        )
        _call(*command, "--threads", 1, "--minutes", minutes, "--out", out, log=folder.parent / f"{arm}.log")
    else:
        changes = {"cycles": CYCLES.get(task, 3), **_changes(task, arm)}
        folder = _run(task, seed, arm, {"policy.device": device, **changes})
        if not out.exists():  # where a start is made again, on another machine, what others began from stays on record
            write_text(out, json.dumps(_result(folder), indent=1) + "\n")


def _run(task: str, seed: int, arm: str, changes: dict[str, Any]) -> Path:
    """Return the folder of a finished run; it begins where the warm start ended."""
    folder, start = _folder(task, seed, arm), _folder(task, seed, WARM)
    if (folder / "summary.json").exists():
        return folder
    own = arm == WARM or "label.by" in changes
    if not own and not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for name in START:
            place = start / name
            if place.is_dir():
                shutil.copytree(place, partial / name)
            elif place.exists():
                partial.mkdir(parents=True, exist_ok=True)
                shutil.copy(place, partial / name)
        partial.rename(folder)
    given = {"seed": seed, "threads": 1, "processes": 1, "minutes": 0, "track.mode": "off", "track.films": False}
    given |= {"evaluate.prolong": 0, **changes}  # exams of one length, so that the arms' minutes can be compared
    folder.parent.mkdir(parents=True, exist_ok=True)
    options = [word for key, value in given.items() for word in (f"--{key}", *([] if value == () else [value]))]
    _call("-m", "agent.cli", "improve", ROOT / "configs" / f"{task}.yaml", folder, *options, log=folder.parent / f"{folder.name}.log")
    return folder


def _call(*command: Any, log: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with log.open("ab") as file:
        done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, env=environment, stdout=file, stderr=file, check=False)
    if done.returncode:
        sys.exit(f"stopped; the last lines of {log.relative_to(ROOT)} say why")


def _practice_seconds(folder: Path) -> float:
    """Return how long a run took after its warm start."""
    return json.loads((folder / "summary.json").read_text())["seconds"]["total"] - seconds_before_practice(folder)


def _result(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text())
    each = cycle_folders(folder).values()
    collects, gates, critic = ([load(file) for one in each if (file := one / f"{name}.json").exists()] for name in ("collect", "cycle", "critic"))
    exam = load(folder / "exams" / f"final-{summary['policy']}.json")["outcomes"]
    kept = ("task", "seed", "base_weights", "base", "before_is", "cycles", "promoted", "before", "after", "gain", "gain_low", "gain_high", "p_value")
    return {
        **{key: summary[key] for key in kept},
        "practice_decisions": sum(each["figures"]["decisions"] for each in collects),
        "foreseen": sum(each["figures"].get("foreseen", 0) for each in collects),
        "gate_rates": [each.get("gate_rate") for each in gates],
        **({"critic": [each["figures"].get("balanced_accuracy") for each in critic]} if critic else {}),
        "outcomes": "".join("01"[passed] for passed in exam.values()),
        "seconds": {"total": round(_practice_seconds(folder), 1)},
        "machine": machine(),
    }


def _folder(task: str, seed: int, arm: str) -> Path:
    return RUNS / f"{task}-{seed}" / _plain(arm)


def _file(task: str, seed: int, arm: str) -> Path:
    return OUT / f"{task}-{seed}-{_plain(arm)}.json"


def _plain(arm: str) -> str:
    return arm.replace(",", "").replace(" ", "-")


NAMES = {_plain(arm): arm for arm in (WARM, *ARMS, *OTHERS)}


def _found() -> dict[tuple[str, str], dict[int, dict[str, Any]]]:
    """Return what there is, by task and arm, then by run seed."""
    found: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for file in sorted(OUT.glob("*.json")):
        task, seed, arm = re.fullmatch(r"(.+?)-(\d+)-(.+)", file.stem).groups()  # type: ignore[union-attr]
        found[task, NAMES[arm]][int(seed)] = json.loads(file.read_text())
    return found


def rows() -> list[str]:
    """Return the lines of the table: one an arm and task, over its run seeds; differences are paired, exam seed by exam seed."""
    found = _found()
    lines = [
        "| task | arm | seeds | passed | gain over the warm start | this arm less `full` | practice decisions | tried in copies | critic | minutes |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for task in sorted({task for task, _ in found}, key=lambda task: ([*CYCLES, task].index(task), task)):
        for arm in (arm for arm in NAMES.values() if (task, arm) in found):
            each = found[task, arm]
            against = [_difference(each, found.get((task, other), {})) if other != arm else "" for other in (WARM, "full")]
            counts = [[content.get(name, 0) for content in each.values()] for name in ("practice_decisions", "foreseen")]
            made = [f"{np.mean(count):,.0f}" if any(count) else "" for count in counts]
            judged = np.array([content["critic"] for content in each.values() if "critic" in content], float)  # a cycle of equal takes has none
            critic = ", ".join(f"{100 * rate:.1f}" for rate in np.nanmean(judged, axis=0)) if len(judged) else ""
            cells = [task, arm, str(len(each)), str(_joined(each).success), *against, *made, critic]
            seconds = [content["seconds"].get("imitation", content["seconds"]["total"]) for content in each.values()]
            lines.append(f"| {' | '.join(cells)} | {np.mean(seconds) / 60:.1f} |")
    return lines


def _difference(these: dict[int, dict[str, Any]], others: dict[int, dict[str, Any]]) -> str:
    """Return how much better these runs passed than others, on the run seeds that both have."""
    both = sorted(these.keys() & others.keys())
    return str(compare(_joined({seed: these[seed] for seed in both}), _joined({seed: others[seed] for seed in both}))) if both else ""


def _joined(each: dict[int, dict[str, Any]]) -> Scorecard:
    """Return one scorecard of runs with several seeds."""
    return Scorecard("", {f"{seed}/{i}": passed == "1" for seed, content in each.items() for i, passed in enumerate(content["outcomes"])})


def judged() -> list[str]:
    """Return the lines of the second table: what the critic's word keeps of what policy gradients alone gain by the environment's."""
    found = _found()
    lines = ["| task | arm | run seeds | keeps of the gain | one by one | balanced accuracy, second cycle |", "|---|---|---|---|---|---|"]
    for task, arm in (key for key in found if key[1].startswith("critic")):
        mine, its = found[task, arm], found.get((task, "policy gradient")) or found[task, "full"]  # the recipe of Lift and Place
        seeds, start = sorted(mine.keys() & its.keys()), found[task, WARM]
        gains = np.array([[each[seed]["after"]["rate"] - start[seed]["after"]["rate"] for seed in seeds] for each in (mine, its)])
        shares = [f"{100 * one / other:.0f} %" for one, other in (gains.mean(1), *gains.T)]
        right = np.mean([100 * mine[seed]["critic"][:2][-1] for seed in seeds if "critic" in mine[seed]])  # the first runs did not keep it
        lines.append(f"| {task} | {arm} | {', '.join(map(str, seeds))} | {shares[0]} | {', '.join(shares[1:])} | {right:.1f} % |")
    return lines


def table() -> None:
    """Rewrite the two tables in docs/climb.md."""
    fill(PAGE, MARKS, "\n".join(rows()))
    fill(PAGE, CRITICS, "\n".join(judged()))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table})
