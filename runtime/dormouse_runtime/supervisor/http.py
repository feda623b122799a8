"""The least HTTP a pod's own port needs: GET in, one answer out, connection closed; and the client side of the same.

The standard library only, because it must listen within a fraction of a second of the pod's start, before anything
that imports slowly. Bounded in connections, header bytes and seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD = 8192
HEAD_SECONDS = 5.0
MAX_CONNECTIONS = 128
MAX_ANSWER = 4 * 2**20
READ_BYTES = 2**16


@dataclass(frozen=True)
class Answer:
    """A response: status, body, and what the body is."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[], Awaitable[Answer]]


def text(status: int, words: str) -> Answer:
    """A plain answer of one line."""
    return Answer(status, f"{words}\n".encode())


def json_answer(body: str) -> Answer:
    """200 with a JSON body."""
    return Answer(HTTPStatus.OK, body.encode(), "application/json")


async def serve(host: str, port: int, routes: dict[str, Route]) -> asyncio.Server:
    """Answer GETs of exactly these paths on `host`:`port`."""
    free = asyncio.Semaphore(MAX_CONNECTIONS)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if free.locked():
            writer.close()
            return
        async with free:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
                await _answer_one(reader, writer, routes)
            writer.close()

    return await asyncio.start_server(connection, host, port, limit=MAX_HEAD)


async def _answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, routes: dict[str, Route]) -> None:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
    method, target, *_ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(), "", ""]
    route = routes.get(target.split("?", 1)[0])
    if method not in ("GET", "HEAD"):
        answer = text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered here")
    elif route is None:
        answer = text(HTTPStatus.NOT_FOUND, "unknown path; there are: " + " ".join(routes))
    else:
        answer = await route()
    writer.write(_head(answer))
    if method != "HEAD":
        writer.write(answer.body)
    await writer.drain()


def _head(answer: Answer) -> bytes:
    return (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    ).encode()


async def get(port: int, path: str, seconds: float, host: str = "127.0.0.1") -> Answer | None:
    """GET from this machine. None where nothing answers in `seconds`: refused, reset, late, not HTTP or endless."""
    return await _ask(port, f"GET {path}", "", seconds, host)


async def post(port: int, path: str, body: str, seconds: float, host: str = "127.0.0.1") -> Answer | None:
    """POST JSON to this machine. None as for `get`."""
    return await _ask(port, f"POST {path}", body, seconds, host)


async def _ask(port: int, what: str, body: str, seconds: float, host: str) -> Answer | None:
    try:
        return await asyncio.wait_for(_once(host, port, what, body.encode()), seconds)
    except (OSError, TimeoutError, ValueError, IndexError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None


async def _once(host: str, port: int, what: str, sent: bytes) -> Answer:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        about = f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n" if sent else ""
        # HTTP/1.0: the body ends with the connection, and never comes in chunks.
        writer.write(f"{what} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n{about}\r\n".encode() + sent)
        head = await reader.readuntil(b"\r\n\r\n")
        return Answer(int(head.split(b" ", 2)[1]), await _to_the_end(reader))
    finally:
        writer.close()


async def _to_the_end(reader: asyncio.StreamReader) -> bytes:
    """ValueError where it is more than anybody here would keep."""
    body = bytearray()
    while piece := await reader.read(READ_BYTES):
        body += piece
        if len(body) > MAX_ANSWER:
            raise ValueError(f"more than {MAX_ANSWER} bytes")
    return bytes(body)
