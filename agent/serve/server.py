"""A websocket server that speaks openpi's client protocol: observations come in, the actions of one decision go out.

| step | message |
|---|---|
| a client connects | the server sends a map: cameras, frame size, action space (`metadata`) |
| an observation: a picture under each camera's name, `prompt`, the state | `{actions: float32[N, A], server_timing: {infer_ms}}` |
| `{__ctrl__: "episode_start"}` | `{__ack__: "episode_start"}`; the frame history begins anew, as it does with each connection |
| anything else | a text: one sentence that says what is wrong (openpi's client raises it) |

A bad client costs nobody else anything: the length of a message, the rate of messages, the time that a client may take to send or to read, and the
number of clients are limited. The policy runs in one thread, a request at a time, and a request whose client has gone is not computed.
"""

import asyncio
import http
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from agent.actor import Actor
from agent.serve.messages import pack, unpack
from envs.faults import in_words
from envs.state import keys

PROMPT = "prompt"  # key of the instruction, as openpi's policies name it
QUIET = logging.getLogger(__name__)  # without it, websockets prints a traceback for each handshake that comes to nothing
QUIET.setLevel(logging.CRITICAL)
LONGEST = 1000  # characters of an instruction


@dataclass(frozen=True)
class Limits:
    """What a client may do."""

    mib: float = 8  # of a message
    rate: float = 100  # messages a second, on average; faster ones wait
    patience: float = 60  # seconds without a message, within one, or until a reply is read, after which the connection is closed
    clients: int = 32  # at a time; others are refused


class PolicyServer:
    """Serves one policy to many clients.

    Args:
        actor: makes an actor of its own for each client; all of them may share one model.
        limits: of each client.
        note: called with a line for each client that was turned away.
    """

    def __init__(self, actor: Callable[[], Actor], limits: Limits = Limits(), note: Callable[[str], None] = lambda line: None) -> None:
        self._actor, self._limits, self._note, self._clients = actor, limits, note, 0
        self._thread = ThreadPoolExecutor(1)  # a model is not made for two forward passes at a time
        self.metadata = metadata(actor())

    async def start(self, host: str, port: int) -> Server:
        """Return a server that accepts clients; `async with` closes it.

        Args:
            host: address to listen at.
            port: 0: any free one.
        """
        return await serve(
            self._serve, host, port, compression=None, process_request=self._admit, max_size=int(self._limits.mib * 2**20),
            max_queue=1, open_timeout=10, ping_interval=20, ping_timeout=self._limits.patience, close_timeout=5, logger=QUIET,
        )  # fmt: skip

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer `GET /healthz`, and refuse a client where there are too many."""
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self._clients >= self._limits.clients:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, f"{self._clients} clients are connected; try again later.\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        """Serve one client until it goes, or is too slow."""
        self._clients += 1
        try:
            await self._talk(connection)
        except ConnectionClosed:
            pass  # it left, or sent what websockets refuses: a message that is too long, a frame that is none
        except TimeoutError:
            self._note(f"{connection.remote_address}: nothing for {self._limits.patience:g} s; closed")
            connection.transport.abort()  # a closing handshake would wait for the same client
        except Exception as error:  # costs this client, and is said: QUIET would hide it
            self._note(f"{connection.remote_address}: {in_words(error)}")
        finally:
            self._clients -= 1

    async def _talk(self, connection: ServerConnection) -> None:
        actor, due = self._actor(), time.monotonic()
        await self._send(connection, pack(self.metadata))
        while True:
            async with asyncio.timeout(self._limits.patience):
                message = await connection.recv()
            reply = await self._reply(connection, actor, message)
            due = max(due, time.monotonic() - 1) + 1 / self._limits.rate  # a second's worth of messages may come at once
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._send(connection, reply)

    async def _send(self, connection: ServerConnection, message: bytes | str) -> None:
        async with asyncio.timeout(self._limits.patience):
            await connection.send(message)

    async def _reply(self, connection: ServerConnection, actor: Actor, message: bytes | str) -> bytes | str:
        """Return the answer to a message: bytes, or a text for an error."""
        try:
            if isinstance(message, str):
                raise ValueError("The message is a text; send a msgpack map with numpy arrays, as openpi's client does.")
            content = unpack(message)
            if "__ctrl__" in content:
                if content["__ctrl__"] == "episode_start":
                    actor.reset()
                return pack({"__ack__": content["__ctrl__"] if content["__ctrl__"] in ("episode_start", "episode_end") else "ignored"})
            return await self._decide(connection, actor, content)
        except ValueError as error:
            return str(error)
        except ConnectionClosed:
            raise
        except Exception as error:  # the policy of a user may raise anything; the next request may be well
            return f"The policy failed with {in_words(error)}."

    async def _decide(self, connection: ServerConnection, actor: Actor, observation: dict[str, Any]) -> bytes:
        """Return the reply to an observation; the policy runs in its own thread, so that other clients are heard meanwhile."""
        prompt = observation.get(PROMPT)
        if not isinstance(prompt, str) or not 0 < len(prompt) <= LONGEST:
            raise ValueError(f"The observation needs {PROMPT!r}, an instruction of 1 to {LONGEST} characters.")

        def infer() -> bytes:
            began = time.perf_counter()
            actions = np.stack([np.asarray(actor.actions.to_env(action)) for action in actor.decide(observation, prompt)])
            return pack({"actions": actions, "server_timing": {"infer_ms": 1000 * (time.perf_counter() - began)}})

        work, gone = asyncio.get_running_loop().run_in_executor(self._thread, infer), asyncio.ensure_future(connection.wait_closed())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise connection.protocol.close_exc
            return work.result()
        finally:
            work.cancel()  # takes it out of the queue, if it has not begun
            gone.cancel()


def metadata(actor: Actor) -> dict[str, Any]:
    """Return what the server tells each client first."""
    env, actions = actor.env, actor.actions
    return {
        "policy": actor.model.name,
        "cameras": list(env.sources),  # keys of an observation, each with a picture [h, w, 3]
        "picture_values": {name: actor.spec(name).description()["values"] for name in env.sources},  # black and white; None: 0, and 255 or 1.0
        "image_size": env.size,  # pixels; other sizes are resized
        "state": list(keys(env.state)) if actor.model.config.state else [],  # keys of the proprioception, in the order in which they are joined
        "prompt": PROMPT,  # key of the instruction
        "actions_per_reply": actor.model.chunk * env.action_repeat,  # one for each environment step until the next request
        "action_low": actions.low,
        "action_high": actions.high,
    }
