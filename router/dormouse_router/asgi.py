"""The way to what is served by ASGI applications: everything that is not a hot path.

Owns one request's scope and messages (uvicorn's cycle, with a faster and stricter way out). Knows nothing of models.
"""

import asyncio
import itertools
import logging
import os
import urllib.parse
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from dormouse_router.http11 import Connection
from dormouse_router.request import header_lines
from dormouse_router.turns import CHUNKED, CLOSE, LAST_CHUNK, TOO_SLOW, status_line

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

NO_BODY = (204, 304)
HIGH_WATER = 64 * 1024
"""Bytes of a body that nobody has asked for yet beyond which no more are read."""
_log = logging.getLogger("uvicorn.error")
# unique over restarts and replicas without asking the system for randomness per request
_RUN = f"req-{os.urandom(6).hex()}-"
_number = itertools.count(1)


def request_id(given: bytes | None) -> str:
    """What a request is called in logs and answers: as its client said, where that is usable."""
    usable = given is not None and 0 < len(given) <= 128 and given.isascii()
    return given.decode() if given is not None and usable else f"{_RUN}{next(_number):x}"


def path_of(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, raw path and query of a request's target. ValueError where it is none."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return urllib.parse.unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


def scope_of(connection: Connection) -> Scope:
    path, raw_path, query = path_of(connection.url)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": connection.version,
        "method": connection.method.decode("ascii"),
        "scheme": "http",
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": connection.headers,
        "server": connection.transport.get_extra_info("sockname")[:2],
        "client": connection.transport.get_extra_info("peername")[:2],
        "state": {},
    }


class AsgiTurn(RequestResponseCycle):
    """`http11.Turn` that calls an application."""

    _head = b""
    """A head that waits for the body it announced."""

    def __init__(self, connection: Connection, app: Asgi) -> None:
        flow: Any = connection  # what uvicorn's cycle asks of its flow control, the connection has
        super().__init__(
            scope=scope_of(connection),  # type: ignore[arg-type]
            transport=connection.transport,
            flow=flow,
            logger=_log,
            access_logger=_log,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=connection.expects,
            keep_alive=True,
            on_response=connection.answered,
        )
        self._connection, self._app = connection, app
        self._task: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        return self.response_started

    # ------------------------------------------------------------------ the connection's side

    def begin(self) -> None:
        app: Any = self._app
        self._task = self._connection.shared.spawn(self._connection.loop, self.run_asgi(app))

    def received(self, data: bytes) -> None:
        if self.response_complete:
            return
        self.body += data
        if len(self.body) > HIGH_WATER:
            self._connection.pause_reading()
        self.message_event.set()

    def whole(self) -> None:
        self.more_body = False
        self.message_event.set()

    def slow(self) -> None:
        if not self.response_started:
            self.transport.write(TOO_SLOW)
            self.transport.close()

    def left(self) -> None:
        self.disconnected = True
        self.message_event.set()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # ------------------------------------------------------------------ the application's side

    async def send(self, message: Any) -> None:
        await self._connection.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._start(message["status"], message.get("headers", ()))
        elif not self.response_complete:
            self._piece(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']} after the answer was complete")

    def _start(self, status: int, headers: Any) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        closing = named = False
        for name, value in headers:
            named |= name == b"x-request-id"
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and value.lower() == b"close":
                closing = True
        head = status_line(status) + self._connection.shared.date + header_lines(headers)
        if not named:
            given = next((value for name, value in self.scope["headers"] if name == b"x-request-id"), None)
            head += header_lines(((b"x-request-id", request_id(given).encode()),))
        if closing or (self.more_body and self._large()):
            self.keep_alive = False  # the answer came first, and the rest of such a body is not worth reading
        if not (closing or self.keep_alive):
            head += CLOSE
        if self.chunked_encoding is None and status not in NO_BODY and self.scope["method"] != "HEAD":
            self.chunked_encoding = True
            head += CHUNKED
        head += b"\r\n"
        if self.chunked_encoding:
            self.transport.write(head)
        else:
            self._head = head

    def _large(self) -> bool:
        """Whether the body says that it has more bytes than are read in vain, or does not say how many."""
        said = next((value for name, value in self.scope["headers"] if name == b"content-length"), None)
        return said is None or int(said) > HIGH_WATER

    def _piece(self, body: bytes, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            out = b""
        elif self.chunked_encoding:
            out = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                out += LAST_CHUNK
        else:
            self.expected_content_length -= len(body)
            out = body
        if self._head:
            out, self._head = self._head + out, b""
        self.transport.write(out)
        if not more:
            self._complete()

    def _complete(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("the answer is not as long as it said")
        self.response_complete = True
        self.message_event.set()
        self.on_response()
