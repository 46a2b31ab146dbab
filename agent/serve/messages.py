"""Messages of openpi's client protocol: msgpack with numpy arrays, in both directions; nothing is ever unpickled.

An array is the map `{__ndarray__: true, data, dtype, shape}` and a numpy number `{__npgeneric__: true, data, dtype}`, with keys in bytes.
Source: openpi-client, `msgpack_numpy.py` and `websocket_client_policy.py` (github.com/Physical-Intelligence/openpi).
"""

import itertools
import math
from typing import Any

import msgpack
import numpy as np

KINDS = "biuf"  # numpy's kinds of dtypes that are accepted: truth values, whole numbers, floats
MOST_DIMS, MOST_ITEMS, MOST_MAPS = 8, 1024, 256  # dimensions of an array; entries of a map or list; maps and arrays of a message


def pack(content: Any) -> bytes:
    """Return a message with numpy arrays and numbers in it."""
    return bytes(msgpack.packb(content, default=_to_map) or b"")  # the stubs of msgpack allow None, which never comes


def unpack(message: bytes) -> dict[str, Any]:
    """Return the content of a message.

    Raises:
        ValueError: it is no msgpack map, it is not complete, or an array in it is not what it says; one sentence.
    """
    budget = itertools.count(1)

    def counted(each: dict[Any, Any]) -> Any:
        # msgpack limits one map or list at a time; nested ones would multiply to seconds of work and hundreds of megabytes.
        if next(budget) > MOST_MAPS:
            raise ValueError(f"it has more than {MOST_MAPS} maps and arrays")
        return _from_map(each)

    try:
        content = msgpack.unpackb(message, object_hook=counted, max_array_len=MOST_ITEMS, max_map_len=MOST_ITEMS)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__  # a client may have made this text, of any length
        raise ValueError(f"The message cannot be read ({why}); send a msgpack map with numpy arrays, as openpi's client does.") from error
    if not isinstance(content, dict):
        raise ValueError(f"The message is a {type(content).__name__}; send a msgpack map with numpy arrays, as openpi's client does.")
    return content


def _to_map(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a {type(value).__name__} has no place in a message")


def _from_map(content: dict[Any, Any]) -> Any:
    if b"__ndarray__" in content:
        dtype, shape, data = _dtype(content[b"dtype"]), tuple(content[b"shape"]), content[b"data"]
        # Before the array is made: a shape is only a claim.
        if len(shape) > MOST_DIMS or any(not isinstance(size, int) or size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"an array of shape {shape[:MOST_DIMS]} and type {dtype} does not have {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(shape)  # a view of the message, so it cannot be written to
    if b"__npgeneric__" in content:
        return _dtype(content[b"dtype"]).type(content[b"data"])
    return content


def _dtype(name: Any) -> np.dtype:
    """Return a plain numeric dtype; raise ValueError for any other, such as one of Python objects."""
    # '<f16' is the longest plain name; others describe structures.
    if not isinstance(name, str) or len(name) > 4 or (dtype := np.dtype(name)).kind not in KINDS:
        raise ValueError(f"arrays hold truth values, whole numbers or floats, and not {str(name)[:20]!r}")
    return dtype
