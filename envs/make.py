"""From an id to an environment: a Gymnasium id, a file, an attribute of a module, or an entry point of an installed package."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import gymnasium

from envs import TASKS, EnvConfig
from envs.faults import in_words

GROUP = "etude.envs"  # Gymnasium dropped its own entry-point group in 1.0


def make(config: EnvConfig) -> gymnasium.Env:
    """Return the environment that the config names, with its horizon.

    Raises:
        ValueError: there is none, or it cannot be made; says why, and what is allowed.
    """
    kwargs = dict(config.kwargs)
    if config.id in TASKS:
        kwargs["cameras"] = ()  # the adapter draws
    elif "render" in config.sources:
        kwargs.setdefault("render_mode", "rgb_array")
    try:
        env = _make(config, kwargs)
    except (Exception, SystemExit) as error:  # a constructor may raise anything; the user's config is what can be changed
        raise ValueError(
            f"Environment {config.id!r} cannot be made ({in_words(error)}); give a Gymnasium id (`etude tasks` lists our own), "
            "module:Id, file.py:factory, or a name of an `etude.envs` entry point."
        ) from error
    if isinstance(env, gymnasium.vector.VectorEnv):
        raise ValueError(f"Environment {config.id!r} is a vector of environments; etude makes its own copies, so give a single one.")
    if not isinstance(env, gymnasium.Env):
        raise ValueError(f"{config.id!r} gave a {type(env).__name__}, which is no gymnasium.Env; older environments can be wrapped by Shimmy.")
    inner: Any = env.unwrapped
    for name, value in config.attributes.items():
        if not hasattr(inner, name):
            raise ValueError(f"env.attributes names {name!r}, which {type(inner).__name__} does not have.")
        setattr(inner, name, value)
    return env


def _make(config: EnvConfig, kwargs: dict[str, Any]) -> Any:
    factory = _factory(config.id)
    if factory is None:
        return gymnasium.make(config.id, max_episode_steps=config.horizon, disable_env_checker=True, **kwargs)
    if kwargs.get("render_mode") and "render_mode" not in config.kwargs and not _takes(factory, "render_mode"):
        del kwargs["render_mode"]
    env = factory(**kwargs)
    return gymnasium.wrappers.TimeLimit(env, config.horizon) if config.horizon else env


def _factory(name: str) -> Callable[..., Any] | None:
    """Return what makes the environment, or None where `gymnasium.make` does."""
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return entry.load()
    place, _, attribute = name.rpartition(":")
    if not place:
        return None
    module = module_of(place)
    return getattr(module, attribute) if place.endswith(".py") else None if attribute in gymnasium.registry else getattr(module, attribute, None)


def module_of(place: str) -> Any:
    """Return the module of that name, or what a .py file holds."""
    return _load(Path(place)) if place.endswith(".py") else importlib.import_module(place)


def _load(file: Path) -> Any:
    if not file.exists():
        raise FileNotFoundError(f"there is no file {file}")
    name = f"etude_file_{file.resolve().stem}_{abs(hash(file.resolve()))}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None, "a path that ends in .py has a loader"
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _takes(factory: Callable[..., Any], argument: str) -> bool:
    import inspect

    parameters = inspect.signature(factory).parameters
    return argument in parameters or any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
