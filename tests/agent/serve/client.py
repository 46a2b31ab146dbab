"""A client in the style of openpi's: connect, read the server's metadata, then one message there and one back for each decision."""

from contextlib import ExitStack
from typing import Any

import msgpack
import numpy as np
from websockets.sync.client import connect


def packed(content: Any) -> bytes:
    """Return a message as openpi-client's `msgpack_numpy` packs it."""
    return msgpack.packb(content, default=_map)


def unpacked(message: bytes) -> Any:
    return msgpack.unpackb(message, object_hook=_array)


def _map(value: Any) -> Any:
    return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}


def _array(content: Any) -> Any:
    if b"__ndarray__" in content:
        return np.ndarray(buffer=content[b"data"], dtype=np.dtype(content[b"dtype"]), shape=content[b"shape"])
    return content


class Client:
    """One connection, with the methods of openpi's `WebsocketClientPolicy`."""

    def __init__(self, host: str, port: int) -> None:
        self._open = ExitStack()
        self.connection = self._open.enter_context(connect(f"ws://{host}:{port}", compression=None, max_size=None))
        self.metadata = unpacked(self.connection.recv())

    def get_server_metadata(self) -> dict[str, Any]:
        return self.metadata

    def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
        return self.ask(packed(observation))

    def ask(self, message: bytes | str) -> dict[str, Any]:
        self.connection.send(message)
        reply = self.connection.recv(timeout=60)
        if isinstance(reply, str):
            raise RuntimeError(reply)
        return unpacked(reply)

    def close(self) -> None:
        self._open.close()
