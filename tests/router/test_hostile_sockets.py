"""Sockets that are slow, half closed, reset, or opened and left alone: no answer lost, nobody else disturbed."""

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from dormouse_router import listener
from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Exchange, Serve, Stage, chat_chunk, model, speak, stage, until
from tests.router.wire import BODY, CLOSE, POST, bad, good_client, in_pieces, raw, rest, sized, statuses

pytestmark = pytest.mark.slow

STREAMED = BODY.replace(b"{", b'{"stream": true, ', 1)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="uvicorn.error")


def in_flight(world: Stage) -> int:
    return sum(lane.in_flight for lane in world.router.plane.lanes.values())


LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
"""What the end of a socket looks like is the loop's: the tests' own, and the one that the router runs on."""


@contextlib.asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[Stage]:
    engine = Engine(serve)
    await engine.start()
    async with stage() as world:
        await world.awake(engine)
        yield world
    await engine.stop()


@LOOPS
@pytest.mark.parametrize("body", [BODY, STREAMED], ids=["whole", "stream"])
def test_a_client_that_closes_its_side_gets_its_answer(
    new_loop: Callable[[], asyncio.AbstractEventLoop], body: bytes
) -> None:
    """As `nc -N` does: the request, then the end of what is sent, then reading."""

    async def told() -> bytes:
        go_on = asyncio.Event()

        async def slow(exchange: Exchange) -> None:
            await go_on.wait()
            await speak(exchange)

        async with served(slow) as world, raw(world) as (reader, writer):
            writer.write(sized(body))
            writer.write_eof()
            await until(lambda: in_flight(world) == 1)
            await asyncio.sleep(0.2)  # long enough for it to be taken for one that has left
            go_on.set()
            return await rest(reader)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        answer = runner.run(told())
    assert statuses(answer)[-1] == 200
    assert set(statuses(answer)[:-1]) <= {100}
    assert b"Par" in answer
    assert answer.endswith(b"}" if body is BODY else b"[DONE]\n\n\r\n0\r\n\r\n")


async def test_a_held_client_that_closes_its_side_gets_its_answer(world: Stage, engine: Engine) -> None:
    await world.asleep()
    async with raw(world) as (reader, writer):
        writer.write(sized(BODY))
        writer.write_eof()
        await until(lambda: world.router.plane.hold.bytes > 0)
        await asyncio.sleep(0.2)
        world.ready(engine)
        assert statuses(await rest(reader))[-1] == 200


async def test_pipelined_requests_of_a_client_that_closes_its_side_are_all_answered(
    world: Stage, engine: Engine
) -> None:
    await world.awake(engine)
    async with raw(world) as (reader, writer):
        writer.write(sized(BODY) * 3)
        writer.write_eof()
        assert [status for status in statuses(await rest(reader)) if status != 100] == [200] * 3


async def test_a_client_of_http_1_0_that_closes_its_side_is_sent_no_interim_answer(
    world: Stage, make_engine: MakeEngine
) -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.3)
        await speak(exchange)

    await world.awake(await make_engine(slow))
    async with raw(world) as (reader, writer):
        writer.write(sized(BODY, start=POST.replace(b"1.1", b"1.0")))
        writer.write_eof()
        assert statuses(await rest(reader)) == [200]


async def test_a_client_that_closes_its_side_within_its_body_is_forgotten(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    async with good_client(world):
        for cut in (5, len(POST), len(sized(BODY)) - 3):
            async with raw(world) as (reader, writer):
                writer.write(sized(BODY)[:cut])
                writer.write_eof()
                assert 200 not in statuses(await rest(reader))
    await until(lambda: world.router.app.lives.count == 0)
    assert bad(engine) == []


@LOOPS
@pytest.mark.parametrize("body", [BODY, STREAMED], ids=["whole", "stream"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_is_noticed_within_100_ms(
    new_loop: Callable[[], asyncio.AbstractEventLoop], body: bytes, how: str
) -> None:
    async def noticed() -> float:
        closed: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        async def endless(exchange: Exchange) -> None:
            await exchange.closed()
            closed.set_result(time.monotonic())

        async with served(endless) as world:
            with socket.create_connection(("127.0.0.1", world.router.port)) as client:
                client.sendall(sized(body))
                await until(lambda: in_flight(world) == 1)
                await asyncio.sleep(0.08)  # older than the age from which clients are watched
                if how == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                left = time.monotonic()
                client.close()
            async with asyncio.timeout(5):
                at = await closed
            await until(lambda: in_flight(world) == 0 and world.router.connections == 0)
            return at - left

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(noticed()) < 0.1


async def test_resets_in_the_middle_leave_nothing_behind(world: Stage, make_engine: MakeEngine) -> None:
    async def slow(exchange: Exchange) -> None:
        if exchange.json.get("stream"):
            await exchange.stream_head()
            for _ in range(20):
                await exchange.event(chat_chunk("word"))
                await asyncio.sleep(0.01)
            await exchange.finish()
        else:
            await speak(exchange)

    await world.awake(await make_engine(slow))
    request = sized(STREAMED)
    async with good_client(world):
        for cut in [*range(1, len(request), 23), len(request)]:
            async with raw(world) as (_, writer):
                writer.write(request[:cut])
                await writer.drain()
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    await until(lambda: world.router.connections == 0)
    await until(lambda: world.router.app.lives.count == 0 and in_flight(world) == 0)


async def test_slow_heads_and_slow_bodies_end_and_disturb_nobody(
    monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    """A few bytes now and then: a head has one deadline for all of it, a body one for each silence and a least pace."""
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.3)

    async def drip(world: Stage, start: bytes, drops: bytes, size: int = 1) -> list[int]:
        async with raw(world) as (reader, writer):
            writer.write(start)
            ended = asyncio.create_task(rest(reader))
            for drop in in_pieces(drops, size):
                if ended.done():
                    break
                writer.write(drop)
                await asyncio.sleep(0.05)
            return statuses(await ended)

    async with stage(body_timeout=0.3) as world:
        await world.awake(engine)
        async with good_client(world):
            heads = [drip(world, POST, b"x: y\r\n" * 100) for _ in range(20)]
            bodies = [drip(world, POST + b"content-length: 1000\r\n\r\n", b"{") for _ in range(20)]
            slow_but_sure = [drip(world, POST + CLOSE + b"content-length: %d\r\n\r\n" % len(BODY), BODY, 8)]
            got = await asyncio.gather(*heads, *bodies, *slow_but_sure)
        assert got == [[408]] * 40 + [[200]]
        await until(lambda: world.router.connections == 0)
    assert bad(engine) == [BODY]


async def test_a_slow_head_behind_an_answer_does_not_cut_it(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.2)
    async with stage() as world:
        await world.asleep()
        async with raw(world) as (reader, writer):
            writer.write(sized(BODY) + POST)
            await until(lambda: world.router.plane.hold.bytes > 0)
            await asyncio.sleep(0.4)
            world.ready(engine)
            assert statuses(await rest(reader)) == [200, 408]


async def test_many_connections_of_one_rude_client_do_not_wake_or_hold_anything(world: Stage) -> None:
    await world.asleep(model())
    opened = [await asyncio.open_connection("127.0.0.1", world.router.port) for _ in range(300)]
    for _, writer in opened:
        writer.write(sized(BODY)[:-1])
    await until(lambda: world.router.app.lives.count == 300)
    for _, writer in opened:
        writer.transport.abort()
    await until(lambda: world.router.app.lives.count == 0 and world.router.connections == 0)
    assert (world.cluster.writes, world.cluster.reads) == ([], 0)
