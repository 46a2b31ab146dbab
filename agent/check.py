"""Terminal output of `etude check` (findings about an environment, and a contact sheet of its frames) and of `etude tasks` (our own tasks)."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
from PIL import Image
from rich.console import Console
from rich.table import Table

from agent.rollout.experts import resolve
from agent.run.files import write
from envs import TASKS, EnvConfig
from envs.host import examine_in_process

LIMIT = 120.0  # seconds for each stage of the examination; beyond that the environment counts as hanging


def check(config: EnvConfig, out: Path = Path(), expert: str = "") -> bool:
    """Print the findings about an environment, write the contact sheet `check-TITLE.png`, and return whether a run can start.

    Args:
        config: of the environment.
        out: folder of the contact sheet. Its rows are the cameras of random episodes, its columns time steps.
        expert: as in `demonstrate.expert`; empty: the environment's own oracle, if it has one.
    """
    console = Console(highlight=False)
    with console.status("") as status:
        # Resolved in the process that is examined: an expert of the user's may hang or crash like the environment.
        script = partial(resolve, expert, config) if expert else None
        diagnosis = examine_in_process(config, LIMIT, lambda stage: status.update(f"{config.title}: {stage}"), script)
    table = Table(title=config.title, show_header=False, title_justify="left")
    for name, line in diagnosis.lines.items():
        table.add_row(name, line)
    if diagnosis.lines:  # empty if the environment could not even be made
        console.print(table)
    if diagnosis.sheet is not None:
        file = out / f"check-{re.sub(r'[^A-Za-z0-9]+', '-', config.title).strip('-')}.png"
        picture = Image.fromarray(diagnosis.sheet)
        scale = max(1, 768 // picture.width)  # by a whole number, so that each pixel of a frame stays a sharp square
        sheet = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
        write(file, lambda partial: sheet.save(partial, format="PNG"))
        console.print(f"contact sheet: {file}")
    for warning in diagnosis.warnings:
        console.print(f"[yellow]note[/]   {warning}")
    for fault in diagnosis.faults:
        console.print(f"[red]fault[/]  {fault}")
    console.print("[red]Correct this before you start a run.[/]" if diagnosis.faults else "[green]Ready.[/]")
    return not diagnosis.faults


def tasks() -> None:
    """Print a table of our own tasks."""
    table = Table("id", "task", "example of an instruction", "episode steps")
    for name in TASKS:
        env: Any = gymnasium.make(name, cameras=())  # without cameras: quick, and no renderer is needed
        _, info = env.reset(seed=0)  # instructions name the objects of a scene, so they depend on the seed
        table.add_row(name, (type(env.unwrapped).__doc__ or "-").splitlines()[0], info["instruction"], str(env.spec.max_episode_steps))
        env.close()
    Console().print(table)
