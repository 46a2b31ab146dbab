"""`etude serve`: a policy as a websocket server with openpi's client protocol."""

import asyncio

from agent.verbs.usage import Usage, seconds, whole

SAYS = """Serve a trained policy over websockets, with openpi's client protocol (msgpack messages, no pickle).

A client sends pictures under the cameras' names, the instruction under "prompt", and gets the actions of the next decision, one for each
environment step until it asks again. The first message of the server says which cameras, sizes and actions. GET /healthz says OK.
There is no password: listen at another address than this machine's only inside a network that you trust."""


def serve(arguments: list[str]) -> None:
    """Run the verb."""
    usage = Usage("serve", SAYS, "etude serve runs/slide --port 8000")
    what = usage.add_argument_group("what")
    what.add_argument("policy", metavar="POLICY", help="a run, a checkpoint in a run (RUN/cycle-003), or an exported folder or its hub id")
    what.add_argument("--device", default="", help="torch device (that of the run)")
    place = usage.add_argument_group("where")
    place.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    place.add_argument("--port", type=whole(most=65_535), default=8000, help="(8000); 0: any free one")
    limits = usage.add_argument_group("limits of a client")
    limits.add_argument("--message-mib", metavar="N", type=whole(1), default=8, help="longest message, MiB (8)")
    limits.add_argument("--rate", metavar="N", type=whole(1), default=100, help="messages a second; faster ones wait (100)")
    limits.add_argument("--patience", metavar="SECONDS", type=seconds, default=60.0, help="to send a message or to read a reply (60)")
    limits.add_argument("--clients", metavar="N", type=whole(1), default=32, help="at a time (32)")
    given, _ = usage.read(arguments)

    try:
        from agent.serve.server import Limits, PolicyServer
    except ModuleNotFoundError as error:
        raise ValueError(f"The server needs websockets and msgpack ({error}): pip install 'etude[serve]'.") from error
    import policies
    from agent.actor import Actor, load_actor
    from agent.source import find

    # Anything that can be refused is refused here, before the port is opened.
    source = find(given.policy).on(given.device)
    policies.set_threads(source.config.threads)
    actor = load_actor(source)
    chosen = Limits(given.message_mib, given.rate, given.patience, given.clients)
    # An actor for each client, since frame history is its own. All of them share the model.
    server = PolicyServer(lambda: Actor(actor.model, actor.env, actor.actions, source), chosen, lambda line: print(line, flush=True))

    async def run() -> None:
        async with await server.start(given.host, given.port) as started:
            address = started.sockets[0].getsockname()
            print(f"serving {given.policy} at ws://{address[0]}:{address[1]}; Ctrl-C ends it", flush=True)
            await started.serve_forever()

    try:
        asyncio.run(run())
    except OSError as error:
        raise ValueError(f"{given.host}:{given.port} cannot be listened at ({error.strerror}); choose another --host or --port.") from error
