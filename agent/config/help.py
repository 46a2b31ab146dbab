"""`etude improve CONFIG RUN --help`: every key with its meaning, by tyro."""

from typing import Annotated, Any, NoReturn, get_args, get_origin

import tyro
from pydantic import BaseModel, Field
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from agent.config.config import Config
from agent.config.keys import GroundConfig, Phase
from envs import EnvConfig

FORMS = """The same keys as in CONFIG, with its values as defaults. YAML stands for one text in quotes, which replaces the value in CONFIG:
--env.kwargs '{width: 64}', --phases '[{first: 5, tune: {epochs: 1}}]'. Of such keys CONFIG's own value is not shown."""


def show(config: Config) -> NoReturn:
    """Print every key with its meaning, and its value in a config; of several environments, the first one's."""

    class Ground(GroundConfig):  # tyro shows the names of fields, and `from` is none in Python
        sources: Annotated[dict[str, str], tyro.conf.arg(name="from")] = Field(default={}, alias="from")

    class Help(Config):  # `Config.env` may be a list, whose keys have no names
        env: EnvConfig = EnvConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
        ground: Ground = Ground()  # pyright: ignore[reportIncompatibleVariableOverride]

    registry = ConstructorRegistry()
    registry.primitive_rule(_as_yaml)
    # Without tyro's flags: `--track.no-videos` is no override, and `--track.videos false` is.
    shown: dict[str, Any] = {"description": FORMS, "registry": registry, "config": (tyro.conf.FlagConversionOff,)}
    chosen = _emptied(Help(**{**config.model_dump(), "env": config.envs[0], "phases": ()}))
    tyro.cli(Help, default=chosen, args=["--help"], prog="etude improve CONFIG RUN", **shown)
    raise SystemExit


def _as_yaml(key: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Return how a dictionary, or the list of phases, is shown; None for all other types. Tyro itself would hide it."""
    if get_origin(key.type) is not dict and Phase not in get_args(key.type):
        return None
    empty = ["[]"] if Phase in get_args(key.type) else ["{}"]
    return PrimitiveConstructorSpec(
        nargs=1, metavar="YAML", instance_from_str=lambda words: words, is_instance=lambda value: True, str_from_instance=lambda value: empty
    )


def _emptied(model: Any) -> Any:
    """Return a copy of a config with empty dictionaries: tyro would make a key of each of their entries."""
    changes = {name: {} if isinstance(value, dict) else _emptied(value) for name, value in model if isinstance(value, dict | BaseModel)}
    return model.model_copy(update=changes)
