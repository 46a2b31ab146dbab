"""What `etude improve` is asked for: a config, and the folder of its run."""

import datetime
import os
import re
import reprlib
import secrets
from pathlib import Path
from typing import Any

import agent.config.read as configure
from agent.config.config import Config
from agent.run.folder import Run
from agent.run.further import with_further_cycles
from agent.run.variables import run_id

FORMS = "CONFIG and RUN, as in: etude improve configs/slide.yaml runs/slide; or the RUN alone, to go on with it: etude improve runs/slide"


def asked(arguments: list[str]) -> tuple[Path, Config]:
    """Return the folder of the run and its config.

    Args:
        arguments: `CONFIG RUN [overrides]`, or `RUN [overrides]` to go on with a run. A RUN of `auto` names a folder of its own under `runs/`. Of the
            overrides `--cycles +N` adds cycles to a finished run.

    Raises:
        ValueError: something is missing or wrong; one sentence.
    """
    more, rest = _further(arguments)
    paths = [argument for argument in rest[:2] if not argument.startswith("-")]
    alone = len(paths) == 1 and os.path.exists(Path(paths[0]) / "config.yaml")  # False also where a path is too long
    if not alone and len(paths) < 2:
        raise ValueError(f"etude improve needs {FORMS}")
    named(paths[-1])
    file = Path(paths[0]) / "config.yaml" if alone else Path(paths[0])
    config = configure.override(configure.read_own(file) if alone else configure.read(file), rest[len(paths) :])
    folder = automatic(config) if paths[-1] == "auto" else Path(paths[-1])
    if more and not (folder / "config.yaml").exists():
        raise ValueError(f"--cycles +{more} adds cycles to a finished run, and {folder} holds none; write --cycles {more}.")
    if more:
        config = _as_it_went_on(config, configure.read_own(folder / "config.yaml"))
    return folder, with_further_cycles(Run(folder, config), more) if more else config  # `Run` refuses a config that is not the folder's


def named(run: Any) -> Path:
    """Return the path of a run's folder, as a user has named it.

    Raises:
        ValueError: it is empty, or no path.
    """
    if not isinstance(run, str | Path):
        raise ValueError(f"RUN is {reprlib.repr(run)}; name the folder of the run by a text or a Path, such as 'runs/slide'.")
    if not str(run):
        raise ValueError("RUN is empty; name the folder of the run, as in: etude improve configs/slide.yaml runs/slide")
    return Path(run)


def _as_it_went_on(config: Config, own: Config) -> Config:
    """Return a run's config with what the run itself has settled: further cycles, bounds from its demonstrations, and what trains."""
    settled = [
        env.model_copy(update={"action_bounds": known.action_bounds}) if env.action_bounds == "quantiles" else env
        for env, known in zip(config.envs, own.envs, strict=False)
    ]
    env = settled[0] if len(config.envs) == 1 else (*settled, *config.envs[len(settled) :])
    train = own.policy.train if config.policy.train == "auto" else config.policy.train
    policy = config.policy.model_copy(update={"train": train})
    return config.model_copy(update={"cycles": own.cycles, "max_minutes": own.max_minutes, "env": env, "policy": policy})


def automatic(config: Config) -> Path:
    """Return a folder of its own under `runs/` for a run: task, date and W&B id; for the id of an earlier run, such as a sweep's, its folder."""
    name = os.environ["WANDB_RUN_ID"] = run_id() or secrets.token_hex(4)  # the W&B run, which begins later, has the same one
    if earlier := sorted(Path("runs").glob(f"*-{8 * '[0-9]'}-{6 * '[0-9]'}-{name}")):  # date and time, for an id may end as another one does
        return earlier[0]
    task = re.sub(r"[^a-z0-9]+", "-", config.task.removeprefix("etude/").lower()).strip("-")[:60]  # 60: many file systems allow 255 bytes in a name
    return Path("runs") / f"{task}-{datetime.datetime.now():%Y%m%d-%H%M%S}-{name}"


def _further(arguments: list[str]) -> tuple[int, list[str]]:
    """Return N of `--cycles +N`, 0 without it, and the other arguments; YAML would read +N as N."""
    for at, each in enumerate(arguments):
        for found in (re.fullmatch(r"--cycles=\+(\d+)", each), re.fullmatch(r"--cycles \+(\d+)", " ".join(arguments[at : at + 2]))):
            if found and not int(found[1]):
                raise ValueError("--cycles +0 adds no cycle; write --cycles +1 or more.")
            if found:
                return int(found[1]), arguments[:at] + arguments[at + (1 if "=" in each else 2) :]  # with a space it is two arguments
    return 0, arguments
