"""What a config may hold where it does not say of which type: values that a YAML file gives back as they were written."""

import datetime
from typing import Annotated, Any

from pydantic import AfterValidator

SCALARS = (type(None), bool, int, float, str, bytes, datetime.date, datetime.datetime)


def plain(value: Any) -> Any:
    """Return a value as a YAML file holds it, where a tuple is a list.

    Raises:
        ValueError: no YAML file can hold it.
    """
    if type(value) in (list, tuple):
        return [plain(each) for each in value]
    if type(value) is dict:
        return {_scalar(key): plain(each) for key, each in value.items()}
    if type(value) is set:
        return {_scalar(each) for each in value}
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if type(value) not in SCALARS:  # a subclass would come back as what it is built on
        raise ValueError(f"a {type(value).__name__} cannot be written into a config file there; give numbers, texts, lists and dicts of them")
    return value


Value = Annotated[Any, AfterValidator(plain)]
