"""A YAML file, then overrides from the command line -> Config; errors are one sentence each."""

import datetime
import difflib
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from agent.config.config import ONE, SEVERAL, Config
from agent.config.former import FORMER, REMOVED
from agent.config.keys import Phase
from agent.config.yaml_text import LARGEST, dump, load, problem_of
from envs import EnvConfig

SCALARS = (type(None), bool, int, float, str, bytes, datetime.date, datetime.datetime)  # what YAML gives back
FEW = 5  # mistakes that are told at once
WORDS = {  # of Python, as YAML has them
    "a valid dictionary or instance of EnvConfig": "keys with values", "a valid dictionary or instance of FreeCamera": "keys with values",
    "a valid dictionary": "keys with values", "a valid tuple": "a list",
    "tuple should have": "it should be a list of", " after validation": "",
}  # fmt: skip


def read(file: Path) -> Config:
    """Return the config in a YAML file.

    Args:
        file: to read.

    Raises:
        ValueError: no such file, not YAML, an unknown key (with the nearest known one), a value of a wrong type or range.
    """
    try:
        if file.stat().st_size > LARGEST:  # before it is read: a wrong name may be that of a huge file
            raise ValueError(f"Config {file} has more than {LARGEST} bytes; it is no config.")
        content = load(file.read_text("utf-8"), f"Config {file}")
    except OSError as error:
        known = ", ".join(str(path) for path in sorted(Path("configs").glob("*.yaml")) if path.stem != "sweep")  # sweep.yaml is a file of W&B
        raise ValueError(f"Config {file} cannot be read ({error.strerror}); here are: {known or 'none'}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"Config {file} is not a text in UTF-8 (byte {error.start}); save it as one.") from error
    except yaml.YAMLError as error:
        raise ValueError(f"Config {file} is not YAML: {problem_of(error)}; mend that line.") from error
    if not isinstance(content, dict | None):  # None: an empty file, which leaves every default
        raise ValueError(f"Config {file} holds a {type(content).__name__}; it must hold keys such as 'seed' and 'env'.")
    return parse(content or {}, str(file))


def read_own(file: Path) -> Config:
    """Return the config that a run wrote into its folder; raise ValueError as `read` does, with what to do if another version wrote it."""
    if file.exists() and not file.is_file():  # a pipe would keep the reader waiting; a user's config may be one
        raise ValueError(f"{file} is no file; remove what is there, or name a new folder.")
    try:
        return read(file)
    except ValueError as error:
        raise ValueError(f"{error} Where another version of etude began this run, use that version, or name a new folder.") from error


def write(config: Config) -> str:
    """Return a config as YAML; `read` returns the same config from it.

    Raises:
        ValueError: it holds what no YAML file can give back, which only Python can put there; names the key.
    """
    content = config.model_dump()
    if strange := next(_strange(content), None):
        raise ValueError(f"Config key {strange} cannot be written into a file; give numbers, texts, and lists and dicts of them.")
    return dump(content)


def _strange(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the keys of values that YAML does not give back as they are: of other types, and of types built on those."""
    if type(value) in (list, tuple):  # not `isinstance`: of a subclass YAML gives back a plain one
        for index, each in enumerate(value):
            yield from _strange(each, (*path, str(index)))
    elif type(value) is dict:
        for key, each in value.items():
            yield from [f"{'.'.join(path)} holds the key {_short(key)}, which"] if type(key) not in SCALARS else _strange(each, (*path, str(key)))
    elif type(value) not in SCALARS and not (type(value) is set and all(type(each) in SCALARS for each in value)):
        yield f"{'.'.join(path)} is a {type(value).__name__}, which"


def parse(content: dict[str, Any], source: str) -> Config:
    """Return the config that `content` holds; errors are one sentence each, and name `source`."""
    where = source
    try:
        config = Config.model_validate(content)
        _refuse_truths(content, config, where)
        for phase in config.phases:
            where = f"{source}, phase from cycle {phase.first}"
            changed = config.at(phase.first)  # a phase may be wrong only together with what it changes
            _refuse_truths({name: getattr(phase, name) for name in ("collect", "curate", "tune")}, changed, where)
        return config
    except ValidationError as error:
        said = _sentences(error.errors(), where)
        # `from None`, since pydantic's own text is long and says the same.
        raise ValueError(" ".join(said[:FEW]) + (f" And {len(said) - FEW} more." if len(said) > FEW else "")) from None


def _refuse_truths(given: dict[str, Any], config: Config, source: str) -> None:
    """Raise ValueError where true or false is given for a number: pydantic takes them for 1 and 0."""
    if wrong := next(_truths(given, config.model_dump()), None):
        name, value = wrong
        raise ValueError(f"{source}: {name} is {str(value).lower()}; give a number.")


def _truths(given: Any, understood: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the keys with true or false among the values `given` that were `understood` as numbers, and those values."""
    if isinstance(given, bool) and isinstance(understood, int | float) and not isinstance(understood, bool):
        yield path, given
    elif isinstance(given, dict) and isinstance(understood, dict):
        for name in (name for name in given if name in understood):
            yield from _truths(given[name], understood[name], f"{path}.{name}".lstrip("."))
    elif isinstance(given, list | tuple) and isinstance(understood, list | tuple):
        for place, (each, number) in enumerate(zip(given, understood, strict=False)):
            yield from _truths(each, number, f"{path}.{place}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _sentences(errors: Sequence[Any], source: str) -> list[str]:
    """Return a sentence for each wrong value. Of a key that takes one of several types pydantic reports each of them."""
    found: dict[str, list[str]] = {}
    for error in errors:
        subject, said = _sentence(error, source)
        found.setdefault(subject, []).append(said)
    sentences = [subject + ", or ".join(dict.fromkeys(said)) for subject, said in found.items()]
    return [sentence if sentence.endswith("?") else f"{sentence}." for sentence in sentences]


def _sentence(error: Any, source: str) -> tuple[str, str]:
    """Return what an error is about, and what pydantic says of it in words of YAML."""
    path = [part for part in error["loc"] if not _is_type(part)]
    where = ".".join(str(part) for part in path)[:200]
    if not path:  # of sections that do not go together
        return f"{source}: ", error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{source}: {where} ", "is missing"
    if error["type"] != "extra_forbidden":
        said = error["msg"].removeprefix("Value error, ")
        said = said[0].lower() + said[1:]
        for python, plain in WORDS.items():
            said = said.replace(python, plain)
        return f"{source}: {where} is {_short(error['input'])}; ", said
    return _unknown(path, where, source)


def _is_type(part: str | int) -> bool:
    """Return whether a part of a path is no key that a user wrote, but one of the types of a union, as `tuple[str, ...]`, or `[key]`."""
    return part in (ONE, SEVERAL, "str", "int", "float", "bool") or re.fullmatch(r"[a-z]*\[.*\]", str(part)) is not None


def _unknown(path: list[Any], where: str, source: str) -> tuple[str, str]:
    model: Any = Config
    for part in (part for part in path[:-1] if not isinstance(part, int)):
        if get_origin(model) is dict:  # `part` is a name that the user gave
            model = get_args(model)[1]
        else:
            model = {"env": EnvConfig, "phases": Phase}.get(part) or model.model_fields[part].annotation
    known = [field.alias or name for name, field in model.model_fields.items()]
    # Keys of phases are checked within the section that they change, so that its name stands before them here too.
    name = ".".join(str(part) for part in path if not isinstance(part, int))
    if name in REMOVED:
        return f"{source}: key {where!r} ", "is gone (CHANGELOG.md); remove it"
    former = FORMER.get(name)
    near = [former] if former else difflib.get_close_matches(str(path[-1]), known, 1)
    return f"{source}: unknown key {where!r}; ", f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(known)}"


def override(config: Config, arguments: list[str]) -> Config:
    """Return the config with overrides from the command line: `--collect.episodes_per_seed 16`, `--env.cameras front wrist`, `--track.videos false`.

    They hold for the whole run: no phase changes what is given so. `--phases` alone removes all phases.

    A dictionary is a YAML text, as in `--env.kwargs '{width: 64}'`, and replaces the one in the file; so is the whole list of phases.
    `--help` prints every key with its meaning and exits.

    Raises:
        ValueError: an unknown key, or a value of a wrong type or range.
    """
    if "--help" in arguments or "-h" in arguments:  # wherever it stands, so that a wrong key before it does no harm
        from agent.config.help import show  # here, since tyro is slow to import

        show(config)
    known, content = dict(config_keys(Config)), config.model_dump()
    later = content["phases"]
    for name, words in _options(arguments):  # of an option that is given twice the last holds, so that scripts can append some
        if name not in known:
            section, former = name.rpartition(".")[0], FORMER.get(name)
            if name in REMOVED:
                raise ValueError(f"Key '--{name}' is gone (CHANGELOG.md); remove it.")
            near = (
                [former if former and "." in former else f"{section}.{former}".strip(".")]
                if former
                else difflib.get_close_matches(name, known, 1, 0.5)
            )
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
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)  # a union with a Literal is of the other class
    if len(words) == 1 and any(get_origin(option) is Literal and words[0] in get_args(option) for option in options):
        return words[0]  # a word beside which a list is allowed too
    listed = next((get_args(option) for option in options if get_origin(option) is tuple), ())  # the types in a list, where one may be given
    if len(words) != 1 and (str in options or not listed):
        several = """, and several as a list: '["push the block", "open the drawer"]'""" if listed else ""
        wanted = shlex.join([f"--{name}", " ".join(words)]) if words else f"--{name} VALUE"
        raise ValueError(f"'--{name}' takes one value and has {len(words)}; write it in quotes: {wanted}{several}.")
    value = _yaml(name, words[0]) if len(words) == 1 else ()
    if str in options:
        return value if listed and isinstance(value, list) else words[0]
    if not listed or isinstance(value, list | None):
        return value
    return words if listed[0] is str else [_yaml(name, word) for word in words]  # among texts a word such as 3 stays a text


def _yaml(name: str, word: str) -> Any:
    """Return what a word is in YAML; where that is nothing, itself."""
    try:
        return load(word, f"'--{name}'")
    except yaml.YAMLError:  # a text that is no YAML, such as '*' or '@home'
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
        yield name[2:].replace("-", "_"), words  # --collect.num-envs means the same


def config_keys(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the names of all keys of a model, as in overrides (`collect.num_seeds`), with their fields."""
    for name, field in model.model_fields.items():
        inner = EnvConfig if name == "env" else field.annotation  # one or several: a union, which has no fields
        nested = isinstance(inner, type) and issubclass(inner, BaseModel)
        yield from config_keys(inner, f"{prefix}{name}.") if nested else [(prefix + (field.alias or name), field)]
