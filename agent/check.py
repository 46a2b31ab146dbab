"""Terminal output of `etude check` (a run and its environments, with contact sheets), `etude check-model` and `etude tasks` (our own tasks)."""

import re
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from PIL import Image
from rich import markup
from rich.console import Console
from rich.table import Table

import policies
from agent.config.config import Config
from agent.config.idle import idle
from agent.demonstrate.bounds import settled as settled_bounds
from agent.ground.known import in_a_sentence, settled_weights
from agent.rollout.experts import resolve
from agent.rollout.session import Session
from agent.run.files import write
from agent.run.folder import Run
from envs import TASKS, EnvConfig
from envs.diagnosis import Finding
from envs.host import examine_in_process
from policies import PolicyConfig
from policies.codec import DIGITS
from policies.nano.words import unknown

NUMBERS = 7  # numbers of an action with which a model is checked, as of an arm: six of the hand, and the fingers
LIMIT = 120.0  # seconds for a reset or a decision, without `env.timeout`; beyond that the environment counts as hanging


def check(config: Config, whole: bool, out: Path = Path(), thorough: bool = False) -> bool:
    """Print what would go wrong in a run, as it is found, and return whether the run can start.

    Args:
        config: of the run.
        whole: check all that `etude improve` checks before it begins, not the environments alone. This loads the model.
        out: folder of the contact sheets `check-TITLE.png`. Their rows are the cameras of random episodes, their columns time steps.
        thorough: take as long as it takes, and try look-ahead episodes too. Otherwise an environment takes at most 30 s on an idle core.
    """
    console = Console(highlight=False, emoji=False)
    config = settled_bounds(config, limit=LIMIT)
    faults = [fault for env in config.envs for fault in _environment(env, config, out, console, thorough)]
    for said in idle(config) if whole else ():
        console.print(f"[yellow]note[/]   {markup.escape(said)}", soft_wrap=True)
    if whole and not faults:  # an environment with a fault might hang or crash in this process
        with console.status("all that a run needs"):
            faults = list(_refused(config, console))
        _print(faults, console)
    console.print("[red]Correct this before you start a run.[/]" if faults else "[green]Ready.[/]")
    return not faults


def _environment(config: EnvConfig, run: Config, out: Path, console: Console, thorough: bool) -> list[str]:
    """Print the findings about an environment of a run, write its contact sheet, and return its faults."""
    expert, bins = config.expert or run.demonstrate.expert, 10**DIGITS if run.policy.codec == "digits" else run.policy.num_bins

    def tell(finding: Finding) -> None:
        if finding.kind == "line":
            console.print(f"{finding.topic:<16} {markup.escape(finding.content)}", soft_wrap=True)
        elif finding.kind == "sheet":
            console.print(f"contact sheet    {markup.escape(str(_written(finding.content, out, config.title)))}", soft_wrap=True)
        elif finding.kind == "instructions":
            if run.policy.model == "nano" and (strange := unknown(" ".join(finding.content))):
                say = f"The embedded model does not know {_listed(strange)}, and spells such words"
                console.print(f"[yellow]note[/]   {say}; use words of its own tasks (etude tasks), or another model.", soft_wrap=True)
        else:
            head = "[red]fault[/]  " if finding.kind == "fault" else "[yellow]note[/]   "
            console.print(head + markup.escape(finding.content), soft_wrap=True)

    console.print(f"[italic]{markup.escape(config.title)}[/]")
    with console.status("") as status:
        # Resolved in the process that is examined: an expert of the user's may hang or crash like the environment.
        script = partial(resolve, expert, config) if expert else None
        say = lambda stage: status.update(markup.escape(f"{config.title}: {stage}"))  # noqa: E731
        return examine_in_process(config, config.timeout or LIMIT, say, script, not thorough, bins, tell, run.collect.num_envs == 1).faults


def _written(sheet: np.ndarray, out: Path, title: str) -> Path:
    """Write a contact sheet, and return its file."""
    file = out / f"check-{re.sub(r'[^A-Za-z0-9]+', '-', title).strip('-')}.png"
    picture = Image.fromarray(sheet)
    scale = max(1, 768 // picture.width)  # by a whole number, so that each pixel of a frame stays a sharp square
    enlarged = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    write(file, lambda partial: enlarged.save(partial, format="PNG"))
    return file


def _print(faults: list[str], console: Console) -> None:
    for fault in faults:
        console.print(f"[red]fault[/]  {markup.escape(fault)}")


def _refused(config: Config, console: Console) -> Iterator[str]:
    """Print what the model has never seen; yield the sentence with which `etude improve` would refuse a config, if it would; write nothing."""
    from agent.ready import ready  # here, since `etude tasks` needs none of it

    with tempfile.TemporaryDirectory() as folder:
        session = Session(Run(Path(folder) / "run", settled_weights(config)))  # a new run, which never begins
        try:
            if said := in_a_sentence(session.config, session.environments.firsts):
                console.print(f"[yellow]note[/]   {markup.escape(said)}", soft_wrap=True)
            ready(session)
        except ValueError as error:
            yield str(error)
        finally:
            session.close()


def _listed(words: list[str]) -> str:
    """Return how many words these are, and the first five."""
    return f"{len(words)} {'word' if len(words) == 1 else 'words'} of the instructions ({', '.join(words[:5])}{', ...' if len(words) > 5 else ''})"


def check_model(config: PolicyConfig, frames: tuple[int, ...], micro_batch_tokens: int) -> bool:
    """Print the findings about a model, and return whether a run can start with it.

    Args:
        config: section `policy`.
        frames: shape of what it sees, (F, h, w, 3).
        micro_batch_tokens: most tokens of a forward pass in training.

    Raises:
        ValueError: the model cannot be loaded.
    """
    if ":" in config.model:
        raise ValueError(f"{config.model} is a policy class of your own, and no model; check a config that names it: etude check --config FILE")
    console = Console(highlight=False, emoji=False)
    with console.status(f"{config.model}: loading"):
        from policies.check import examine  # imports torch

        policy = policies.load(config, -np.ones(NUMBERS), np.ones(NUMBERS))
        findings = examine(policy, frames, micro_batch_tokens)
    table = Table(title=config.model, show_header=False, title_justify="left")
    for name, line in findings.lines.items():
        table.add_row(name, line)
    console.print(table)
    _print(findings.faults, console)
    console.print("[red]A run would not start with this model.[/]" if findings.faults else "[green]Ready.[/]")
    return not findings.faults


def tasks() -> None:
    """Print a table of our own tasks."""
    table = Table("id", "task", "example of an instruction", "episode steps")
    for name in TASKS:
        env: Any = gymnasium.make(name, cameras=())  # without cameras: quick, and no renderer is needed
        _, info = env.reset(seed=0)  # instructions name the objects of a scene, so they depend on the seed
        table.add_row(name, (type(env.unwrapped).__doc__ or "-").splitlines()[0], info["instruction"], str(env.spec.max_episode_steps))
        env.close()
    Console(emoji=False).print(table)
