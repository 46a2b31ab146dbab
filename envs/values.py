"""What a config may hold where it does not say of which type: a tuple is the list that it is in a YAML file, from the beginning."""

from typing import Annotated, Any

from pydantic import AfterValidator


def listed(value: Any) -> Any:
    """Return a value with lists in the place of tuples."""
    if type(value) in (list, tuple):
        return [listed(each) for each in value]
    if type(value) is dict:
        return {key: listed(each) for key, each in value.items()}
    return value


Value = Annotated[Any, AfterValidator(listed)]
