"""Environments in a terminal: `etude check`, the doctor's findings and a contact sheet of what the policy would see; `etude tasks`, our own."""

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
from envs.host import examine_apart

LIMIT = 120.0  # seconds after which an examination that does not go on is called hanging


def check(config: EnvConfig, out: Path = Path(), expert: str = "") -> bool:
    """Print what is right and wrong with an environment, write `check-ID.png` to `out`, and return whether a run can start.

    Args:
        config: the environment.
        out: folder of the contact sheet: rows are random episodes and cameras, columns moments.
        expert: who demonstrates, as in `demonstrate.expert`; empty: the environment's oracle, where it has one.
    """
    console = Console(highlight=False)
    with console.status("") as status:
        script = partial(resolve, expert, config) if expert else None
        found = examine_apart(config, LIMIT, lambda stage: status.update(f"{config.title}: {stage}"), script)
    table = Table(title=config.title, show_header=False, title_justify="left")
    for name, line in found.lines.items():
        table.add_row(name, line)
    if found.lines:
        console.print(table)
    if found.sheet is not None:
        file = out / f"check-{re.sub(r'[^A-Za-z0-9]+', '-', config.title).strip('-')}.png"
        picture = Image.fromarray(found.sheet)
        scale = max(1, 768 // picture.width)
        sheet = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
        write(file, lambda partial: sheet.save(partial, format="PNG"))
        console.print(f"what the policy sees: {file}")
    for warning in found.warnings:
        console.print(f"[yellow]note[/]   {warning}")
    for fault in found.faults:
        console.print(f"[red]fault[/]  {fault}")
    console.print("[red]A run should not start before this is mended.[/]" if found.faults else "[green]Ready.[/]")
    return not found.faults


def tasks() -> None:
    """Show our own environments."""
    table = Table("id", "what it is", "an instruction", "horizon")
    for name in TASKS:
        env: Any = gymnasium.make(name, cameras=())
        _, info = env.reset(seed=0)
        table.add_row(name, (type(env.unwrapped).__doc__ or "-").splitlines()[0], info["instruction"], str(env.spec.max_episode_steps))
        env.close()
    Console().print(table)
