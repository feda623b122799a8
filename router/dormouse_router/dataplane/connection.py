"""One HTTP/1.1 connection to an engine, and the answer that comes over it, and nothing more than engines need.

Owns sending a request, taking its answer as the bytes arrive, pausing an engine whose client reads too slowly, and
noticing that it died. No parsing of bodies, no redirects, no TLS. Which connection a request takes is `upstream.py`'s.
"""

import asyncio
import re
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import httptools

from dormouse_router.dataplane.usage import LATEST
from dormouse_router.request import Headers, Refusal, UpstreamCut

HIGH_WATER = 256 * 1024
"""Bytes waiting for a slow client beyond which its engine is not read any more."""
MAX_BODY = 64 * 1024 * 1024
MAX_HEAD = 64 * 1024
SMALL = 16 * 1024
_EVENTS = re.compile(rb"\r\ncontent-type:[ \t]*text/event-stream", re.IGNORECASE)
_FRAMED = re.compile(rb"\r\n(?:content-length|transfer-encoding):", re.IGNORECASE)
KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 15_000))
"""A pod that vanished without a word is noticed within half a minute, even in the silence before the first token."""


class Unreachable(Exception):  # noqa: N818
    """No byte of an answer came. `sent`: the request may have reached the engine."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class Answer:
    """One answer of an engine, as its bytes arrive (`gateway.Flow`). Iterating it gives the body's pieces."""

    # defaults of the class instead of assignments: one is made for every call
    status = 0
    started = False
    """Its head is whole."""
    complete = False
    error: Exception | None = None
    size = pieces = 0
    """Bytes in `parts`, and how many pieces have come in all: an engine sends one for each token of a stream."""
    raw = b""
    """What came until the head was whole."""
    interim = 0
    """Interim answers in `raw`, before the head that counts."""
    first: Callable[[], None] | None = None  # called at each piece of its body, until it is taken away
    _changed: Callable[[], None] | None = None
    _waiter: "asyncio.Future[None] | None" = None

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.parts: list[bytes] = []
        self.taken: deque[bytes] = deque(maxlen=LATEST)  # as it came

    @property
    def headers(self) -> Headers:
        """Lower-case names. Made anew each time: few calls ask for them."""
        lines = (line.partition(b":") for line in self._head().split(b"\r\n")[1:])
        return [(name.lower(), value.strip(b" \t")) for name, _, value in lines]

    @property
    def events(self) -> bool:
        return b"event-stream" in self.raw and _EVENTS.search(self._head()) is not None

    @property
    def framed(self) -> bool:
        """The head says how the body ends."""
        return _FRAMED.search(self._head()) is not None

    def trim(self) -> None:
        """Keep of what came only the head."""
        self.raw, self.interim = self._head() + b"\r\n\r\n", 0

    def _head(self) -> bytes:
        return self.raw.split(b"\r\n\r\n", self.interim + 1)[self.interim]

    def wake(self) -> None:
        if self._changed is not None:
            self._changed()
            return
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def watch(self, changed: Callable[[], None] | None) -> None:
        self._changed = changed

    def take(self) -> bytes:
        parts = self.parts
        if not parts:
            return b""
        self.parts, self.size = [], 0
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self.taken.append(data)
        return data

    def pause(self) -> None:
        self._connection.pause()

    def resume(self) -> None:
        self._connection.resume()

    def fail(self, error: Exception) -> None:
        if not self.complete and self.error is None:
            self.error = error
            self.wake()

    async def head(self) -> None:
        """Until it has come. Raises Unreachable when it never will."""
        while not self.started:
            if self.error is not None:
                raise self.error
            self._waiter = waiter = self._connection.loop.create_future()
            await waiter

    async def read(self) -> bytes:
        """All that has arrived, at least a byte; b"" at the end. Raises UpstreamCut when the engine died."""
        while not self.parts:
            if self.complete:
                return b""
            if self.error is not None:
                raise UpstreamCut(str(self.error))
            self._waiter = waiter = self._connection.loop.create_future()
            await waiter
        data = self.take()
        if self._connection.paused:
            self._connection.resume()
        return data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if data := await self.read():
            return data
        raise StopAsyncIteration

    async def body(self) -> bytes:
        """The whole body. Raises UpstreamCut when it breaks off or is larger than MAX_BODY."""
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            parts.append(data)
            size += len(data)
            if size > MAX_BODY:
                raise UpstreamCut(f"the engine's answer is larger than {MAX_BODY} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Connection(asyncio.Protocol):
    """One connection to an engine, with at most one request on it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.dead = False
        self.reused = False
        self.idle_since = 0.0
        self.activity = 0
        """Grows with everything received: two equal readings far apart are a silence."""
        self.last_activity = -1
        self.answer: Answer | None = None
        self._transport: Any = None
        self._parser: Any = None
        self.paused = False

    # ------------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def data_received(self, data: bytes) -> None:
        self.activity += 1
        answer = self.answer
        if answer is None:  # an engine speaks only when asked
            self.abort()
            return
        if not answer.started:
            answer.raw += data
            if len(answer.raw) > MAX_HEAD + len(data):
                self.lost("the engine's answer has too many headers")
                self.abort()
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.lost(f"the engine answered what is not HTTP: {error}")
            self.abort()
            return
        if len(answer.raw) > SMALL and answer.started:
            answer.trim()
        answer.wake()
        if answer.size > HIGH_WATER:
            self.pause()

    def eof_received(self) -> None:
        self.dead = True
        answer = self.answer
        if answer is not None and answer.started and not answer.framed:
            answer.complete = True  # a body without a length ends with the connection
            answer.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.dead = True
        self.lost(f"the engine closed the connection{f' ({exc})' if exc else ''}")

    def lost(self, why: str) -> None:
        answer = self.answer
        if answer is not None:
            answer.fail(UpstreamCut(why) if answer.started else Unreachable(why, sent=True))

    def silent(self, seconds: float) -> None:
        """Give the engine up after this long without a byte. No other engine is asked: it would take as long again."""
        why = f"The engine said nothing for {seconds:.0f} s."
        if self.answer is not None:
            self.answer.fail(UpstreamCut(why) if self.answer.started else Refusal(504, why, code="engine_timeout"))
        self.abort()

    # ------------------------------------------------------------------ the parser's side
    # no on_header: heads are kept as they are, and looked into where somebody asks

    def on_headers_complete(self) -> None:
        answer = self.answer
        if answer is None:
            return
        status = self._parser.get_status_code()
        if status >= 200:
            answer.status = status
            answer.started = True
        else:
            answer.interim += 1

    def on_body(self, body: bytes) -> None:
        answer = self.answer
        if answer is not None:
            answer.parts.append(body)
            answer.size += len(body)
            answer.pieces += 1
            if answer.first is not None:
                answer.first()

    def on_message_complete(self) -> None:
        answer = self.answer
        if answer is not None and answer.started:
            answer.complete = True
            self.dead |= not self._parser.should_keep_alive()

    # ------------------------------------------------------------------ the pool's side

    def send(self, head: bytes, body: bytes) -> Answer:
        """Send a request. Its answer arrives in what is returned."""
        self.answer = answer = Answer(self)
        self.last_activity = -1
        if len(body) <= SMALL:
            self._transport.write(head + body)
        else:
            self._transport.writelines([head, body])
        return answer

    def pause(self) -> None:
        if not self.paused and not self.dead:
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.last_activity = -1  # it has not been silent while it might not speak
            if not self.dead:
                self._transport.resume_reading()

    @property
    def reusable(self) -> bool:
        """The answer was read to its end and the engine keeps the connection open."""
        answer = self.answer
        return (
            not self.dead
            and not self.paused
            and answer is not None
            and answer.complete
            and not self._transport.get_write_buffer_size()
        )

    def abort(self) -> None:
        self.dead = True
        if self._transport is not None:
            self._transport.abort()
