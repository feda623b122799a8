"""A router that is told to stop loses no request: not ready, still serving, each answer the last of its connection,
then no new connections, then the open answers finish.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx

from tests.router.conftest import MakeEngine
from tests.router.fakes import SETTINGS, Stage, endless, in_two, speak, until
from tests.router.wire import BODY, CHAT, PATIENCE, POST, raw, rest, sized, statuses

STREAMED = BODY.replace(b"{", b'{"stream": true, ', 1)


@contextlib.asynccontextmanager
async def stoppable(make_engine: MakeEngine, serve: Any = speak, **settings: Any) -> AsyncIterator[Stage]:
    """A router with an awake model, to be stopped by its test; it must have ended by the end."""
    made = Stage(replace(SETTINGS, **settings))
    running = asyncio.create_task(made.router.run(made.stop))
    await made.awake(await make_engine(serve))
    yield made
    made.stop.set()
    async with asyncio.timeout(PATIENCE):
        await running


def listens(world: Stage) -> bool:
    server = world.router._main._server
    return server is not None and server.is_serving()


async def test_while_the_cluster_notices_it_serves_and_sends_its_clients_away(make_engine: MakeEngine) -> None:
    async with stoppable(make_engine, drain_delay=1.0) as world, raw(world) as (reader, writer):
        writer.write(sized(BODY))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" not in head.lower()
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        world.stop.set()
        async with httpx.AsyncClient() as client:
            await until(lambda: world.router.unready() is not None)
            assert (await client.get(f"{world.ops}/readyz")).status_code == 503
            assert (await client.get(f"{world.ops}/livez")).status_code == 200
            fresh = await client.post(world.url + CHAT, content=BODY)
            assert (fresh.status_code, fresh.headers["connection"]) == (200, "close")
        writer.write(sized(BODY))  # on the connection kept from before
        answer = await rest(reader)
        assert statuses(answer) == [200]
        assert b"connection: close" in answer.lower()


async def test_clients_that_keep_connections_and_clients_that_do_not_lose_no_call(make_engine: MakeEngine) -> None:
    """Two routers behind one address, as a Service has them: clients go to the other when one says close."""
    served = 0

    async def call(client: httpx.AsyncClient, worlds: list[Stage]) -> None:
        nonlocal served
        world = next(world for world in worlds if world.router.unready() is None)
        answer = await client.post(world.url + CHAT, content=BODY)
        assert answer.status_code == 200
        served += 1

    async def calls(worlds: list[Stage], keep: bool, stop: asyncio.Event) -> None:
        limits = httpx.Limits(max_keepalive_connections=None if keep else 0)
        async with httpx.AsyncClient(limits=limits) as client:
            while not stop.is_set():
                await call(client, worlds)

    async with stoppable(make_engine) as other, stoppable(make_engine, drain_delay=0.3) as world:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(calls([world, other], number % 2 == 0, stop))
            await until(lambda: served > 50)
            world.stop.set()
            await until(lambda: not listens(world))
            await until(lambda: world.router.connections == 0)
            before = served
            await until(lambda: served > before + 50)
            stop.set()


async def test_a_request_on_its_way_is_served(make_engine: MakeEngine) -> None:
    """Its head had begun to arrive when the router closed its door."""
    request = sized(BODY)
    async with stoppable(make_engine) as world, raw(world) as (reader, writer), raw(world) as (again, kept):
        kept.write(sized(BODY))
        head = await again.readuntil(b"\r\n\r\n")
        await again.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        for each in (writer, kept):
            each.write(request[: len(POST) - 2])
        await until(lambda: world.router.connections == 2)
        await asyncio.sleep(0.05)
        world.stop.set()
        await until(lambda: not listens(world))
        for each in (writer, kept):
            each.write(request[len(POST) - 2 :])
        assert [statuses(await rest(each)) for each in (reader, again)] == [[200], [200]]


async def test_who_had_just_connected_is_served(make_engine: MakeEngine) -> None:
    """Nodes notice late that a router goes: a connection may be new, and its first request on the way."""
    async with stoppable(make_engine) as world, raw(world) as (reader, writer):
        await until(lambda: world.router.connections == 1)
        world.stop.set()
        await until(lambda: not listens(world))
        await asyncio.sleep(0)  # the moment in which it was taken for idle
        writer.write(sized(BODY))
        answer = await rest(reader)
        assert statuses(answer) == [200]
        assert b"connection: close" in answer.lower()


async def test_streams_finish_and_idle_connections_do_not_hold_it_up(make_engine: MakeEngine) -> None:
    go_on = asyncio.Event()

    async with (
        stoppable(make_engine, in_two(go_on)) as world,
        raw(world) as (reader, writer),
        raw(world) as (silent, _),
    ):
        writer.write(sized(STREAMED))
        await reader.readuntil(b"Par")
        world.stop.set()
        async with asyncio.timeout(PATIENCE):
            assert await silent.read() == b""
        assert world.router.app.lives.count == 1
        go_on.set()
        assert (await rest(reader)).endswith(b"[DONE]\n\n\r\n0\r\n\r\n")


async def test_a_stream_that_outlives_the_drain_is_seen_to_be_cut(make_engine: MakeEngine) -> None:
    async with stoppable(make_engine, endless(), drain_seconds=0.2) as world, raw(world) as (reader, writer):
        writer.write(sized(STREAMED))
        await reader.readuntil(b"Par")
        world.stop.set()
        answer = await rest(reader)
        assert not answer.endswith(b"0\r\n\r\n")  # a client sees that chunks are missing
        assert b"[DONE]" not in answer
