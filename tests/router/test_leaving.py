"""A client that leaves, in every dialect and at every stage: within 100 ms nothing works for it any more."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Stage, endless, model, stage, until

SECONDS = 0.1
SAYS = [{"role": "user", "content": "Capital of France?"}]
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": SAYS}),
    "chat, streamed": ("/v1/chat/completions", {"messages": SAYS, "stream": True}),
    "completion, streamed": ("/v1/completions", {"prompt": "Once", "stream": True}),
    "embedding": ("/v1/embeddings", {"input": "Once"}),
    "ollama chat": ("/api/chat", {"messages": SAYS}),
    "ollama chat, whole": ("/api/chat", {"messages": SAYS, "stream": False}),
    "ollama generate": ("/api/generate", {"prompt": "Once"}),
    "ollama embed": ("/api/embed", {"input": "Once"}),
    "response": ("/v1/responses", {"input": SAYS}),
    "response, streamed": ("/v1/responses", {"input": SAYS, "stream": True}),
    "anthropic": ("/v1/messages", {"messages": SAYS, "max_tokens": 9}),
    "anthropic, streamed": ("/v1/messages", {"messages": SAYS, "max_tokens": 9, "stream": True}),
}
CHAT = CALLS["chat"]
every_dialect = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


class Caller:
    """A client that may leave without a word."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.left = 0.0

    def leave(self) -> None:
        self.left = time.monotonic()
        self._writer.transport.abort()

    @property
    def since(self) -> float:
        """Seconds since it left."""
        return time.monotonic() - self.left


async def ask(world: Stage, call: tuple[str, dict[str, Any]]) -> Caller:
    path, body = call
    content = json.dumps({"model": "tiny", **body}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
    writer.write(head.encode() + content)
    return Caller(writer)


def counts(world: Stage) -> tuple[int, int, int, int]:
    """Calls in flight, calls held, connections in use, and requests being served."""
    lanes = world.router.plane.lanes.values()
    flying, held = sum(lane.in_flight for lane in lanes), sum(len(lane.held) for lane in lanes)
    return flying, held, len(world.router.plane.pool.busy), world.router.app.lives.count


NOTHING = (0, 0, 0, 0)


def embeds() -> Any:
    """A model with every capability."""
    return model(status={"capabilities": ["completion", "chat", "embedding"]})


@pytest.fixture
async def stuck() -> AsyncIterator[tuple[Engine, asyncio.Queue[float]]]:
    """An engine that begins a stream, if one is asked for, and says no more; and when each of its calls was ended."""
    ended: asyncio.Queue[float] = asyncio.Queue()

    engine = Engine(endless(lambda: ended.put_nowait(time.monotonic())))
    await engine.start()
    yield engine, ended
    await engine.stop()


@every_dialect
async def test_while_the_engine_works(
    world: Stage, stuck: tuple[Engine, asyncio.Queue[float]], call: tuple[str, dict[str, Any]]
) -> None:
    engine, ended = stuck
    world.cluster.add_model(embeds())
    await world.awake(engine)
    caller = await ask(world, call)
    await until(lambda: len(engine.seen) == 1)
    caller.leave()
    async with asyncio.timeout(5):
        assert await ended.get() - caller.left < SECONDS
    await until(lambda: counts(world) == NOTHING)


@every_dialect
async def test_while_it_is_held(world: Stage, call: tuple[str, dict[str, Any]]) -> None:
    await world.asleep(embeds())
    caller = await ask(world, call)
    await until(lambda: counts(world)[1] == 1)
    caller.leave()
    await until(lambda: counts(world) == NOTHING)
    assert caller.since < SECONDS
    assert world.router.plane.hold.bytes == 0
    assert len(world.cluster.writes) == 1  # the wake goes on


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """A port that neither accepts nor refuses: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port: int = listening.getsockname()[1]
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", port))
        yield port


@pytest.mark.parametrize("name", ["chat", "ollama chat", "anthropic"])
async def test_while_its_engine_is_being_connected_to(name: str) -> None:
    with deaf() as port:
        async with stage(connect_timeout=20.0) as world:
            engine = Engine()
            engine.port = port
            await world.awake(engine)
            caller = await ask(world, CALLS[name])
            await until(lambda: counts(world)[0] == 1)
            await asyncio.sleep(0.02)
            assert counts(world)[2] == 0  # not connected
            caller.leave()
            await until(lambda: counts(world) == NOTHING)
            assert caller.since < SECONDS
            found = world.router.catalog.find("tiny")
            assert found is not None
            assert [endpoint.failures for endpoint in found.endpoints] == [0]  # who leaves proves nothing


@pytest.mark.parametrize("name", ["chat", "ollama chat", "anthropic"])
async def test_while_a_large_body_is_being_sent(world: Stage, name: str) -> None:
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    engine = Engine()
    engine.port = server.sockets[0].getsockname()[1]
    await world.awake(engine)
    path, body = CALLS[name]
    large = {**body, "messages": [{"role": "user", "content": "x" * 16_000_000}]}
    caller = await ask(world, (path, large))
    async with asyncio.timeout(10):
        reader, writer = await accepted.get()
    await until(lambda: counts(world)[2] == 1)
    caller.leave()
    await until(lambda: counts(world) == NOTHING)
    assert caller.since < SECONDS
    got = 0
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(1 << 20):
            got += len(piece)
    assert got < 16_000_000  # what had not been sent was thrown away
    writer.close()
    server.close()
    await server.wait_closed()


async def test_while_a_second_engine_is_looked_for(world: Stage, make_engine: MakeEngine) -> None:
    """The first could not be reached, nobody else is there: the call waits, and its client leaves."""
    engine = await make_engine()
    await world.awake(engine)
    await engine.stop()
    caller = await ask(world, CHAT)
    await until(lambda: counts(world)[1] == 1)
    caller.leave()
    await until(lambda: counts(world) == NOTHING)
    assert caller.since < SECONDS


async def test_a_crowd_that_leaves_at_once(world: Stage, stuck: tuple[Engine, asyncio.Queue[float]]) -> None:
    engine, ended = stuck
    await world.awake(engine)
    callers = [await ask(world, CALLS["chat, streamed"]) for _ in range(100)]
    await until(lambda: len(engine.seen) == 100)
    for caller in callers:
        caller.leave()
    await until(lambda: ended.qsize() == 100 and counts(world) == NOTHING)
    assert callers[-1].since < 5 * SECONDS
    assert not engine.open
