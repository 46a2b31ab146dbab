"""JSON files of finished runs, and the tables of README.md, docs/results.md and docs/history-ablations.md, which are made from these files alone.

python benchmarks/results.py add runs/reach-0        # copies a finished run's summary to docs/results/
python benchmarks/results.py add runs/demo demo      # the same for a run by `make demo`
python benchmarks/results.py add runs/lift detector  # the same for a run with the detector's labels alone (`--label.by detector`)
python benchmarks/results.py add runs/reach-0 gpu    # the same for a run with one core and a GPU, whose row is in docs/history-ablations.md
python benchmarks/results.py add runs/bare base      # the base model's evaluation (a run with `--cycles 0 --demonstrate.episodes 0`)
python benchmarks/results.py video runs/reach-0      # writes two before/after videos as strips of frames: docs/before-after.png, or another name
python benchmarks/results.py table                   # rewrites the tables, between their markers
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
    "detector": "etude, labels of the detector alone",
    "smol": "etude, the first layers of SmolLM2-135M",
    "demonstrations_only": "demonstrations only, same time",
    "ppo_pixels": "SB3 PPO from pixels, same time",
}
WITH_GPU = {"gpu": "etude, one core and a GPU"}
BASE = {"base": "base model"}
ETUDE = ("etude", "demo", "detector", "smol", "gpu")  # methods that begin from base model and warm start
PASSED = 0.9  # success of the base model from which on a task leaves nothing to learn, and is not in the mean
SEEDS = 400  # test seeds of a row that does not say otherwise
OLDER = "former code"  # with another credit of first decisions, and without an evaluation of the base model in the run itself
ALL_METHODS = METHODS | WITH_GPU | BASE
FORMER = " †"  # marks a row whose base model had other weights than the one that is shipped now


def add(run: Path, method: str = "etude") -> Path:
    """Write summary, config and machine of a finished run to docs/results/, as a row of a method in `ALL_METHODS`; return the file."""
    import yaml

    summary = json.loads((run / "summary.json").read_text())
    config = yaml.safe_load((run / "config.yaml").read_text())
    ids = {each["id"].partition(":")[0] for each in (config["env"] if isinstance(config["env"], list) else [config["env"]]) if ":" in each["id"]}
    titles = [re.sub(r"-v\d+$", "", title.split(":")[-1].removeprefix("etude/")) for title in summary["task"].split(" + ")]
    name = re.sub(r"[^a-z0-9]+", "-", "-".join([*sorted(ids), *titles]).lower())
    file = RESULTS / f"{method}-{name}-{summary['seed']}.json"
    file.write_text(json.dumps({"method": method, "run_of": _day(run), **summary, "machine": machine(), "config": config}, indent=1) + "\n")
    return file


def _day(run: Path) -> str:
    """Return the day on which a run ended."""
    return datetime.date.fromtimestamp((run / "summary.json").stat().st_mtime).isoformat()


def video_strips(run: Path, name: str = "before-after") -> Path:
    """Write up to two of a run's before/after videos to docs/NAME.png: two rows of frames each, before above after.

    Args:
        run: folder of a run with videos.
        name: of the picture.

    Returns:
        The picture's file.
    """
    import av
    from PIL import Image

    from agent.report.videos import strip
    from agent.run.layout import evaluation_video, summary

    rows = []
    shown = evaluation_video(run, "before-after", summary(run)["policy"], "*")
    for file in sorted(shown.parent.glob(shown.name)):
        with av.open(str(file)) as container:
            frames, rate = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], container.streams.video[0].average_rate or 20
        width = frames[0].shape[1] // 2
        moving = frames[: -math.ceil(rate)]  # the video holds its last frame for a second
        rows += [strip([frame[:, :width] for frame in moving]), strip([frame[:, width:] for frame in moving])]
    if not rows:
        sys.exit(f"{run / 'videos'} has no before/after video: no test seed is passed at the end alone, or track.videos is off. Name another run.")
    picture = Image.fromarray(np.concatenate(rows[:4]))
    picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).quantize(128).save(ROOT / "docs" / f"{name}.png")
    return ROOT / "docs" / f"{name}.png"


def _results(own: bool, methods: dict[str, str]) -> list[dict[str, Any]]:
    """Return the results of these methods on etude's own tasks (`own`), or in environments of other packages."""
    contents = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))]
    return [content for content in contents if content.get("method") in methods and content["task"].startswith("etude/") == own]


def _own(methods: dict[str, str]) -> list[dict[str, Any]]:
    """Return the results on etude's own tasks, sorted by task, method and run seed."""
    return sorted(_results(own=True, methods=methods), key=lambda c: (c["task"], list(methods).index(c["method"]), c["seed"]))


def own_rows(methods: dict[str, str]) -> list[str]:
    """Return the table of runs on etude's own tasks: a row for each run, and the mean over the run seeds of a task and method."""
    lines = ["| task | method | seed | demonstrations | base model | warm start | after | gain over the better, points | p | minutes | run of |"]
    lines.append("|---" * 11 + "|")
    for key, group in itertools.groupby(_own(methods), key=lambda c: (c["task"], c["method"])):
        runs = list(group)
        for content in runs:
            lines.append(_row((key[0] + _mark(content), key[1]), content))
            for task, part in content.get("tasks", {}).items():
                ends = {f"gain_{end}": part[f"gain_{end}"] if f"gain_{end}" in part else part[end] for end in ("low", "high")}
                more = {name: content[name] for name in ("seed", "seconds", "config", "run_of") if name in content}
                lines.append(_row((f"of which {task}", key[1]), {**part, **ends, **more, "task": task, "method": content["method"]}))
        if len(runs) > 1:
            lines.append(f"| {key[0]} | {(METHODS | WITH_GPU)[key[1]]} | **mean** | | | | {_mean(runs)} | | | |")
    return lines


def short_rows() -> list[str]:
    """Return the README's table: one run of etude for each task, and the mean gain on tasks that the base model does not pass."""
    runs = {}
    for content in _own({"etude": ""}):
        if "tasks" not in content:
            runs.setdefault(content["task"], content)  # that of the lowest run seed
    lines = ["| task | random actions | base model | warm start | after | gain over the better, points | minutes | run of |", "|---" * 8 + "|"]
    passed = [task for task in runs if _before(runs[task])["base"]["rate"] >= PASSED]
    order = [*(task for task in runs if task not in passed), *passed]
    for task in order:
        base, warm, after, gain, _, minutes = _cells(runs[task])
        if task == next(iter(passed), None):
            gains = [_gain(runs[task]) for task in order if task not in passed]
            lines.append(f"| **mean of these {len(gains)}** | | | | | **{100 * np.mean(gains):+.1f}** | | |")
        lines.append(
            f"| {task} | {_random(runs[task])} | {base} | {warm} | {after} | {gain} | {_cores(runs[task])} x {minutes} | {_run_of(runs[task])} |"
        )
    return lines


def other_rows() -> list[str]:
    """Return the table of environments of other packages: a row for each run, the mean gain of the environments, and a row for each control."""
    heads = ("environment", "demonstrations", "random actions", "base model", "warm start", "after", "gain over the better, points", "p")
    heads = (*heads, "cycles, promoted", "minutes", "run of")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    rows = _results(own=False, methods=METHODS)
    runs = [content for content in rows if content["method"] in ETUDE]
    for content in runs:
        *evaluated, minutes = _cells(content)
        demonstrations, cycles = str(content["config"]["demonstrate"]["episodes"]), f"{content['cycles']}, {content['promoted']}"
        minutes = f"{_cores(content)} x {minutes}"
        cells = [content["task"] + _mark(content), demonstrations, _random(content), *evaluated, cycles, minutes, _run_of(content)]
        lines.append(f"| {' | '.join(cells)} |")
    gains = {each["task"]: [_gain(content) for content in runs if content["task"] == each["task"]] for each in runs}  # of all run seeds
    gain = 100 * np.mean([np.mean(each) for each in gains.values()])
    lines.append(f"| **mean of {len(gains)}** | | | | | | **{gain:+.1f}** | | | | |")
    for content in (content for content in rows if content not in runs):
        *evaluated, minutes = _cells(content)
        lines.append(f"| {content['task']}, {METHODS[content['method']]} | | | {' | '.join(evaluated)} | | {minutes} | {_run_of(content)} |")
    return lines


def base_rows() -> list[str]:
    """Return the table of the base model's success, with actions written as in each task's config."""
    lines = ["| task | bins of an action dimension, scale | base model | decisions to a success |", "|---|---|---|---|"]
    for content in _own(BASE):
        policy, rate = content["config"]["policy"], content["base"] if isinstance(content["base"], dict) else content["before"]
        decisions = rate.get("decisions_to_success")
        cells = (content["task"], f"{policy['num_bins']}, {policy['scale']:g}", _rate(rate), "" if decisions is None else f"{decisions:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


@functools.cache
def _shipped() -> str:
    """Return the fingerprint of the base model in this checkout."""
    return policies.load(policies.PolicyConfig(), -np.ones(3), np.ones(3)).base_name


def _mark(content: dict[str, Any]) -> str:
    """Return what follows the task's name: `FORMER` or nothing."""
    base = content.get("base_weights", content.get("base"))
    return FORMER if content["method"] not in ("ppo_pixels", "smol") and base != _shipped() else ""  # those begin from another model


def _run_of(content: dict[str, Any]) -> str:
    return content.get("run_of", OLDER)


def _row(key: tuple[str, str], content: dict[str, Any]) -> str:
    """Return the row of a run; `key` has what stands in the column of the task, and the method."""
    config, (*evaluated, minutes) = content.get("config"), _cells(content)
    demonstrations, cores = (str(config["demonstrate"]["episodes"]), f"{_cores(content)} x ") if config else ("", "")
    cells = [key[0], (METHODS | WITH_GPU)[key[1]], str(content["seed"]), demonstrations, *evaluated, cores + minutes, _run_of(content)]
    return f"| {' | '.join(cells)} |"


def _mean(runs: list[dict[str, Any]]) -> str:
    """Return two cells: the mean success of the last champions, and their mean gain over the better of base model and warm start."""
    return f"**{np.mean([100 * c['after']['rate'] for c in runs]):.1f} %** | **{100 * np.mean([_gain(c) for c in runs]):+.1f}**"


def _cores(content: dict[str, Any]) -> int:
    return max(content["config"]["threads"], content["config"].get("processes", 1))


def _before(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the success of `base` and `warm_start`. For an older run that of `base` comes from another run, or is missing."""
    if isinstance(content.get("base"), dict):
        return {name: content[name] for name in ("base", "warm_start") if name in content}
    base = [each for each in _results(own=True, methods=BASE) if content.get("method") in ETUDE and _notation(each) == _notation(content)]
    return ({"base": base[0]["before"]} if base else {}) | {"warm_start": content["before"]}


def _notation(content: dict[str, Any]) -> tuple[Any, ...]:
    """Return everything that the base model's success depends on: the task, the prompt and how actions are written.

    The configs of some older runs lack `scale` and `thought`.
    """
    policy = content["config"]["policy"]
    return content["task"], policy["num_bins"], policy.get("scale", 1), policy["prompt"], policy.get("thought", "")


def _gain(content: dict[str, Any]) -> float:
    """Return the last champion's success minus that of the better of base model and warm start, in [-1, 1]."""
    return content["after"]["rate"] - max(each["rate"] for each in _before(content).values())


def _random(content: dict[str, Any]) -> str:
    """Return the success of random actions in a run's environment, by `benchmarks/random_actions.py`."""
    rate = json.loads((RESULTS / "random.json").read_text()).get(content["task"])
    return _rate(rate) if rate else ""


def _rate(content: dict[str, Any]) -> str:
    number = "" if content.get("n", SEEDS) == SEEDS else f", n = {content['n']}"
    return f"{100 * content['rate']:.1f} % [{100 * content['low']:.1f}, {100 * content['high']:.1f}]{number}"


def _cells(content: dict[str, Any]) -> list[str]:
    """Return the cells of base model, warm start, after, gain over the better of the first two, p and minutes."""
    before = _before(content)
    rates = [_rate(before[name]) if name in before else "" for name in ("base", "warm_start")]
    better = max(before, key=lambda name: before[name]["rate"])
    paired = isinstance(content.get("base"), dict) or better == "warm_start"  # an older run has a paired test against its warm start alone
    points = 100 * (content["gain"] if paired and "gain" in content else _gain(content))  # the run's own difference: another may round differently
    gain, p = f"{points:+.1f}", f"{content['p_value']:.1g}" if paired and "p_value" in content else ""
    if paired and "gain_low" in content:
        gain += f" [{100 * content['gain_low']:+.1f}, {100 * content['gain_high']:+.1f}]"
    if "base" not in before and content.get("method") in ETUDE:
        gain += " over the warm start"  # the base model was not evaluated
    return [*rates, _rate(content["after"]), gain, p, f"{content['seconds']['total'] / 60:.1f}"]


def table() -> None:
    """Rewrite all tables in the documents."""
    readme, results, history = ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "history-ablations.md"
    tables = (
        (readme, SHORT, short_rows()),
        (readme, OTHERS, other_rows()),
        (results, OWN, own_rows(METHODS)),
        (results, BARE, base_rows()),
        (results, TASKS, task_rows()),
        (history, GPU, own_rows(WITH_GPU)),
    )
    for page, marks, lines in tables:
        fill(page, marks, "\n".join(lines))


def task_rows() -> list[str]:
    """Return the table of etude's own tasks."""
    heads = ("task", "an instruction", "numbers in an action", "oracle, actions held 1 and 4 steps", "decisions of the oracle", "random actions")
    lines = [f"| {' | '.join(heads)} | steps/s with frames |", "|---" * (len(heads) + 1) + "|"]
    for task, figures in json.loads((RESULTS / "tasks.json").read_text())["tasks"].items():
        oracle = f"{100 * figures['oracle_every_step']:.1f}, {100 * figures['oracle']:.1f} %"
        cells = (task, figures["instruction"], figures["actions"], oracle, f"{figures['decisions']:.1f}", f"{100 * figures['random']:.1f} %")
        lines.append(f"| {' | '.join(map(str, cells))} | {figures['steps_per_second']:.0f} |")
    return lines


if __name__ == "__main__":
    if sys.argv[1:2] == ["add"] and len(sys.argv) in (3, 4) and set(sys.argv[3:]) <= ALL_METHODS.keys():
        print(add(Path(sys.argv[2]), *sys.argv[3:]))
    elif sys.argv[1:2] == ["video"] and len(sys.argv) in (3, 4):
        print(video_strips(Path(sys.argv[2]), *sys.argv[3:]))
    elif sys.argv[1:] == ["table"]:
        table()
    else:
        sys.exit(__doc__)
