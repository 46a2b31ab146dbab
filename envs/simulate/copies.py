"""Deep copies of the attributes of an environment and its wrappers, without what must not be copied.

A copy refers to these objects instead of holding a copy:

| object | why |
|---|---|
| MuJoCo's model and data, and arrays that are views of them | a copy would no longer be the simulation that the environment steps |
| a renderer or GL context | its memory is the graphics driver's, and the end of a copy would free it |
| an object whose type has `__del__`, such as a PyBullet client | it owns something outside of Python, and the end of a copy would cut it off |
| an object that copies itself in its own way and holds one of these, such as dm_control's Physics | its copy would make another renderer |

The attributes of the third kind go back in place.
"""

import copy
import types
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from envs.adapt import Adapter
from envs.resets import Resets, layers
from envs.simulate.render import mujoco_of, physics_of
from envs.spaces import Actions
from envs.success import Success
from envs.views import Views

# Types that are not copied, because they do not change during an episode.
SHARED = (gymnasium.Space, EnvSpec, types.ModuleType, types.FunctionType, types.MethodType, type, Actions, Success, Views, Resets)
# Arrays of MjData of which an environment may hold a view as an attribute (`init_qvel` of FrankaKitchen, the pads of Meta-World). A deep copy would
# cut the connection, so views are left out.
STATE = ("qpos", "qvel", "act", "ctrl", "mocap_pos", "mocap_quat", "qfrc_applied", "xfrc_applied")
STATE += ("xpos", "xquat", "xmat", "xipos", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "sensordata")
# Parts of names of types that hold memory of the graphics driver.
DRAWING = ("Renderer", "Viewer", "GLContext", "MjrContext", "MjvScene", "RenderContext")
OWN_COPY = ("__getstate__", "__setstate__", "__deepcopy__", "__reduce__", "__reduce_ex__")  # methods by which a type copies itself in its own way
PLAIN = (str, bytes, int, float, complex, bool, type(None), np.ndarray, np.generic)


def references(adapter: Adapter) -> list[Any]:
    """Return the objects that every copy refers to, in a fixed order, so that those of two adapters correspond."""
    model, data = mujoco_of(adapter.env)
    arrays = (getattr(data, name) for name in STATE if data is not None)
    return [*holders(adapter), model, data, *arrays, physics_of(adapter.env), adapter.config]


def holders(adapter: Adapter) -> list[Any]:
    """Return the objects whose attributes are copied: the wrappers, outermost first, the environment, and the adapter."""
    return [*layers(adapter.env), adapter]


def kept(adapter: Adapter, referred: list[Any]) -> list[Any]:
    """Return the objects within an environment that must not be copied, in the order in which they are found.

    Args:
        adapter: of the environment.
        referred: its `references`, which are not looked into.
    """
    seen, found = {id(each) for each in referred}, []
    waiting = [value for holder in reversed(holders(adapter)) for value in reversed(vars(holder).values())]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (*PLAIN, *SHARED)) or id(value) in seen:
            continue
        seen.add(id(value))
        if _must_stay(value):
            found.append(value)
        if not draws(value):
            waiting += reversed(list(_parts(value)))
    return found


def owns(value: Any) -> bool:
    """Return whether the type of an object has `__del__`: it owns something outside of Python."""
    return hasattr(type(value), "__del__")


def draws(value: Any) -> bool:
    """Return whether an object holds memory of the graphics driver, by the name of its type or of one that this inherits from."""
    return any(word in base.__name__ for base in type(value).__mro__ for word in DRAWING)


def copies(layered: list[Any], instead: list[Any]) -> list[dict[str, Any]]:
    """Return deep copies of the attributes of objects. Within them, references to what is in `instead` stay references.

    Args:
        layered: the objects.
        instead: `references` and `kept`.
    """
    memo = {id(each): each for each in instead}  # `deepcopy` returns these themselves
    arrays = [each for each in instead if isinstance(each, np.ndarray)]
    copied: list[dict[str, Any]] = []
    for layer in layered:
        copied.append({})
        for name, value in vars(layer).items():
            if id(value) in memo and any(value is each for each in instead):
                continue
            if isinstance(value, np.ndarray) and any(np.may_share_memory(value, each) for each in arrays):  # a view of the simulation's state
                continue
            if isinstance(value, SHARED) or draws(value):
                continue
            try:
                copied[-1][name] = copy.deepcopy(value, memo)
            except Exception:  # locks and sockets are not state; if something else is left out here, `prove` finds that the snapshot is not exact
                continue
    return copied


def put_back(layered: list[Any], attributes: list[dict[str, Any]]) -> None:
    """Set the attributes of objects to those of `copies`. A renderer that was made since then stays: its attribute was None before."""
    for layer, values in zip(layered, attributes, strict=True):
        present = vars(layer)
        present.update({name: value for name, value in values.items() if not _must_stay(present.get(name))})


def _must_stay(value: Any) -> bool:
    if isinstance(value, PLAIN):
        return False
    if owns(value) or draws(value):
        return True
    copies_itself = any(name in vars(base) for base in type(value).__mro__[:-1] for name in OWN_COPY)  # all but `object`
    return copies_itself and hasattr(value, "__dict__") and any(owns(part) or draws(part) for held in _parts(value) for part in (held, *_items(held)))


def _parts(value: Any) -> Iterator[Any]:
    """Yield what an object holds, one level deep."""
    yield from _items(value)
    yield from getattr(value, "__dict__", {}).values()


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
