"""The type of config values that may be anything, such as arguments of an environment.

YAML has no tuples, so a tuple in a config made in Python becomes a list. Otherwise the config would differ from itself when it is read again.
"""

from typing import Annotated, Any

from pydantic import AfterValidator


def listed(value: Any) -> Any:
    """Return a value with lists instead of tuples, also within lists and dicts."""
    if type(value) in (list, tuple):  # not subclasses: a named tuple stays what it is
        return [listed(each) for each in value]
    if type(value) is dict:
        return {key: listed(each) for key, each in value.items()}
    return value


Value = Annotated[Any, AfterValidator(listed)]
