"""How often the experts of configs/envs succeed: 50 episodes each, without frames, on seeds that no run uses.

    python benchmarks/experts.py run configs/envs/robosuite-lift.yaml configs/envs/robosuite-stack.yaml    # docs/results/experts.json
    python benchmarks/experts.py table                                                                     # the table in docs/environments.md

A config that names the folder of an expert by `etude expert` needs that folder.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path

import tyro
from rollout import RESULTS, fill, machine

from agent.config.read import read
from agent.records import Rate
from agent.rollout.experts import examine, resolve
from agent.run.files import read_object, write_text

OUT, PAGE = RESULTS / "experts.json", RESULTS.parent / "environments.md"
MARKS = "<!-- experts: begin (python benchmarks/experts.py table) -->", "<!-- experts: end -->"


def run(files: tyro.conf.Positional[tuple[Path, ...]], episodes: int = 50) -> None:
    """Play the expert of each config, and write its row; an earlier row of that config is replaced."""
    for file in files:
        config = read(file)
        env = config.envs[0]
        name, began = env.expert or config.demonstrate.expert, time.time()
        rate = examine(env, resolve(name, env), episodes)
        facts = read_object(Path(name) / "expert.json") if (Path(name) / "expert.json").exists() else {}
        row = {"task": env.title, "expert": name, "facts": facts, "success": asdict(rate), "seconds": round(time.time() - began, 1)}
        content = json.loads(OUT.read_text()) if OUT.exists() else {}
        write_text(OUT, json.dumps({**content, file.stem: {**row, "machine": machine()}}, indent=1) + "\n")
        print(f"{file.stem}: {rate}, {row['seconds']} s", flush=True)


def table() -> None:
    """Rewrite the table in docs/environments.md."""
    lines = ["| config | expert | success | seconds an episode |", "|---|---|---|---|"]
    for name, row in sorted(json.loads(OUT.read_text()).items()):
        rate, facts = Rate(**row["success"]), row["facts"]
        by = f"`{row['expert']}`"
        if facts.get("algorithm") == "lookahead":
            by = f"planner of `etude expert`, horizon {facts['horizon']}, {facts['candidates']} candidates"
        elif facts:
            by = f"{facts['algorithm'].upper()} of `etude expert`"
        lines.append(f"| [{name}](../configs/envs/{name}.yaml) | {by} | {rate} | {row['seconds'] / rate.n:.1f} |")
    fill(PAGE, MARKS, "\n".join(lines))


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "table": table})
