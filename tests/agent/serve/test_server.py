"""The policy server: an openpi client gets the decisions of `policy.act`, and bad clients cost nobody else anything."""

import asyncio
import pickle
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import gymnasium
import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

import etude
from agent.actor import Actor
from agent.serve.messages import pack, unpack
from agent.serve.server import Limits, PolicyServer
from tests.agent.runs import make
from tests.agent.serve.client import Client, packed

LIMITS = Limits(mib=1, rate=200, patience=2, clients=6)


class Served:
    """A server in a thread of its own."""

    def __init__(self, actor: Any, limits: Limits) -> None:
        self.lines: list[str] = []
        self.server, self.loop = PolicyServer(actor, limits, self.lines.append), asyncio.new_event_loop()
        self.stop, ready = asyncio.Event(), threading.Event()

        async def run() -> None:
            async with await self.server.start("127.0.0.1", 0) as started:
                self.port = started.sockets[0].getsockname()[1]
                ready.set()
                await self.stop.wait()

        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(run()))
        self.thread.start()
        ready.wait()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Actor:
    run = tmp_path_factory.mktemp("served") / "run"
    make(run, policy={"batch_size": 1})
    return etude.load_policy(run)


@pytest.fixture(scope="module")
def served(policy: Actor) -> Iterator[Served]:
    server = Served(lambda: Actor(policy.model, policy.env, policy.actions), LIMITS)
    yield server
    server.close()


def observation(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    pictures = {name: rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for name in ("front", "wrist")}
    return {**pictures, "prompt": "touch the red ball"}


def test_a_client_gets_the_episode_of_policy_act(policy: Actor, served: Served) -> None:
    client, env = Client("127.0.0.1", served.port), gymnasium.make("etude/Reach-v0")
    assert client.metadata["cameras"] == ["front", "wrist"] and client.metadata["actions_per_reply"] == 4
    (seen, info), (own, _) = env.reset(seed=30_000_001), ({}, {})
    policy.reset()
    for _ in range(3):
        reply = client.infer({name: seen[name] for name in ("front", "wrist")} | {"prompt": info["instruction"]})
        assert reply["actions"].shape == (4, 3) and reply["server_timing"]["infer_ms"] > 0
        for action in reply["actions"]:
            own = policy.act(seen, info["instruction"])
            np.testing.assert_array_equal(action, own)
            seen, *_ = env.step(action)
    client.close()


def test_health_and_episode_start(served: Served) -> None:
    assert urllib.request.urlopen(f"http://127.0.0.1:{served.port}/healthz").read() == b"OK\n"
    client = Client("127.0.0.1", served.port)
    assert client.ask(packed({"__ctrl__": "episode_start"})) == {"__ack__": "episode_start"}
    client.close()


def without(name: str) -> bytes:
    return packed({key: value for key, value in observation().items() if key != name})


def array(changes: dict[bytes, Any]) -> bytes:
    return msgpack.packb({"front": {b"__ndarray__": True, b"data": b"0" * 12, b"dtype": "|u1", b"shape": [2, 2, 3], **changes}, "prompt": "x"})


MALFORMED: dict[str, tuple[bytes | str, str]] = {
    "text": ("hello", "The message is a text"),
    "nothing": (b"", "cannot be read"),
    "cut off": (packed(observation())[:-5], "cannot be read"),
    "noise": (np.random.default_rng(0).bytes(300), "message"),
    "pickle": (pickle.dumps({"prompt": "x"}), "message"),
    "no map": (msgpack.packb([1, 2]), "The message is a list"),
    "deep": (b"\x91" * 5000, "cannot be read"),
    "long list": (msgpack.packb([0] * 5000), "cannot be read"),
    "objects": (array({b"dtype": "|O"}), "and not '|O'"),
    "text array": (array({b"dtype": "<U3"}), "and not '<U3'"),
    "a claim of 8 GB": (array({b"shape": [2**33]}), "does not have 12 bytes"),
    "negative": (array({b"shape": [-2, -2, 3]}), "does not have 12 bytes"),
    "many dimensions": (array({b"shape": [1] * 60}), "does not have 12 bytes"),
    "array without a shape": (msgpack.packb({"front": {b"__ndarray__": True}}), "cannot be read"),
    "no prompt": (without("prompt"), "needs 'prompt'"),
    "no camera": (without("wrist"), "add 'wrist' to it"),
    "no picture": (packed(observation() | {"front": np.zeros((2, 2), np.uint8)}), "is not an image"),
    "bright": (packed(observation() | {"front": np.full((64, 64, 3), 7.0)}), "floats must lie in"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_message_is_answered_by_a_sentence_and_the_next_one_served(served: Served, kind: str) -> None:
    message, says = MALFORMED[kind]
    client = Client("127.0.0.1", served.port)
    with pytest.raises(RuntimeError, match=says.replace("|", r"\|")) as told:
        client.ask(message)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500
    assert client.infer(observation())["actions"].shape == (4, 3)
    client.close()


def test_a_message_comes_back_as_it_was() -> None:
    content = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float64(0.5), "c": [1, "x", None], "d": {"e": np.zeros((0, 3), bool)}}
    back = unpack(pack(content))
    np.testing.assert_array_equal(back["a"], content["a"])
    assert back["b"] == 0.5 and back["c"] == [1, "x", None] and back["d"]["e"].shape == (0, 3)


def test_an_oversized_message_ends_its_connection_alone(served: Served) -> None:
    good, bad = Client("127.0.0.1", served.port), Client("127.0.0.1", served.port)
    with pytest.raises(ConnectionClosed, match="1009"):
        bad.ask(b"0" * 2**21)
    assert good.infer(observation())["actions"].shape == (4, 3)
    good.close()


def test_slow_clients_are_closed_and_others_served_meanwhile(served: Served) -> None:
    good, silent = Client("127.0.0.1", served.port), Client("127.0.0.1", served.port)
    half = socket.create_connection(("127.0.0.1", served.port))  # a handshake that never ends
    half.sendall(b"GET / HTTP/1.1\r\n")
    part = Client("127.0.0.1", served.port)  # a frame of which only the head comes
    part.connection.socket.sendall(b"\x82\xfe\x10\x00")
    until, count = time.monotonic() + LIMITS.patience + 1, 0
    while time.monotonic() < until:
        count += good.infer(observation(count))["actions"].shape == (4, 3)
        time.sleep(0.05)
    assert count > 5
    for client in (silent, part):
        with pytest.raises(ConnectionClosed):
            client.connection.recv(timeout=10)
    assert sum("closed" in line for line in served.lines) >= 2
    half.close()
    good.close()


def test_a_handshake_that_comes_to_nothing_prints_nothing(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    for said in (b"", b"GET / HTTP/1.1\r\n", b"\x00" * 100, b"POST / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", served.port)) as broken:
            broken.sendall(said)
    client = Client("127.0.0.1", served.port)
    assert client.infer(observation())["actions"].shape == (4, 3)
    client.close()
    assert not caplog.records


def test_too_many_clients_are_refused_and_admitted_when_others_go(served: Served) -> None:
    until = time.monotonic() + 10
    clients: list[Client] = []
    while len(clients) < LIMITS.clients and time.monotonic() < until:  # those of other tests are leaving
        clients.append(Client("127.0.0.1", served.port))
    with pytest.raises(InvalidStatus, match="503"):
        Client("127.0.0.1", served.port)
    for client in clients:
        client.close()
    time.sleep(0.5)
    Client("127.0.0.1", served.port).close()


def test_faster_messages_than_the_rate_wait(policy: Actor) -> None:
    server = Served(lambda: Actor(policy.model, policy.env, policy.actions), Limits(rate=10, patience=10))
    client, began = Client("127.0.0.1", server.port), time.monotonic()
    for _ in range(25):  # ten at once, then ten a second
        client.ask(packed({"__ctrl__": "episode_start"}))
    assert time.monotonic() - began > 1.3
    client.close()
    server.close()


def test_requests_of_clients_that_have_gone_are_not_computed(policy: Actor) -> None:
    computed: list[int] = []

    class Slow(Actor):
        def decide(self, observation: Any, instruction: str) -> Any:
            computed.append(1)
            time.sleep(0.2)
            return super().decide(observation, instruction)

    server = Served(lambda: Slow(policy.model, policy.env, policy.actions), Limits(patience=20))
    for _ in range(15):
        client = Client("127.0.0.1", server.port)
        client.connection.send(packed(observation()))
        client.connection.socket.shutdown(socket.SHUT_RDWR)  # dropped, without a closing handshake
    last = Client("127.0.0.1", server.port)
    assert last.infer(observation())["actions"].shape == (4, 3)
    assert len(computed) < 15
    last.close()
    server.close()


def test_a_policy_that_fails_is_told_and_asked_again(policy: Actor) -> None:
    class Fragile(Actor):
        def decide(self, observation: Any, instruction: str) -> Any:
            if instruction == "break":
                raise RuntimeError("out of memory")
            return super().decide(observation, instruction)

    server = Served(lambda: Fragile(policy.model, policy.env, policy.actions), LIMITS)
    client = Client("127.0.0.1", server.port)
    with pytest.raises(RuntimeError, match=r"The policy failed with .*out of memory"):
        client.infer(observation() | {"prompt": "break"})
    assert client.infer(observation())["actions"].shape == (4, 3)
    client.close()
    server.close()
