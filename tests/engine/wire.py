"""A small HTTP/1.1 server whose every byte a test can place: odd chunks, dropped connections, silence.

Knows nothing of models. A handler gets a `Request` and a `Reply`; when the client leaves, the handler is cancelled.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.client import responses

MAX_HEAD = 64 * 1024
MAX_BODY = 128 * 1024 * 1024
_ODD = (1, 2, 3, 5, 7, 11)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    """Lower-case names."""
    body: bytes


class CutError(Exception):
    """Raised by a handler: drop the connection now, whatever was promised."""


class Reply:
    """One response. `send` is a whole one; `start`, `chunk`, `end` a streamed one."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.started = False
        self.odd = False
        """Cut what follows into pieces of 1, 2, 3, 5, 7, 11 bytes, each an HTTP chunk and a packet of its own."""

    async def send(self, status: int, body: object, content_type: str = "application/json") -> None:
        text = body if isinstance(body, str | bytes) else json.dumps(body, ensure_ascii=False)
        raw = text.encode() if isinstance(text, str) else text
        self._head(status, content_type, f"content-length: {len(raw)}")
        self._writer.write(raw)
        await self._writer.drain()

    async def start(self, content_type: str) -> None:
        self._head(200, content_type, "transfer-encoding: chunked")
        await self._writer.drain()

    async def chunk(self, data: bytes) -> None:
        if not self.odd:
            await self._piece(data)
            return
        turn = 0
        while data:
            size = _ODD[turn % len(_ODD)]
            turn += 1
            await self._piece(data[:size])
            data = data[size:]
            await asyncio.sleep(0.0005)  # so that the pieces leave as packets of their own

    async def end(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def _head(self, status: int, content_type: str, length: str) -> None:
        self.started = True
        phrase = responses.get(status, "Scripted")
        self._writer.write(f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {content_type}\r\n{length}\r\n\r\n".encode())

    async def _piece(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()


Handler = Callable[[Request, Reply], Awaitable[None]]


class _Connection(asyncio.StreamReaderProtocol):
    """Streams, plus the moment the peer is gone."""

    def __init__(self, server: "Server") -> None:
        self.gone = asyncio.Event()
        reader = asyncio.StreamReader(limit=MAX_HEAD)
        super().__init__(reader, lambda reader, writer: server.talk(reader, writer, self.gone))

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


class Server:
    """One listening port."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.cancelled = 0
        """Requests whose client left before the answer was whole."""

    async def listen(self, host: str, port: int) -> int:
        """Start to listen; returns the port (useful with port 0)."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, port, backlog=2048)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        self._writers.add(writer)
        try:
            while (request := await _read(reader, writer)) is not None:
                if not await self._answer(request, Reply(writer), gone):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, request: Request, reply: Reply, gone: asyncio.Event) -> bool:
        """Whether the connection may carry another request."""
        work = asyncio.ensure_future(self._handler(request, reply))
        left = asyncio.ensure_future(gone.wait())
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if not work.done():
            self.cancelled += 1
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            return False
        try:
            work.result()
        except CutError:
            raise ConnectionAbortedError from None
        return request.headers.get("connection", "").lower() != "close"


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request, or None where the peer is done."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ", 2)
    pairs = (line.split(":", 1) for line in lines)
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _chunked(reader) if headers.get("transfer-encoding", "").lower() == "chunked" else None
    if body is None:
        size = int(headers.get("content-length", "0"))
        if size > MAX_BODY:
            raise ValueError(f"body of {size} bytes")
        body = await reader.readexactly(size)
    return Request(method, target.split("?", 1)[0], headers, body)


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        total += size
        if total > MAX_BODY:
            raise ValueError("body too large")
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return b"".join(parts)
