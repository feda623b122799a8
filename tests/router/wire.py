"""Requests byte by byte over a socket of their own, and a good client that must not notice them."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from tests.router.fakes import Engine, Stage

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "x"}]}).encode()
CLOSE = b"connection: close\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
LIST = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" + CLOSE + b"\r\n"
PATIENCE = 10.0
NOTICED = 5.0
"""Seconds: an answer that takes a good client longer, on a busy machine, was disturbed."""
GOOD = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "good"}]}).encode()


@asynccontextmanager
async def raw(world: Stage) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the router, reset at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def said(world: Stage, data: bytes) -> bytes:
    """Everything the router answers to `data` until it closes the connection."""
    async with raw(world) as (reader, writer):
        writer.write(data)
        return await rest(reader)


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end, or until the router resets what it had not read of a request it refused."""
    parts = []
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionResetError):
            while part := await reader.read(65536):
                parts.append(part)
    return b"".join(parts)


def sized(body: bytes, *more: bytes, start: bytes = POST) -> bytes:
    """A request with `body` and its length; `more` are header lines."""
    return start + b"".join(more) + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def chunk(body: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(body), extension, body)


def in_chunks(*more: bytes, pieces: bytes | None = None, start: bytes = POST) -> bytes:
    """A request whose body comes in chunks: `pieces`, or BODY in one; `more` are header lines."""
    return start + b"".join(more) + CHUNKED + b"\r\n" + (chunk(BODY) + b"0\r\n\r\n" if pieces is None else pieces)


def statuses(answer: bytes) -> list[int]:
    """Of every answer in `answer`, interim ones too."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def bad(engine: Engine) -> list[bytes]:
    """The bodies the engine saw, without those of the good client."""
    return [exchange.body for exchange in engine.seen if exchange.body != GOOD]


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """One call on a kept connection; its seconds."""
    began = time.monotonic()
    writer.write(sized(GOOD))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    assert json.loads(body)["choices"][0]["message"]["content"] == "Paris."
    return time.monotonic() - began


@asynccontextmanager
async def good_client(world: Stage) -> AsyncIterator[list[float]]:
    """A client that keeps its connection and calls without pause meanwhile; fails where one of its calls does."""
    took: list[float] = []
    stop = asyncio.Event()

    async def call() -> None:
        async with raw(world) as connection:
            while not stop.is_set():
                took.append(await _ask(*connection))
                await asyncio.sleep(0.005)
            took.append(await _ask(*connection))  # and once more after whatever happened

    calling = asyncio.create_task(call())
    try:
        yield took
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await calling
    assert max(took) < NOTICED


def in_pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
