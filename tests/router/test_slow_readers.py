"""Clients that take nothing of what is sent to them: they hold an engine for a while, and not for ever."""

import asyncio

import pytest

from tests.router.conftest import MakeEngine
from tests.router.fakes import Exchange, chat_chunk, stage, until
from tests.router.wire import BODY, raw, rest, sized

pytestmark = pytest.mark.slow

STREAMED = BODY.replace(b"{", b'{"stream": true, ', 1)
PIECE = b"data: " + b"x" * 100_000 + b"\n\n"


async def flood(exchange: Exchange) -> None:
    await exchange.stream_head()
    while True:
        await exchange.chunk(PIECE)


async def test_a_client_that_takes_nothing_gives_its_engine_back(make_engine: MakeEngine) -> None:
    async with stage(write_timeout=0.2) as world:
        engine = await make_engine(flood)
        await world.awake(engine)
        async with raw(world) as (reader, writer):
            writer.write(sized(STREAMED))
            await reader.readuntil(b"data: ")
            await until(lambda: world.router.connections == 0)
            await until(lambda: not engine.open)
            assert all(lane.in_flight == 0 for lane in world.router.plane.lanes.values())
            assert not (await rest(reader)).endswith(b"0\r\n\r\n")


async def some(exchange: Exchange) -> None:
    await exchange.stream_head()
    for _ in range(200):
        await exchange.chunk(PIECE)
    await exchange.event(chat_chunk("the end"))
    await exchange.finish()


async def test_an_engine_that_waits_for_its_client_is_not_silent(make_engine: MakeEngine) -> None:
    async with stage() as world:
        await world.awake(await make_engine(some))
        pool = world.router.plane.pool
        async with raw(world) as (reader, writer):
            writer.write(sized(STREAMED))
            await until(lambda: any(connection.paused for connection in pool.busy))
            pool.close_silent()
            pool.close_silent()  # what was as it is at the look before would be given up
            assert b"[DONE]" in await ending(reader)


async def ending(reader: asyncio.StreamReader) -> bytes:
    """The last bytes of a chunked answer."""
    said = b""
    async with asyncio.timeout(20):
        while not said.endswith(b"0\r\n\r\n") and (part := await reader.read(500_000)):
            said = said[-200:] + part
    return said


async def test_a_client_that_reads_now_and_then_keeps_its_stream(make_engine: MakeEngine) -> None:
    async with stage(write_timeout=1.5) as world:
        await world.awake(await make_engine(some))
        async with raw(world) as (reader, writer):
            writer.write(sized(STREAMED))
            said = b""
            while part := await reader.read(500_000):
                said = said[-20:] + part
                await asyncio.sleep(0.05)
                if said.endswith(b"0\r\n\r\n"):
                    break
            assert b"[DONE]" in said
