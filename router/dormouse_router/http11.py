"""uvicorn's HTTP/1.1 protocol with a faster way out.

uvicorn checks every header of every answer with two regular expressions and writes head and body with a system call
each; together that is a fifth of what a short answer costs the router. Here a head is checked once, as a whole, and
goes out with the body it announces. Everything else is uvicorn's. Knows nothing of what is served.
"""

import asyncio
import re
import urllib.parse
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from dormouse_router.halfclosed import Asking

CLOSE = b"connection: close\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"
NO_BODY = (204, 304)
MAX_HEAD = 64 * 1024
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_CLOSED = b"content-length: 0\r\nconnection: close\r\n\r\n"
TOO_LARGE = STATUS_LINE[431] + _CLOSED
TOO_SLOW = STATUS_LINE[408] + _CLOSED
NO_REQUEST = STATUS_LINE[400] + _CLOSED
_VERSIONS = ("1.1", "1.0")
_MINDED = frozenset((b"host", b"expect", b"transfer-encoding"))


def without_upgrade(data: bytes) -> bytes:
    """`data`, which begins with a head, with its Upgrade header under another name.

    Java's and curl's clients offer h2c with every request. A server may ignore that, but the parser would take the body
    for the other protocol.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    _head = b""
    """A head that waits for the body it announced."""

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
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
        lines = [b"%b: %b\r\n" % header for header in self.default_headers]
        closing = False
        for name, value in headers:
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and value.lower() == b"close":
                closing = True
            lines.append(b"%b: %b\r\n" % (name, value))
        if closing:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(CLOSE)
        if self.chunked_encoding is None and status not in NO_BODY and self.scope["method"] != "HEAD":
            self.chunked_encoding = True
            lines.append(CHUNKED)
        block = b"".join(lines)
        # one line end per line and no other: nobody smuggled a header, or an answer, into a value
        if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines) or b"\0" in block:
            raise RuntimeError("a header of the answer holds a control character")
        head = STATUS_LINE[status] + block + b"\r\n"
        if self.chunked_encoding:
            self.transport.write(head)
        else:
            self._head = head

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
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class Protocol(HttpToolsProtocol):
    """A connection whose requests are answered by `Cycle`, and whose heads and pauses are bounded.

    One look per second at all connections (`close_if_late`) stands in for uvicorn's timer per request.
    """

    head_since: float | None = None
    """When the head began that is not whole yet; None between and within requests."""
    idle_since: float | None = None
    """When the last answer ended; None while there is something to do."""
    _barren = 0
    """Bytes that came and were no body: of a head, of extensions of chunks, of trailers."""
    _hosts = 0
    _refusal = b""
    """What came is no request: nothing more is read, and this is said once the answers that are owed are out."""
    leaving = False
    """Every answer from now on is its connection's last, so that its client turns to another router."""
    _running: Any = None
    """The cycle whose answer is owed next."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self._refusal or self.transport.is_closing():
            return
        self._barren += len(data)
        if data.find(b"pgrade", 0, MAX_HEAD) >= 0 and (self.head_since or self.idle_since) is not None:
            data = without_upgrade(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._stay_with_http11()
        except httptools.HttpParserError:
            self._refuse(TOO_LARGE if self._barren > MAX_HEAD else NO_REQUEST)
            return
        if self._barren > MAX_HEAD:
            if self.head_since is not None:
                self._refuse(TOO_LARGE)
            elif self.cycle.more_body:
                self._refuse(NO_REQUEST)

    def _refuse(self, refusal: bytes) -> None:
        """What came is no request. Answers that are owed go out before that is said."""
        cycle = self.cycle
        if cycle is not None and cycle.more_body and self.pipeline:
            self.pipeline.popleft()  # it waits for its turn, and will never be whole
        elif cycle is None or cycle.more_body or cycle.response_complete:
            self._end(refusal)
            return
        self._refusal = refusal

    def _end(self, refusal: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(refusal)
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn never keeps such a connection
        """The client sends no more. True keeps its connection for the answers that are owed.

        One that leaves before its answer has begun looks the same at first; within an answer it has left.
        """
        cycle, running = self.cycle, self._running
        if cycle is None or cycle.more_body or running.response_started or running.response_complete:
            return False
        cycle.keep_alive = False
        if running.scope["http_version"] == "1.1":
            Asking(self.loop, self.transport, lambda: self._running is not running or running.response_started)
        return True

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.idle_since = None
        self._hosts = 0
        if self.head_since is None:
            self.head_since = self.loop.time()

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._running, app = self.pipeline.pop()
            self._start_asgi_task(self._running, app)
        elif self._refusal:
            self._end(self._refusal)
        else:
            self.idle_since = self.loop.time()

    def leave(self) -> None:
        """Serve what comes, and let each answer say that it is the last here."""
        self.leaving = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """No request is waited for any more; one whose head has begun is still served."""
        self.leave()
        begun = self.head_since is not None and self._barren
        if not begun and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def _stay_with_http11(self) -> None:
        """An upgrade was offered that `without_upgrade` did not see (its head came in pieces): the parser expects
        another protocol now, so this request is the connection's last."""
        if self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def close_if_late(self, head_before: float, idle_before: float) -> None:
        """Close a connection whose head began before `head_before` and is not whole, or that is idle since before
        `idle_before`."""
        if self.transport.is_closing():
            return
        if self.head_since is not None and self.head_since < head_before:
            self._refuse(TOO_SLOW)
        elif self.idle_since is not None and self.idle_since < idle_before:
            self.transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_since is None:
            return  # a trailer has passed by everything that looked at the headers: it is dropped
        name = name.lower()
        if name in _MINDED:
            self._mind(name, value.lower())
        self.headers.append((name, value))

    def _mind(self, name: bytes, value: bytes) -> None:
        """Look at a header that says how the request is to be read. ValueError where two readers could differ."""
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self.expect_100_continue = value == b"100-continue"
        elif value != b"chunked" or self.parser.get_http_version() != "1.1":
            raise ValueError("a transfer coding that is not taken here")

    def on_body(self, body: bytes) -> None:
        self._barren = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self.head_since = None
        version = self.parser.get_http_version()
        if version not in _VERSIONS or self._hosts > 1 or (not self._hosts and version == "1.1"):
            raise ValueError("no version of HTTP that is spoken here, or not exactly one host")
        if self._barren > MAX_HEAD and len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers) > MAX_HEAD:
            raise ValueError("the head is too large")
        self._barren = 0
        scope: Any = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        before = self.cycle
        self.cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and not self.leaving and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._running = self.cycle
            self._start_asgi_task(self.cycle, self.app)
        else:  # a pipelined request waits for the answer before its own
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
