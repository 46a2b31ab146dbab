"""Makes the environment that `env.id` names.

| `env.id` | what it names |
|---|---|
| `etude/Reach-v0`, `module:Id` | an id that is registered with Gymnasium, after importing a module |
| `path/to/file.py:factory`, `module:factory` | a class or function that returns an environment |
| `libero:libero_spatial/0`, `robosuite:Lift` | a name for an adapter: a module of `envs/adapters/`, whose `make` gets what follows the colon |
| `name` | an entry point of the group `etude.envs` in an installed package |
"""

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import gymnasium

from envs import TASKS, EnvConfig
from envs.adapters import INSTALL
from envs.faults import contained, in_words
from envs.kept import kept

GROUP = "etude.envs"  # of entry points; Gymnasium 1.0 removed its own group


def make(config: EnvConfig) -> gymnasium.Env:
    """Return the environment that the config names, with its time limit and attributes set.

    Raises:
        ValueError: there is no such environment, or it cannot be made.
    """
    kwargs = dict(config.kwargs)
    if config.id in TASKS:
        kwargs["cameras"] = ()  # the adapter draws frames itself, and only when they are needed
    elif "render" in config.sources:
        kwargs.setdefault("render_mode", "rgb_array")
    try:
        with contained(), kept():
            env = _make(config, kwargs)
    except (Exception, SystemExit) as error:  # a constructor may raise anything
        line = INSTALL.get(config.id.partition(":")[0])
        if isinstance(error, ModuleNotFoundError) and line:
            raise ValueError(f"Environment {config.id!r} needs a package that is not installed ({error}): {line}") from error
        if isinstance(error, ValueError) and line:  # a sentence of ours, or of the package that the id names rightly
            raise ValueError(f"Environment {config.id!r} cannot be made: {error}.") from error
        raise ValueError(
            f"Environment {config.id!r} cannot be made ({in_words(error)}); give a Gymnasium id (`etude tasks` lists our own), "
            "module:Id, file.py:factory, or a name of an `etude.envs` entry point."
        ) from error
    if isinstance(env, gymnasium.vector.VectorEnv):
        raise ValueError(f"Environment {config.id!r} is a vector of environments; etude makes its own copies, so give a single one.")
    if not isinstance(env, gymnasium.Env):
        raise ValueError(f"{config.id!r} gave a {type(env).__name__}, which is not a gymnasium.Env; older environments can be wrapped by Shimmy.")
    try:
        _set_attributes(env, config.attributes)
    except BaseException:  # nobody else could close it
        with contextlib.suppress(Exception, SystemExit):
            env.close()
        raise
    return env


def _set_attributes(env: gymnasium.Env, attributes: dict[str, Any]) -> None:
    """Set attributes, each on the outermost layer that has it.

    Raises:
        ValueError: no layer has it, it is a method, or it cannot be set.
    """
    for name, value in attributes.items():
        why, of = "", type(env.unwrapped).__name__
        try:
            if not env.has_wrapper_attr(name):
                why = f"which {of} does not have"
            elif inspect.ismethod(known := env.get_wrapper_attr(name)) and isinstance(known.__self__, gymnasium.Env):
                why = f"which is a method of {of}; name an attribute that holds a value"
            else:
                env.set_wrapper_attr(name, value)
        except (Exception, SystemExit) as error:  # a property may raise anything, and have no setter
            why = f"which cannot be set in {of} ({in_words(error)})"
        if why:
            raise ValueError(f"env.attributes names {name!r}, {why}.")


def _make(config: EnvConfig, kwargs: dict[str, Any]) -> Any:
    """Return what the factory returns; it need not be an environment."""
    factory = _factory(config.id)
    ours = "render_mode" in kwargs and "render_mode" not in config.kwargs  # our default; an argument from the config may be an error
    if factory is None:
        make = functools.partial(gymnasium.make, config.id, max_episode_steps=config.max_episode_steps, disable_env_checker=True)
        try:
            return make(**kwargs)
        except TypeError as error:
            if not ours or "unexpected keyword argument 'render_mode'" not in str(error):
                raise
            return make(**{name: value for name, value in kwargs.items() if name != "render_mode"})
    if ours and not _accepts(factory, "render_mode"):
        del kwargs["render_mode"]
    if config.max_episode_steps and _names(factory, "max_episode_steps"):  # else its own limit would end episodes, where that is smaller
        kwargs.setdefault("max_episode_steps", config.max_episode_steps)
    env = factory(**kwargs)
    return gymnasium.wrappers.TimeLimit(env, config.max_episode_steps) if config.max_episode_steps else env


def _factory(name: str) -> Callable[..., Any] | None:
    """Return the class or function that makes the environment, or None if `gymnasium.make` must."""
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return entry.load()
    family, colon, task = name.partition(":")
    if colon and family.isidentifier() and importlib.util.find_spec(f"envs.adapters.{family}"):
        return functools.partial(importlib.import_module(f"envs.adapters.{family}").make, task)
    place, _, attribute = name.rpartition(":")
    if not place:
        return None
    if place.endswith(".py"):
        return found_in(place, attribute)
    module = module_of(place)
    return None if attribute in gymnasium.registry else getattr(module, attribute, None)


def module_of(place: str) -> Any:
    """Return the module at a dotted name, or the one in a .py file."""
    return _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)


def found_in(place: str, name: str) -> Any:
    """Return what has a name in a module: at a dotted name, or in a .py file.

    Raises:
        AttributeError: the module has nothing of that name; the message lists what it defines.
        Exception: of any type, by the module itself.
    """
    module = module_of(place)
    if not hasattr(module, name):
        own = ", ".join(key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
        raise AttributeError(f"{place} has no {name!r}" + (f"; it defines {own}" if own else ""))
    return getattr(module, name)


def _load_file(file: Path) -> Any:
    """Return the module in a file; a file is executed once a process."""
    if not file.exists():
        raise FileNotFoundError(f"there is no file {file}")
    # In sys.modules, so that pickle and dataclasses find its classes. Two folders may have files of one name, so the whole path counts; by a digest
    # and not by `hash`, because pickle needs the same name in every process.
    name = f"etude_file_{file.resolve().stem}_{hashlib.sha256(bytes(file.resolve())).hexdigest()[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None, "a path that ends in .py has a loader"
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]  # a second attempt must not get half a module
            raise
    return sys.modules[name]


def _accepts(factory: Callable[..., Any], argument: str) -> bool:
    """Return whether a factory has an argument of this name, or accepts any keyword."""
    return _names(factory, argument) or any(each.kind is inspect.Parameter.VAR_KEYWORD for each in inspect.signature(factory).parameters.values())


def _names(factory: Callable[..., Any], argument: str) -> bool:
    """Return whether a factory has an argument of this name."""
    return argument in inspect.signature(factory).parameters
