"""Which keys differ between two configs."""

from collections.abc import Iterator
from typing import Any

from agent.config.config import Config


def differences(one: Config, other: Config) -> dict[str, tuple[Any, Any]]:
    """Return the keys that differ between two configs, such as `collect.num_envs`, with both values; a NaN equals itself."""
    return dict(_different(one.model_dump(), other.model_dump(), ""))


def _different(one: Any, other: Any, key: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in one:
            yield from _different(one[name], other[name], f"{key}.{name}" if key else name)
    elif isinstance(one, list | tuple) and len(one) and type(one) is type(other) and len(one) == len(other) and isinstance(one[0], dict):
        for first, second in zip(one, other, strict=True):  # environments; they share the names of their keys
            yield from _different(first, second, key)
    elif not _same(one, other):
        yield key, (one, other)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other or (one != one and other != other))
