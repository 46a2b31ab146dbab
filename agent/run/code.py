"""Copies of the user's files, in the folder of a run: those that the config names as `file.py:name`, but for experts.

A run goes on with the same files alone. With copies of its environments and its policy class it can be used where the working folder, or the
machine, is another one. Other files that these read or import are not copied.
"""

import hashlib
import importlib.metadata
import sys
from pathlib import Path

from agent.config.config import Config
from agent.run.files import write


def keep_code(folder: Path, config: Config) -> None:
    """Copy the files into the folder `code` of a run that begins, and those that practice alone needs: of its rule, loss and detector.

    Raises:
        ValueError: a file is another one than when the run began, so what follows could not be compared with what was before.
    """
    learning = (config.curate.rule, config.tune.loss, config.label.detector)
    files = [file for file in (*_files(config), *map(_file, learning)) if file.is_file()]
    for file in files:  # all are compared before any is copied
        if (copy := _copy(folder, file)).is_file() and not _same(file, copy):
            raise ValueError(
                f"{file} has changed since the run in {folder} began; put it back, or name a new folder. If episodes stay the same, delete {copy}."
            )
    for file in files:
        if not (copy := _copy(folder, file)).is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write(copy, lambda partial, file=file: partial.write_bytes(file.read_bytes()))


def with_own_code(folder: Path, config: Config) -> Config:
    """Return the config of a run with its copies, where a file is not there any more or has changed; a line on stderr tells of a changed one."""
    for file in _files(config):
        if file.is_file() and (copy := _copy(folder, file)).is_file() and not _same(file, copy):
            print(f"etude: {file} is not as the run in {folder} knows it; the run's copy {copy} is used.", file=sys.stderr)

    def own(name: str) -> str:
        file, copy = _file(name), _copy(folder, _file(name))
        # The user's own file while it has not changed: beside it lie the modules that it imports.
        return name if not copy.is_file() or _same(file, copy) else f"{copy}:{name.rpartition(':')[2]}"

    # The title stays as it was: seeds and outcomes are kept by it.
    envs = tuple(env.model_copy(update={"id": own(env.id), "name": env.title}) if own(env.id) != env.id else env for env in config.envs)
    policy = config.policy.model_copy(update={"model": own(config.policy.model)})
    # One environment is no list, as in the user's config.
    return config.model_copy(update={"env": envs if isinstance(config.env, tuple) else envs[0], "policy": policy})


def digest_of(config: Config) -> str:
    """Return a digest of etude's version and of the files that a config names, those of experts among them."""
    experts = [_file(name) for name in (config.demonstrate.expert, *(env.expert for env in config.envs))]
    files = [file.read_bytes() for file in (*_files(config), *experts) if file.is_file()]
    return hashlib.sha256(b"\0".join([importlib.metadata.version("etude").encode(), *files])).hexdigest()


def _files(config: Config) -> list[Path]:
    """Return the files that a config names, each once."""
    return list(dict.fromkeys(map(_file, (*(env.id for env in config.envs), config.policy.model))))


def _file(name: str) -> Path:
    """Return the .py file in a name such as `file.py:Class`; a path that is no file for other names."""
    place = name.rpartition(":")[0]
    return Path(place) if place.endswith(".py") else Path("?")  # no file has this name, so nothing is copied


def _copy(folder: Path, file: Path) -> Path:
    """Return the place of a file's copy: its own relative path, or one with a digest where it lies outside the working folder."""
    outside = file.is_absolute() or ".." in file.parts
    # The digest keeps files of one name from two folders apart.
    return folder / "code" / (Path(hashlib.sha256(str(file.parent).encode()).hexdigest()[:8], file.name) if outside else file)


def _same(file: Path, copy: Path) -> bool:
    """Return whether both are there with the same lines; line ends may differ, as git changes them from machine to machine."""
    return file.is_file() and copy.is_file() and file.read_bytes().splitlines() == copy.read_bytes().splitlines()
