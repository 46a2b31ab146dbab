"""The policy server: its latency beside `policy.act` in the same process, and what a thousand bad requests cost.

    python benchmarks/serve.py                 # writes docs/results/serve.json, and the table in docs/use.md
    python benchmarks/serve.py --policy RUN    # of a run instead of the untrained embedded model

Latency: one decision in process and one over the websocket, in turn, so that both see the same load; medians of wall time and of processor time.
The server and the client share this process, so the processor time of a served decision has both sides in it.
Bad requests: malformed, oversized, dropped and slow ones in turn, while a good client goes on; memory of the process before and after.
"""

import asyncio
import json
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import tyro
from rollout import RESULTS, fill, machine
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import policies
from agent.actor import Actor, load_actor
from agent.records import SEEDS
from agent.rollout.environments import Environments
from agent.serve.messages import pack, unpack
from agent.serve.server import Limits, PolicyServer
from agent.source import find

MARKS = "<!-- serve: begin (python benchmarks/serve.py) -->", "<!-- serve: end -->"
LIMITS = Limits(mib=1, rate=1000, patience=2, clients=64)


def main(policy: str = "nano", decisions: int = 200, bad: int = 1000) -> None:
    """Measure, and write the results.

    Args:
        policy: a run; or `nano`, which is asked for actions of Reach.
        decisions: of each side.
        bad: number of bad requests.
    """
    actor = _actor(policy)
    policies.set_threads(1)  # the server's thread and this one: two threads each would be more than the machine has
    port, stop = _start(PolicyServer(lambda: Actor(actor.model, actor.env, actor.actions), LIMITS))
    result = {"policy": policy, "limits": vars(LIMITS), "latency": latency(actor, port, decisions), "bad": abuse(port, bad), "machine": machine()}
    stop()
    (RESULTS / "serve.json").write_text(json.dumps(result, indent=1) + "\n")
    fill(RESULTS.parent / "use.md", MARKS, table(result))


def table(result: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    times, bad = result["latency"], result["bad"]
    answers = ", ".join(f"{count} {kind}" for kind, count in bad["as_expected"].items())
    rows = {
        f"a decision by `policy.act`, median of {times['decisions']}": f"{times['act']['wall_ms']:.1f} ms",
        "the same over the websocket, both sides on one machine": f"{times['served']['wall_ms']:.1f} ms",
        "ratio of wall time, of processor time": f"{times['ratio']['wall']:.2f}, {times['ratio']['processor']:.2f}",
        f"bad requests answered as they should be, of {sum(bad['sent'].values())}": answers,
        "memory of the process after the first fifth, and at the end": f"{bad['memory_mib'][0]:g} MiB, {bad['memory_mib'][-1]:g} MiB",
        "decisions of a good client meanwhile; errors": f"{bad['good']}; {len(bad['good_errors'])}",
    }
    return "\n".join(["| measured | result |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _actor(name: str) -> Actor:
    source = find(name)
    if source.actions:
        return load_actor(source)
    source = source.within("etude/Reach-v0", ["--policy.batch_size", "1"])
    environments = Environments(source.config.envs, 1)
    actions = environments.actions
    environments.close()
    return Actor(source.load(actions), source.config.envs[0], actions)


def _start(server: PolicyServer) -> tuple[int, Callable[[], None]]:
    """Run a server in a thread; return its port, and a function that ends it."""
    loop, ready, port = asyncio.new_event_loop(), threading.Event(), [0]
    stop = asyncio.Event()

    async def run() -> None:
        async with await server.start("127.0.0.1", 0) as started:
            port[0] = next(iter(started.sockets)).getsockname()[1]
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    ready.wait()
    return port[0], lambda: (loop.call_soon_threadsafe(stop.set), thread.join())[1]


def _observation(seed: int, cameras: tuple[str, ...], size: int) -> dict[str, Any]:
    rng = np.random.default_rng(SEEDS["test"] + seed)  # new frames each time: a cache of image tokens would hide the model
    return {name: rng.integers(0, 255, (size, size, 3), dtype=np.uint8) for name in cameras} | {"prompt": "touch the red ball"}


def latency(actor: Actor, port: int, decisions: int) -> dict[str, Any]:
    """Return the medians, milliseconds, of a decision in process and of one over the websocket, and their ratios."""
    own, times = Actor(actor.model, actor.env, actor.actions), {"act": [], "served": []}
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as connection:
        connection.recv()

        def served(observation: dict[str, Any]) -> Any:
            connection.send(pack(observation))
            return unpack(connection.recv())["actions"]  # type: ignore[arg-type]

        def act(observation: dict[str, Any]) -> Any:
            own.reset()
            return own.act(observation, observation["prompt"])

        for i in range(2 * decisions + 20):  # the first ones warm up
            side, ask = ("act", act) if i % 2 else ("served", served)
            observation = _observation(i, actor.env.sources, actor.env.size)
            began = time.perf_counter(), time.process_time()
            ask(observation)
            if i >= 20:
                times[side].append((1000 * (time.perf_counter() - began[0]), 1000 * (time.process_time() - began[1])))
    medians = {side: [statistics.median(column) for column in zip(*rows, strict=True)] for side, rows in times.items()}
    ratios = [served / alone for served, alone in zip(medians["served"], medians["act"], strict=True)]
    names = ("wall_ms", "processor_ms")
    return {side: dict(zip(names, values, strict=True)) for side, values in medians.items()} | {
        "ratio": dict(zip(("wall", "processor"), ratios, strict=True)),
        "decisions": decisions,
    }


def abuse(port: int, count: int) -> dict[str, Any]:
    """Return what bad requests cost: memory, and the latency of a good client meanwhile.

    All good requests have the same frames: image tokens of new ones would fill the policy's cache, which is no cost of bad requests.
    """
    kinds = {"malformed": _malformed, "oversized": _oversized, "dropped": _dropped, "slow": _slow}
    held: list[Any] = []  # sockets of slow clients, which the server closes
    good, errors, done = [], [], threading.Event()

    def valid() -> None:
        try:
            with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as connection:
                connection.recv()
                while not done.is_set():
                    began = time.perf_counter()
                    connection.send(pack(_observation(0, ("front", "wrist"), 64)))
                    assert unpack(connection.recv(timeout=60))["actions"].shape == (4, 3)  # type: ignore[arg-type]
                    good.append(1000 * (time.perf_counter() - began))
                    time.sleep(0.02)
        except Exception as error:
            errors.append(repr(error))

    client = threading.Thread(target=valid)
    client.start()
    memory, sent, answered = [], dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
    for i in range(count + count // 5):  # the first fifth warms up: threads, caches and pools of memory
        kind = list(kinds)[i % len(kinds)]
        sent[kind] += 1
        answered[kind] += kinds[kind](port, i, held)
        if i >= count // 5 and i % (count // 10) == 0:
            memory.append(_resident())
        while len(held) > 30:  # the server closes them after its patience
            held.pop(0).close()
    time.sleep(2 * LIMITS.patience)
    memory.append(_resident())
    done.set()
    client.join()
    for each in held:
        each.close()
    median = statistics.median(good)
    return {"sent": sent, "as_expected": answered, "memory_mib": memory, "good": len(good), "good_median_ms": median, "good_errors": errors}


def _malformed(port: int, i: int, held: list[Any]) -> bool:
    """Send noise, a cut or a lying message; return whether a text came back."""
    whole = pack(_observation(i, ("front", "wrist"), 64))
    lie = bytes(msgpack.packb({"front": {b"__ndarray__": True, b"data": b"0", b"dtype": "|O", b"shape": [2**40]}, "prompt": "x"}) or b"")
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as connection:
        connection.recv()
        connection.send((np.random.default_rng(i).bytes(500), whole[: len(whole) // 2], lie, "text")[i // 4 % 4])
        return isinstance(connection.recv(), str)


def _oversized(port: int, i: int, held: list[Any]) -> bool:
    """Send a message of twice the limit; return whether the connection was closed for it."""
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as connection:
        connection.recv()
        try:
            connection.send(b"0" * int(2 * LIMITS.mib * 2**20))
            connection.recv()
        except ConnectionClosed as error:
            return error.rcvd is not None and error.rcvd.code == 1009
    return False


def _dropped(port: int, i: int, held: list[Any]) -> bool:
    """Send a good request and drop the connection at once."""
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as connection:
        connection.recv()
        connection.send(pack(_observation(0, ("front", "wrist"), 64)))
        connection.socket.shutdown(socket.SHUT_RDWR)
    return True


def _slow(port: int, i: int, held: list[Any]) -> bool:
    """Begin a handshake and never end it."""
    held.append(socket.create_connection(("127.0.0.1", port)))
    held[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
    return True


def _resident() -> float:
    """Return the resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


if __name__ == "__main__":
    tyro.cli(main)
