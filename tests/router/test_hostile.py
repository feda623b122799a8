"""Clients that send what no client should: the right status, bounded memory, and no effect on anybody else."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from dormouse_router import listener
from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Exchange, Stage, speak, stage, until
from tests.router.wire import BODY, CLOSE, POST, raw, said, sized

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="uvicorn.error")


async def test_a_chunked_body_is_a_body(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), 7):
            yield BODY[start : start + 7]

    await world.awake(engine)
    assert (await client.post("/v1/chat/completions", content=pieces())).status_code == 200
    assert engine.seen[0].body == BODY


async def test_huge_chunk_extensions_do_not_grow_the_body(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    extension = b";x=" + b"y" * 200_000
    chunk = b"%x%b\r\n%b\r\n0\r\n\r\n" % (len(BODY), extension, BODY)
    answer = await said(world, POST + CLOSE + b"transfer-encoding: chunked\r\n\r\n" + chunk)
    assert answer[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 400")
    assert all(exchange.body == BODY for exchange in engine.seen)


async def test_a_chunked_body_beyond_the_limit_is_refused_on_the_way(make_engine: MakeEngine) -> None:
    async with stage(max_body=100_000) as world:
        await world.awake(await make_engine())
        async with raw(world) as (reader, writer):
            writer.write(POST + b"transfer-encoding: chunked\r\n\r\n")
            for _ in range(40):
                writer.write(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
            async with asyncio.timeout(5):
                answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_endless_headers_are_cut(world: Stage) -> None:
    async with raw(world) as (reader, writer):
        writer.write(POST)
        async with asyncio.timeout(5):
            while not reader.at_eof():
                writer.write(b"x-%d: %b\r\n" % (id(reader), b"y" * 8000))
                await asyncio.sleep(0)
                if reader._buffer:  # type: ignore[attr-defined]
                    break
            assert (await reader.read(100)).startswith(b"HTTP/1.1 431 ")


async def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.2)
    async with stage() as world:
        for begun in (b"", b"POST /v1", POST):
            async with raw(world) as (reader, writer):
                writer.write(begun)
                async with asyncio.timeout(5):
                    assert (await reader.read(-1)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with stage(body_timeout=0.2) as world:
        await world.asleep()
        async with raw(world) as (reader, writer):
            writer.write(POST + b"content-length: 1000\r\n\r\n{")
            async with asyncio.timeout(5):
                assert (await reader.read(-1)).startswith(b"HTTP/1.1 408 ")
        assert world.cluster.writes == []
        await until(lambda: world.router.app.lives.count == 0)


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/jobs"])
async def test_a_body_that_trickles_is_not_waited_for(path: bytes) -> None:
    """One byte now and then is no silence, and would hold its connection for days."""
    async with stage(body_timeout=1.0) as world:
        await world.asleep()
        async with raw(world) as (reader, writer):
            writer.write(b"POST " + path + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
            answer = asyncio.create_task(reader.read(-1))
            async with asyncio.timeout(15):
                while not answer.done():
                    writer.write(b" ")
                    await asyncio.wait([answer], timeout=0.1)
            # a byte that crosses the end of the connection resets it: the answer may be lost then
            assert answer.exception() is not None or answer.result().count(b"HTTP/1.1 4") == 1
            # it stays for a second, so that the client can read why, however much that goes on sending
            await until(lambda: world.router.connections == 0)
        assert world.cluster.writes == []
        await until(lambda: world.router.app.lives.count == 0)


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_forgotten(world: Stage) -> None:
    await world.asleep()
    async with raw(world) as (_, writer):
        writer.write(POST + b"content-length: 1000\r\n\r\n{")
        await until(lambda: world.router.app.lives.count == 1)
    await until(lambda: world.router.app.lives.count == 0)
    assert world.cluster.reads == 0


@pytest.mark.parametrize("offer", [b"upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n", b"upgrade: websocket\r\n"])
async def test_an_offer_of_another_protocol_is_declined(world: Stage, engine: Engine, offer: bytes) -> None:
    await world.awake(engine)
    offered = sized(BODY, b"Connection: Upgrade, HTTP2-Settings\r\n", offer)
    async with raw(world) as (reader, writer):
        for _ in range(3):
            writer.write(offered)
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            assert head.startswith(b"HTTP/1.1 200 ")
    assert [exchange.body for exchange in engine.seen] == [BODY] * 3


async def test_an_offer_that_comes_in_pieces_harms_only_its_own_connection(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    async with raw(world) as (reader, writer):
        offered = sized(BODY, b"connection: upgrade\r\nupgrade: h2c\r\n")
        cut = offered.index(b"upgrade: h2c") + 3
        writer.write(offered[:cut])
        await asyncio.sleep(0.05)
        writer.write(offered[cut:])
        async with asyncio.timeout(5):
            assert (await reader.read(-1)).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    "name", ["a\r\nx-smuggled: 1", "tiny\0", "../../etc/passwd", "😀" * 50, "x" * 100_000, "\ud800"]
)
async def test_strange_model_names_are_unknown_models(world: Stage, client: httpx.AsyncClient, name: str) -> None:
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "x"}]}).encode()
    answer = await client.post("/v1/chat/completions", content=body)
    assert answer.status_code in (400, 404)
    assert len(answer.content) < 2000
    assert "x-smuggled" not in answer.headers


async def test_a_request_id_that_is_no_id_is_not_repeated(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    answer = await said(world, sized(BODY, CLOSE, b"x-request-id: " + b"a" * 500 + b"\r\n"))
    assert b"x-request-id: req-" in answer


async def test_bad_clients_do_not_disturb_good_ones(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.05)
        await speak(exchange)

    await world.awake(await make_engine(slow))
    bad = [asyncio.create_task(said(world, data)) for data in (b"\0" * 1000, sized(b"{", CLOSE), b"GET /\r\n\r\n") * 10]
    idle = [asyncio.create_task(_leave_soon(world)) for _ in range(10)]
    good = [client.post("/v1/chat/completions", content=BODY) for _ in range(20)]
    assert {answer.status_code for answer in await asyncio.gather(*good)} == {200}
    await asyncio.gather(*bad, *idle)
    await until(lambda: world.router.app.lives.count == 0)


async def _leave_soon(world: Stage) -> None:
    async with raw(world) as (_, writer):
        writer.write(sized(BODY)[:-5])
        await asyncio.sleep(0.1)
