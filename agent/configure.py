"""A YAML file, then overrides from the command line -> Config; errors are one sentence each."""

import difflib
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from agent.config import ONE, SEVERAL, Config
from agent.settings import Phase
from envs import EnvConfig


def read(file: Path) -> Config:
    """Return the config in a YAML file.

    Raises:
        ValueError: no such file, not YAML, an unknown key (with the nearest known one), a value of a wrong type or range.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        known = ", ".join(str(path) for path in sorted(Path("configs").glob("*.yaml")))
        raise ValueError(f"Config {file} cannot be read ({error.strerror}); here are: {known or 'none'}.") from error
    except yaml.YAMLError as error:
        raise ValueError(f"Config {file} is not YAML: {str(error).splitlines()[0]}; mend that line.") from error
    if not isinstance(content, dict | None):
        raise ValueError(f"Config {file} holds a {type(content).__name__}; it must hold keys such as 'seed' and 'env'.")
    return parse(content or {}, str(file))


def parse(content: dict[str, Any], source: str) -> Config:
    """Return the config that `content` holds; errors are one sentence each, and name `source`."""
    where = source
    try:
        config = Config.model_validate(content)
        for phase in config.phases:
            where = f"{source}, phase from cycle {phase.first}"
            config.at(phase.first)
        return config
    except ValidationError as error:
        raise ValueError(" ".join(_sentence(each, where) for each in error.errors())) from None


def _sentence(error: Any, source: str) -> str:
    path = [part for part in error["loc"] if part not in (ONE, SEVERAL)]
    where = ".".join(str(part) for part in path)
    if not path:  # of sections that do not go together
        return f"{source}: {error['msg'].removeprefix('Value error, ')}."
    if error["type"] == "missing":
        return f"{source}: {where} is missing."
    if error["type"] != "extra_forbidden":
        return f"{source}: {where} is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}."
    model: Any = Config
    for part in (part for part in path[:-1] if not isinstance(part, int)):
        model = {"env": EnvConfig, "phases": Phase}.get(part) or model.model_fields[part].annotation
    known = list(model.model_fields)
    near = difflib.get_close_matches(str(path[-1]), known, 1)
    return f"{source}: unknown key {where!r}; " + (f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(known)}.")


def override(config: Config, arguments: list[str]) -> Config:
    """Return the config with overrides from the command line: `--collect.takes 16`, `--env.cameras front wrist`, `--track.films false`.

    They hold for the whole run: no phase changes what is given so. `--phases` alone removes all phases.

    `--help` prints every key with its meaning (by tyro) and exits.

    Raises:
        ValueError: an unknown key, or a value of a wrong type or range.
    """
    if "--help" in arguments or "-h" in arguments:
        import tyro

        class Help(Config):  # lists of environments and phases cannot be overridden key by key
            env: EnvConfig = EnvConfig()  # pyright: ignore[reportIncompatibleVariableOverride]

        tyro.cli(Help, default=Help(**{**config.model_dump(), "env": config.envs[0], "phases": ()}), args=["--help"], prog="etude improve CONFIG RUN")
    known, content = dict(_keys(Config)), config.model_dump()
    later = content["phases"]
    for name, words in _options(arguments):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            raise ValueError(f"Unknown override '--{name}'; " + (f"did you mean '--{near[0]}'?" if near else "--help lists all."))
        section, *path = content, *name.split(".")
        if path[0] == "env" and not isinstance(content["env"], dict):
            raise ValueError(f"'--{name}' cannot say which of the {len(content['env'])} environments is meant; change it in the file.")
        for part in path[:-1]:
            section = section[part]
        for phase in later if path[1:] else ():  # what is given here holds for the whole run
            phase.get(path[0], {}).pop(path[-1], None)
        section[path[-1]] = _value(name, words, known[name].annotation)
    return parse(content, "command line")


def _value(name: str, words: list[str], kind: Any) -> Any:
    """Return what the words after `--name` mean for a key of this type: a text as it stands (a prompt may begin with a brace), else what YAML says.

    Raises:
        ValueError: the key takes one value, and there are several words or none.
    """
    options = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    listed = next((get_args(option) for option in options if get_origin(option) is tuple), ())  # the types in a list, where one may be given
    if len(words) != 1 and (str in options or not listed):
        several = """, and several as a list: '["push the block", "open the drawer"]'""" if listed else ""
        wanted = shlex.join([f"--{name}", " ".join(words)]) if words else f"--{name} VALUE"
        raise ValueError(f"'--{name}' takes one value and has {len(words)}; write it in quotes: {wanted}{several}.")
    value = _yaml(words[0]) if len(words) == 1 else ()
    if str in options:
        return value if listed and isinstance(value, list) else words[0]
    if not listed or isinstance(value, list | None):
        return value
    return words if listed[0] is str else [_yaml(word) for word in words]


def _yaml(word: str) -> Any:
    """Return what a word is in YAML; where that is nothing, itself."""
    try:
        return yaml.safe_load(word)
    except yaml.YAMLError:
        return word


def _options(arguments: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield names and values of `--name value ...` and `--name=value`."""
    at = 0
    while at < len(arguments):
        name, equals, value = arguments[at].partition("=")
        if not name.startswith("--"):
            raise ValueError(f"{arguments[at]!r} is not an override; they look like --seed 3.")
        words = [value] if equals else []
        at += 1
        while at < len(arguments) and not arguments[at].startswith("--"):
            words.append(arguments[at])
            at += 1
        yield name[2:].replace("-", "_"), words


def _keys(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        inner = EnvConfig if name == "env" else field.annotation
        nested = isinstance(inner, type) and issubclass(inner, BaseModel)
        yield from _keys(inner, f"{prefix}{name}.") if nested else [(prefix + name, field)]
