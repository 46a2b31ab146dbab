"""Results as JSON, and the tables of README.md, docs/results.md and docs/climb.md rebuilt from these alone.

python benchmarks/results.py add runs/reach-0     # copy a finished run's summary to docs/results/
python benchmarks/results.py add runs/demo demo   # the same, as that of `make demo`
python benchmarks/results.py film runs/reach-0    # two of its before/after films as strips: docs/film.png, or a name of your own
python benchmarks/results.py add runs/reach-0 gpu # the same, as that of one core and a GPU: it stands in docs/climb.md
python benchmarks/results.py add runs/lift critic # the same, as that of a run in which no reward and no success was learnt from (`--label.by critic`)
python benchmarks/results.py add runs/bare base   # the exam of the base model as it is (`--cycles 0 --demonstrate.episodes 0`)
python benchmarks/results.py table                # rewrite the tables, between their markers
"""

import datetime
import functools
import itertools
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rollout import RESULTS, fill, machine

import policies

ROOT = Path(__file__).resolve().parent.parent
TASKS = "<!-- tasks: begin (python benchmarks/results.py table) -->", "<!-- tasks: end -->"
SHORT = "<!-- short: begin (python benchmarks/results.py table) -->", "<!-- short: end -->"
OWN = "<!-- results: begin (python benchmarks/results.py table) -->", "<!-- results: end -->"
GPU = "<!-- gpu: begin (python benchmarks/results.py table) -->", "<!-- gpu: end -->"
BARE = "<!-- base: begin (python benchmarks/results.py table) -->", "<!-- base: end -->"
OTHERS = "<!-- others: begin (python benchmarks/results.py table) -->", "<!-- others: end -->"
METHODS = {
    "etude": "etude",
    "demo": "etude, by `make demo`",
    "critic": "etude, by the critic's word alone",
    "demonstrations_only": "demonstrations only, same time",
    "ppo_pixels": "SB3 PPO from pixels, same time",
}
WITH_GPU = {"gpu": "etude, one core and a GPU"}
BASE = {"base": "the base model as it is"}
ETUDE = ("etude", "demo", "critic", "gpu")  # methods that begin from base model and warm start
PASSED = 0.9  # success of a base model to which a task has nothing to teach
OLDER = "former code"  # former credit of first decisions; the base model was not evaluated in the run itself
KINDS = METHODS | WITH_GPU | BASE
FORMER = " †"  # marks a row whose run began from other weights of the base model than are shipped now


def add(run: Path, method: str = "etude") -> Path:
    """Copy a run's summary, with its config and the machine, to docs/results/; `method` is one of `KINDS`."""
    import yaml

    summary = json.loads((run / "summary.json").read_text())
    config = yaml.safe_load((run / "config.yaml").read_text())
    ids = {each["id"].partition(":")[0] for each in (config["env"] if isinstance(config["env"], list) else [config["env"]]) if ":" in each["id"]}
    titles = [re.sub(r"-v\d+$", "", title.split(":")[-1].removeprefix("etude/")) for title in summary["task"].split(" + ")]
    name = re.sub(r"[^a-z0-9]+", "-", "-".join([*sorted(ids), *titles]).lower())
    file = RESULTS / f"{method}-{name}-{summary['seed']}.json"
    file.write_text(json.dumps({"method": method, "run_of": _today(run), **summary, "machine": machine(), "config": config}, indent=1) + "\n")
    return file


def _today(run: Path) -> str:
    """Return the day on which a run ended."""
    return datetime.date.fromtimestamp((run / "summary.json").stat().st_mtime).isoformat()


def film(run: Path, name: str = "film") -> Path:
    """Write up to two of a run's before/after films as strips to docs/NAME.png, one below the other; above before, below after."""
    import av
    from PIL import Image

    from agent.report.videos import strip

    rows = []
    for file in sorted((run / "films").glob("contrast-*.mp4")):
        with av.open(str(file)) as container:
            frames, rate = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], container.streams.video[0].average_rate or 20
        width = frames[0].shape[1] // 2
        moving = frames[: -math.ceil(rate)]  # the last one is held for a second
        rows += [strip([frame[:, :width] for frame in moving]), strip([frame[:, width:] for frame in moving])]
    picture = Image.fromarray(np.concatenate(rows[:4]))
    picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).quantize(128).save(ROOT / "docs" / f"{name}.png")
    return ROOT / "docs" / f"{name}.png"


def _results(own: bool, methods: dict[str, str]) -> list[dict[str, Any]]:
    """Return the results of runs in our own tasks, or in environments of others."""
    found = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))]
    return [content for content in found if content.get("method") in methods and content["task"].startswith("etude/") == own]


def _own(methods: dict[str, str]) -> list[dict[str, Any]]:
    """Return the results of runs in our own tasks, by task, method and run seed."""
    return sorted(_results(own=True, methods=methods), key=lambda c: (c["task"], list(methods).index(c["method"]), c["seed"]))


def own_rows(methods: dict[str, str]) -> list[str]:
    """Return the lines of the table of our own tasks: one a run, and the mean over the run seeds of a task and method."""
    lines = ["| task | method | seed | demonstrations | base model | warm start | after | gain over the better, points | p | minutes | run of |"]
    lines.append("|---" * 11 + "|")
    for key, group in itertools.groupby(_own(methods), key=lambda c: (c["task"], c["method"])):
        found = list(group)
        for content in found:
            lines.append(_row((key[0] + _mark(content), key[1]), content))
            for task, part in content.get("tasks", {}).items():
                ends = {f"gain_{end}": part[f"gain_{end}"] if f"gain_{end}" in part else part[end] for end in ("low", "high")}
                more = {name: content[name] for name in ("seed", "seconds", "config", "run_of") if name in content}
                lines.append(_row((f"of which {task}", key[1]), {**part, **ends, **more, "task": task, "method": content["method"]}))
        if len(found) > 1:
            lines.append(f"| {key[0]} | {(METHODS | WITH_GPU)[key[1]]} | **mean** | | | | {_mean(found)} | | | |")
    return lines


def short_rows() -> list[str]:
    """Return the lines of the README's table: one run of etude a task, and the mean gain on the tasks that the base model does not pass."""
    runs = {}
    for content in _own({"etude": ""}):
        if "tasks" not in content:
            runs.setdefault(content["task"], content)  # the first run seed
    lines = ["| task | base model | warm start | after | gain over the better, points | minutes | run of |", "|---" * 7 + "|"]
    passed = [task for task in runs if _before(runs[task])["base"]["rate"] >= PASSED]
    order = [*(task for task in runs if task not in passed), *passed]
    for task in order:
        base, warm, after, gain, _, minutes = _cells(runs[task])
        if task == next(iter(passed), None):
            gains = [_gain(runs[task]) for task in order if task not in passed]
            lines.append(f"| **mean of these {len(gains)}** | | | | **{100 * np.mean(gains):+.1f}** | | |")
        lines.append(f"| {task} | {base} | {warm} | {after} | {gain} | {_cores(runs[task])} x {minutes} | {_run_of(runs[task])} |")
    return lines


def other_rows() -> list[str]:
    """Return the lines of the table of environments of others: one a run, and the mean gain."""
    head = (
        "| environment | demonstrations | base model | warm start | after | gain over the better, points | p | cycles, promoted | minutes | run of |"
    )
    lines = [head, "|---" * 10 + "|"]
    for content in (found := _results(own=False, methods=METHODS)):
        *evaluated, minutes = _cells(content)
        shown, cycles = str(content["config"]["demonstrate"]["episodes"]), f"{content['cycles']}, {content['promoted']}"
        lines.append(f"| {' | '.join([content['task'] + _mark(content), shown, *evaluated, cycles, minutes, _run_of(content)])} |")
    gain = 100 * np.mean([_gain(content) for content in found])
    over = "" if all("base" in _before(content) for content in found) else " over the warm start"
    return [*lines, f"| **mean of {len(found)}** | | | | | **{gain:+.1f}**{over} | | | | |"]


def base_rows() -> list[str]:
    """Return the lines of the table of what the base model passes as it is, in the notation of each task's config."""
    lines = ["| task | numbers an action is written in, scale | the base model as it is | decisions to a success |", "|---|---|---|---|"]
    for content in _own(BASE):
        policy, rate = content["config"]["policy"], content["base"] if isinstance(content["base"], dict) else content["before"]
        took = rate.get("decisions_to_success")
        lines.append(f"| {content['task']} | {policy['num_bins']}, {policy['scale']:g} | {_rate(rate)} | {'' if took is None else f'{took:.1f}'} |")
    return lines


@functools.cache
def _shipped() -> str:
    return policies.load(policies.PolicyConfig(), -np.ones(3), np.ones(3)).base_name


def _mark(content: dict[str, Any]) -> str:
    base = content.get("base_weights", content.get("base"))
    return FORMER if content["method"] != "ppo_pixels" and base != _shipped() else ""


def _run_of(content: dict[str, Any]) -> str:
    return content.get("run_of", OLDER)


def _row(key: tuple[str, str], content: dict[str, Any]) -> str:
    config, (*evaluated, minutes) = content.get("config"), _cells(content)
    shown, cores = (str(config["demonstrate"]["episodes"]), f"{_cores(content)} x ") if config else ("", "")
    return f"| {' | '.join([key[0], (METHODS | WITH_GPU)[key[1]], str(content['seed']), shown, *evaluated, cores + minutes, _run_of(content)])} |"


def _mean(found: list[dict[str, Any]]) -> str:
    """Return two cells: mean success after practice, and mean gain over the better of base model and warm start."""
    return f"**{np.mean([100 * c['after']['rate'] for c in found]):.1f} %** | **{100 * np.mean([_gain(c) for c in found]):+.1f}**"


def _cores(content: dict[str, Any]) -> int:
    return max(content["config"]["threads"], content["config"].get("processes", 1))


def _before(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what was passed before practice by `base` and `warm_start`; of an older run the base model is from a run of its own."""
    if isinstance(content.get("base"), dict):
        return {name: content[name] for name in ("base", "warm_start") if name in content}
    base = [each for each in _results(own=True, methods=BASE) if content.get("method") in ETUDE and _notation(each) == _notation(content)]
    return ({"base": base[0]["before"]} if base else {}) | {"warm_start": content["before"]}


def _notation(content: dict[str, Any]) -> tuple[Any, ...]:
    """Return what decides what a base model passes: task, and how it is asked and answers; runs of before `scale` have none."""
    policy = content["config"]["policy"]
    return content["task"], policy["num_bins"], policy.get("scale", 1), policy["prompt"], policy.get("thought", "")


def _gain(content: dict[str, Any]) -> float:
    """Return by how much more is passed in the end than by the better of base model and warm start, -1 to 1."""
    return content["after"]["rate"] - max(each["rate"] for each in _before(content).values())


def _rate(each: dict[str, Any]) -> str:
    return f"{100 * each['rate']:.1f} % [{100 * each['low']:.1f}, {100 * each['high']:.1f}]"


def _cells(content: dict[str, Any]) -> list[str]:
    """Return base model, warm start, after, gain over the better of the first two, p and minutes."""
    before = _before(content)
    rates = [_rate(before[name]) if name in before else "" for name in ("base", "warm_start")]
    better = max(before, key=lambda name: before[name]["rate"])
    paired = isinstance(content.get("base"), dict) or better == "warm_start"  # an older run was compared with its warm start alone
    gained = content["gain"] if paired and "gain" in content else _gain(content)  # as the run itself rounds it
    gain, p = f"{100 * gained:+.1f}", f"{content['p_value']:.1g}" if paired and "p_value" in content else ""
    if paired and "gain_low" in content:
        gain += f" [{100 * content['gain_low']:+.1f}, {100 * content['gain_high']:+.1f}]"
    if "base" not in before and content.get("method") in ETUDE:
        gain += " over the warm start"  # what the base model passes was not looked at
    return [*rates, _rate(content["after"]), gain, p, f"{content['seconds']['total'] / 60:.1f}"]


def table() -> None:
    """Rewrite all tables."""
    readme, results, climb = ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "climb.md"
    tables = (
        (readme, SHORT, short_rows()),
        (readme, OTHERS, other_rows()),
        (results, OWN, own_rows(METHODS)),
        (results, BARE, base_rows()),
        (results, TASKS, task_rows()),
        (climb, GPU, own_rows(WITH_GPU)),
    )
    for page, marks, lines in tables:
        fill(page, marks, "\n".join(lines))


def task_rows() -> list[str]:
    """Return the lines of the table of our own tasks."""
    lines = ["| task | an instruction | numbers an action | oracle, held 1 and 4 steps | its decisions | random | steps/s with frames |"]
    lines.append("|---|---|---|---|---|---|---|")
    for task, found in json.loads((RESULTS / "tasks.json").read_text())["tasks"].items():
        oracle = f"{100 * found['oracle_every_step']:.1f}, {100 * found['oracle']:.1f} %"
        cells = (task, found["instruction"], found["actions"], oracle, f"{found['decisions']:.1f}", f"{100 * found['random']:.1f} %")
        lines.append(f"| {' | '.join(map(str, cells))} | {found['steps_per_second']:.0f} |")
    return lines


if __name__ == "__main__":
    if sys.argv[1:2] == ["add"] and len(sys.argv) in (3, 4) and set(sys.argv[3:]) <= KINDS.keys():
        print(add(Path(sys.argv[2]), *sys.argv[3:]))
    elif sys.argv[1:2] == ["film"] and len(sys.argv) in (3, 4):
        print(film(Path(sys.argv[2]), *sys.argv[3:]))
    elif sys.argv[1:] == ["table"]:
        table()
    else:
        sys.exit(__doc__)
