"""Results as JSON, and the tables of README.md, docs/results.md and docs/climb.md rebuilt from these alone.

python benchmarks/results.py add runs/reach-0     # copy a finished run's summary to docs/results/
python benchmarks/results.py add runs/demo demo   # the same, as that of `make demo`
python benchmarks/results.py film runs/reach-0    # two of its before/after films as strips: docs/film.png, or a name of your own
python benchmarks/results.py add runs/reach-0 gpu # the same, as that of one core and a GPU: it stands in docs/climb.md
python benchmarks/results.py add runs/lift critic # the same, as that of a run in which no reward and no success was learnt from (`--label.by critic`)
python benchmarks/results.py add runs/bare base   # the exam of the base model as it is (`--cycles 0 --demonstrate.episodes 0`)
python benchmarks/results.py table                # rewrite the tables, between their markers
"""

import functools
import json
import re
import sys
from collections import defaultdict
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
    file.write_text(json.dumps({"method": method, **summary, "machine": machine(), "config": config}, indent=1) + "\n")
    return file


def film(run: Path, name: str = "film") -> Path:
    """Write up to two of a run's before/after films as strips to docs/NAME.png, one below the other; above before, below after."""
    import av
    from PIL import Image

    from agent.film import strip

    rows = []
    for file in sorted((run / "films").glob("contrast-*.mp4")):
        with av.open(str(file)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        width = frames[0].shape[1] // 2
        rows += [strip([frame[:, :width] for frame in frames[:-20]]), strip([frame[:, width:] for frame in frames[:-20]])]
    picture = Image.fromarray(np.concatenate(rows[:4]))
    picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).quantize(128).save(ROOT / "docs" / f"{name}.png")
    return ROOT / "docs" / f"{name}.png"


def _results(own: bool, methods: dict[str, str]) -> list[dict[str, Any]]:
    """Return the results of runs in our own tasks, or in environments of others."""
    found = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))]
    return [content for content in found if content.get("method") in methods and content["task"].startswith("etude/") == own]


def own_rows(methods: dict[str, str]) -> list[str]:
    """Return the lines of the table of our own tasks: one a task and method, mean over run seeds, each exam with n and interval."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for content in _results(own=True, methods=methods):
        groups[content["task"], content["method"]].append(content)
    order = sorted(groups, key=lambda key: (key[0], list(methods).index(key[1])))
    lines = ["| task | method | seed | demonstrations | before | after | gain, points | p | minutes |", "|---|---|---|---|---|---|---|---|---|"]
    for key in order:
        for content in sorted(groups[key], key=lambda c: c["seed"]):
            lines.append(_row((key[0] + _mark(content), key[1]), content))
            for task, part in content.get("tasks", {}).items():
                part = {**part, "seed": content["seed"], "gain_low": part["low"], "gain_high": part["high"], "seconds": content["seconds"]}
                part["config"] = content["config"]
                lines.append(_row((f"of which {task}", key[1]), part))
        if len(groups[key]) > 1:
            lines.append(f"| {key[0]} | {methods[key[1]]} | **mean** | | | {_mean(groups[key])} | | |")
    return lines


def short_rows() -> list[str]:
    """Return the lines of the README's table: the runs of etude on one own task each, and the mean over a task's run seeds."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for content in _results(own=True, methods={"etude": ""}):
        if "tasks" not in content:
            groups[content["task"] + _mark(content)].append(content)
    lines = ["| task | seed | before | after | gain, points | minutes |", "|---|---|---|---|---|---|"]
    for task, found in sorted(groups.items()):
        for content in sorted(found, key=lambda c: c["seed"]):
            before, after, gain, _, minutes = _cells(content)
            lines.append(f"| {task} | {content['seed']} | {before} | {after} | {gain} | {_cores(content)} x {minutes} |")
        if len(found) > 1:
            lines.append(f"| {task} | **mean** | | {_mean(found)} | |")
    return lines


def other_rows() -> list[str]:
    """Return the lines of the table of environments of others: one a run, and the mean gain."""
    lines = [
        "| environment | demonstrations | n | before | after | gain, points | p | cycles, promoted | minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for content in (found := _results(own=False, methods=METHODS)):
        *exam, minutes = _cells(content)
        shown, cycles = content["config"]["demonstrate"]["episodes"], f"{content['cycles']}, {content['promoted']}"
        lines.append(f"| {' | '.join([content['task'] + _mark(content), str(shown), str(content['after']['n']), *exam, cycles, minutes])} |")
    gain = np.mean([100 * content["gain"] for content in found])
    return [*lines, f"| **mean of {len(found)}** | | | | | **{gain:+.1f}** | | | |"]


def base_rows() -> list[str]:
    """Return the lines of the table of what the base model passes without a demonstration, beside the run that begins from some."""
    runs = {(c["task"], c["seed"]): c for c in _results(own=True, methods={"etude": ""})}
    lines = ["| task | numbers, scale | the base model as it is | numbers, scale of its run | demonstrations | warm start | in the end |"]
    lines.append("|---|---|---|---|---|---|---|")
    for content in _results(own=True, methods=BASE):
        run = runs[content["task"], content["seed"]]
        before, after, *_ = _cells(run)
        policy = [each["config"]["policy"] for each in (content, run)]
        units = [f"{each['num_bins']}, {each.get('scale', 1):g}" for each in policy]  # runs of before `scale` have none
        shown = str(run["config"]["demonstrate"]["episodes"])
        lines.append(f"| {' | '.join([content['task'], units[0], _cells(content)[1], units[1], shown, before, after])} |")
    return lines


@functools.cache
def _shipped() -> str:
    return policies.load(policies.PolicyConfig(), -np.ones(3), np.ones(3)).base_name


def _mark(content: dict[str, Any]) -> str:
    return FORMER if content["method"] != "ppo_pixels" and content.get("base") != _shipped() else ""


def _row(key: tuple[str, str], content: dict[str, Any]) -> str:
    config, (*exam, minutes) = content.get("config"), _cells(content)
    shown, cores = (str(config["demonstrate"]["episodes"]), f"{_cores(content)} x ") if config else ("", "")
    return f"| {' | '.join([key[0], (METHODS | WITH_GPU)[key[1]], str(content['seed']), shown, *exam, cores + minutes])} |"


def _mean(found: list[dict[str, Any]]) -> str:
    """Return two cells: mean success after practice, and mean gain."""
    gains = [100 * (c["after"]["rate"] - c["before"]["rate"]) for c in found]
    return f"**{np.mean([100 * c['after']['rate'] for c in found]):.1f} %** | **{np.mean(gains):+.1f}**"


def _cores(content: dict[str, Any]) -> int:
    return max(content["config"]["threads"], content["config"].get("processes", 1))


def _cells(content: dict[str, Any]) -> list[str]:
    """Return before, after, gain, p and minutes."""
    before, after = (f"{100 * c['rate']:.1f} % [{100 * c['low']:.1f}, {100 * c['high']:.1f}]" for c in (content["before"], content["after"]))
    gain = f"{100 * content.get('gain', content['after']['rate'] - content['before']['rate']):+.1f}"  # as the run itself rounds it
    if "gain_low" in content:
        gain += f" [{100 * content['gain_low']:+.1f}, {100 * content['gain_high']:+.1f}]"
    p = f"{content['p_value']:.1g}" if "p_value" in content else ""
    return [before, after, gain, p, f"{content['seconds']['total'] / 60:.1f}"]


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
