"""HTTP/1.1 towards clients: one connection, its requests one after the other, and bounds on all that may come.

Owns reading heads and bodies (httptools parses, in its strict mode), whose turn it is to be answered, how long a client
may take for what, and that no two readers could take its requests differently. Knows nothing of what is served: the
listener's `take` makes a `Turn` of every head, and the turn writes its own answer to the connection's transport.
"""

import asyncio
from collections import deque
from typing import Any

import httptools

from dormouse_router.halfclosed import Asking
from dormouse_router.paced import Paced
from dormouse_router.request import Header, Headers
from dormouse_router.turns import NO_REQUEST, TOO_LARGE, TOO_SLOW, Limits, Shared, Turn
from dormouse_router.upgrades import without_upgrade

MAX_HEAD, MAX_HEADERS = 64 * 1024, 256
_VERSIONS = ("1.1", "1.0")
_MINDED = frozenset((b"host", b"expect", b"transfer-encoding"))

HEAD, BODY, ANSWER, IDLE = range(4)
"""What a connection waits for: a head to come or to be whole, a body, our own answer, or the next request."""


class Connection(Paced):
    """One client's connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Shared) -> None:
        super().__init__(loop, shared)
        self.turn: Turn | None = None
        """The one being answered."""
        self._waiting: deque[Turn] = deque()
        """Those behind it, which came before it was answered."""
        self._receiving: Turn | None = None
        """The one whose body arrives."""
        self._parser: Any = httptools.HttpRequestParser(self)
        self._in_head = True
        self._barren = 0
        """Bytes that came and were no body: of a head, of extensions of chunks, of trailers."""
        self._hosts = 0
        self.method = self.url = b""
        self.version = "1.1"
        self.headers: Headers = []
        self.header: Header = dict[bytes, bytes]().get
        self.expects = False
        self._refusal: bytes | None = None
        """Nothing more is read; this is said once the answers that are owed are out."""
        self.phase = HEAD
        self.since: float | None = None
        """The first look that found it so; a look comes every second."""
        self._read_paused = False

    # ------------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.shared.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None or self.transport.is_closing():
            return
        self._barren += len(data)
        if self._receiving is None and data.find(b"pgrade", 0, MAX_HEAD) >= 0:
            data = without_upgrade(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last()  # the offer came in pieces, or behind another request: the parser expects another protocol now
        except httptools.HttpParserError:
            self._refuse(TOO_LARGE if self._barren > MAX_HEAD or len(self.headers) > MAX_HEADERS else NO_REQUEST)
            return
        if self._barren > MAX_HEAD and self._refusal is None:
            if self._in_head:
                self._refuse(TOO_LARGE)
            elif self._receiving is not None:
                self._refuse(NO_REQUEST)

    def eof_received(self) -> bool:
        """The client sends no more. True keeps its connection for the answers that are owed.

        One that leaves before its answer has begun looks the same at first; within an answer it has left.
        """
        turn = self.turn
        if self._receiving is not None or (turn is None and not self._waiting) or (turn is not None and turn.started):
            return False
        self._last()
        if self.version == "1.1":
            Asking(self.loop, self.transport, lambda: self.turn is not turn or (turn is not None and turn.started))
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        shared = self.shared
        shared.connections.discard(self)
        self._refusal = b""
        self._parser = None  # it holds us as we hold it
        self.when_writable = None
        self.resume_writing()
        for turn in (self.turn, *self._waiting):
            if turn is not None:
                turn.left()
        self.turn = self._receiving = None
        self._waiting.clear()
        shared.changed()

    # ------------------------------------------------------------------ the parser's side

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expects = False
        self._hosts = 0
        if not self._in_head:
            self._in_head = True
            if self.turn is None:
                self.phase, self.since = HEAD, None

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer has passed by everything that looked at the headers: it is dropped
        name = name.lower()
        if name in _MINDED:
            self._mind(name, value.lower())
        self.headers.append((name, value))
        if len(self.headers) > MAX_HEADERS:
            raise ValueError("too many headers")

    def _mind(self, name: bytes, value: bytes) -> None:
        """Look at a header that says how the request is to be read. ValueError where two readers could differ."""
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self.expects = value == b"100-continue"
        elif value != b"chunked" or self._parser.get_http_version() != "1.1":
            raise ValueError("a transfer coding that is not taken here")

    def on_headers_complete(self) -> None:
        self._in_head = False
        parser = self._parser
        self.version = version = parser.get_http_version()
        if version not in _VERSIONS or self._hosts > 1 or (not self._hosts and version == "1.1"):
            raise ValueError("no version of HTTP that is spoken here, or not exactly one host")
        if self._barren > MAX_HEAD and len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers) > MAX_HEAD:
            raise ValueError("the head is too large")
        self._barren = self.body_size = self.body_looks = 0
        if self._refusal is not None:
            return
        self.method = parser.get_method()
        self.header = dict(self.headers).get
        self._receiving = turn = self.shared.take(self)
        turn.keep_alive = version == "1.1" and parser.should_keep_alive() and not self.shared.leaving
        if self.turn is None and not self._waiting:
            self.turn = turn
            self.phase, self.since = BODY, None
            turn.begin()
        else:
            self._waiting.append(turn)
            self.pause_reading()

    def on_body(self, body: bytes) -> None:
        self._barren = 0
        self.body_size += len(body)
        self.since = None
        turn = self._receiving
        if turn is not None:
            turn.received(body)

    def on_message_complete(self) -> None:
        turn = self._receiving
        if turn is None:
            return
        self._receiving = None
        if self.phase == BODY:
            self.phase, self.since = IDLE if self.turn is None else ANSWER, None
        if not turn.keep_alive and self._refusal is None:
            self._refusal = b""
        turn.whole()

    # ------------------------------------------------------------------ the turns' side

    def answered(self) -> None:
        """The answer of `turn` is whole."""
        turn = self.turn
        self.turn = None
        transport = self.transport
        if transport.is_closing():
            return
        if self._read_paused:
            self.resume_reading()  # the turn may have paused it, and asks for nothing more
        if turn is None or not turn.keep_alive:
            unread, self._receiving, self._refusal = self._receiving, None, b""
            (transport.close if unread is None else self.linger)()
        elif self._waiting:
            self.loop.call_soon(self._next)  # not at once: there may be hundreds, each answered at once
        elif self._refusal is not None:
            self._end(self._refusal)
        elif self._receiving is not None:
            self.phase = BODY  # the answer came first, as refusals do: the rest is read and dropped
        else:
            self.phase, self.since = HEAD if self._in_head else IDLE, None

    def _next(self) -> None:
        if self.turn is not None or not self._waiting or self.transport.is_closing():
            return
        self.turn = turn = self._waiting.popleft()
        self.phase = BODY if self._receiving is turn else ANSWER
        self.since = None
        if not self._waiting:
            self.resume_reading()
        turn.begin()

    def pause_reading(self) -> None:
        if not self._read_paused and not self.transport.is_closing():
            self._read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless others wait for their turn already."""
        if self._read_paused and not self._waiting and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()

    # ------------------------------------------------------------------ ends

    def _refuse(self, refusal: bytes) -> None:
        """What came is no request. Answers that are owed go out before that is said."""
        broken = self._receiving
        self._receiving = None
        if self.transport.is_closing():
            return
        if broken is not None and self._waiting and self._waiting[-1] is broken:
            self._waiting.pop()  # it will never be whole
            broken.left()
        elif self.turn is None or self.turn is broken:
            self._end(b"" if self.turn is not None and self.turn.started else refusal)
            return
        self._refusal = refusal

    def _end(self, refusal: bytes) -> None:
        if refusal:
            self.transport.write(refusal)
        self.transport.close()

    def _last(self) -> None:
        """No request after the newest one is read."""
        newest = self._waiting[-1] if self._waiting else self.turn
        if newest is None:
            self.transport.close()
        else:
            newest.keep_alive = False

    def leave(self) -> None:
        """Serve what comes, and let each answer say that it is the last here."""
        if self.turn is not None or self._waiting:
            self._last()

    def shutdown(self, *, late: bool = False) -> None:
        """No request is waited for any more but one whose head has begun and, unless it is `late`, the first one."""
        self.leave()
        coming = (self.phase == HEAD and not late) or (self._in_head and self._barren)
        if not coming and self.turn is None and not self._waiting:
            self.transport.close()

    def stop(self) -> None:
        """The drain is over."""
        if self.turn is not None:
            self.turn.stop()

    def look(self, limits: "Limits") -> None:
        """Once a second: end a connection whose client takes too long over something."""
        now, transport = self.shared.now, self.transport
        if self.takes_nothing(limits.write):
            transport.abort()
        elif transport.is_closing() or self._waiting:
            return
        elif self.phase == BODY and self.trickles(limits.body):
            self._slow()
        elif self.since is None:
            self.since = now
        elif self.phase == BODY:
            if self.since < now - limits.body:
                self._slow()
        elif self.turn is not None:
            return
        elif self.phase == HEAD and self.since < now - limits.head:
            self._refuse(TOO_SLOW)
        elif self.phase == IDLE and self.since < now - limits.idle:
            transport.close()

    def _slow(self) -> None:
        """The body does not come. Whoever has had an answer already knows why."""
        if self.turn is None:
            self.transport.close()
        else:
            self.turn.slow()
