"""An engine on loopback whose every byte a test decides, and the answers that a good one gives."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

BACKLOG = 1024
"""Connections that wait to be accepted: more than any test opens at once, so that none is refused and tried again."""

Serve = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request at an engine, and the raw way back."""

    def __init__(self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head, self.body = head, body
        self._reader, self._writer = reader, writer

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, value: object, status: int = 200, headers: str = "") -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        await self.raw(head.encode() + body)

    async def stream_head(self) -> None:
        await self.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, value: object) -> None:
        await self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    async def finish(self) -> None:
        await self.chunk(b"data: [DONE]\n\n")
        await self.raw(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close the connection without another byte."""
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Until the router has closed the connection."""
        while await self._reader.read(65536):
            pass


async def speak(exchange: Exchange) -> None:
    """An engine that answers every chat with "Paris.", streamed if asked."""
    body = exchange.json
    if not body.get("stream"):
        await exchange.answer(chat_completion("Paris.", body["model"]))
        return
    await exchange.stream_head()
    for word in ("Par", "is", "."):
        await exchange.event(chat_chunk(word, body["model"]))
    await exchange.event(chat_chunk("", body["model"], "stop"))
    await exchange.finish()


def in_two(go_on: asyncio.Event) -> Serve:
    """A stream whose second half waits for `go_on`."""

    async def serve(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event(chat_chunk("Par"))
        await go_on.wait()
        await exchange.event(chat_chunk("is."))
        await exchange.finish()

    return serve


def endless(left: Callable[[], None] = lambda: None) -> Serve:
    """A stream, or an answer, that never ends; `left` is called when the router has closed its connection."""

    async def serve(exchange: Exchange) -> None:
        if exchange.json.get("stream"):
            await exchange.stream_head()
            await exchange.event(chat_chunk("Par"))
        await exchange.closed()
        left()

    return serve


def chat_completion(text: str, model_name: str = "tiny") -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model_name,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }


def chat_chunk(text: str, model_name: str = "tiny", finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model_name,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}],
    }


class Engine:
    """A raw HTTP server. `serve` decides every answer; `seen` holds every request."""

    def __init__(self, serve: Serve = speak, *, requests_per_connection: int | None = None) -> None:
        self.serve = serve
        self.seen: list[Exchange] = []
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        self._limit = requests_per_connection
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", port, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and reset every connection, as a killed pod does."""
        if self._server is not None:
            self._server.close()
            for writer in list(self.open):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        served = 0
        try:
            while self._limit is None or served < self._limit:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET "):  # somebody asks for its metrics
                    await Exchange(head, b"", reader, writer).answer({}, 404)
                    continue
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                exchange = Exchange(head, await reader.readexactly(length), reader, writer)
                self.seen.append(exchange)
                served += 1
                await self.serve(exchange)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
