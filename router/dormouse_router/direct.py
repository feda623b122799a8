"""A request on a hot path: `request.Request` over a client's connection, with nothing in between.

Its body is collected before anybody is told of it, and its answer may be given by callbacks or by a task. Owns how an
answer is framed and that a client which leaves ends what is done for it. Knows nothing of models.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from dormouse_router.asgi import path_of, request_id
from dormouse_router.caller import Passed
from dormouse_router.http11 import Connection
from dormouse_router.inflate import inflated
from dormouse_router.request import Headers, Refusal, Reply, Starter, header_lines
from dormouse_router.turns import CHUNKED, CLOSE, CONTINUE, LAST_CHUNK, STATUS_LINES, status_line

SMALL = 64 * 1024
"""Bytes of a body that always find room: who fills the router with large ones keeps nobody out who asks for little."""
CRUMBS, CRUMB = 16_384, 64
"""Chunks of a body that may have fewer bytes than this on average: each costs as much as a large one."""
_CHUNKED_END = CHUNKED + b"\r\n"


def stopping() -> Refusal:
    """What a call is told that this router has no time for any more."""
    text = "This router is stopping: send the request again, and another one takes it."
    return Refusal(503, text, code="router_stopping", retry_after=1.0)


class Service(Protocol):
    """Who answers (`app.App`)."""

    max_body: int
    max_arriving: int
    arriving: int
    """Bytes of bodies that are not whole yet, of all requests together."""

    def serve(self, request: "Direct") -> None:
        """The request is whole and it is its turn."""
        ...

    async def run(self, request: "Direct", work: Coroutine[Any, Any, None]) -> None:
        """`work` is what the request's task does; whatever becomes of it."""
        ...

    def refuse(self, request: "Direct", refusal: Refusal) -> None:
        """Say so, in the words of the request's dialect."""
        ...

    def over(self, request: "Direct") -> None:
        """Nothing is done for the request any more. Called once."""
        ...


class Direct:
    """`request.Line` and `turns.Turn`. Made for every request of a hot path: it does nothing before it is asked."""

    # defaults of the class instead of assignments: one is made for every request
    method = "POST"
    keep_alive = True
    started = ended = gone = False
    allowing = more = b""
    """Lines of every head: for a web page that may call; which weights answer."""
    low = False
    task: "asyncio.Task[None] | None" = None
    passed: Passed | None = None
    """Who sent it (`passed.caller`), where that is asked."""
    _body: bytes | None = None
    _piece = b""
    """The first of the body, and all of most bodies."""
    _size = _counted = 0
    """Bytes of the body that came, and those of them in `Service.arriving`."""
    _too_large = False
    _id: str | None = None
    _when_left: Callable[[], None] | None = None

    def __init__(self, connection: Connection, service: Service, path: str, start: Starter) -> None:
        self._connection, self._service = connection, service
        self.transport = connection.transport
        self.path, self.handler = path, start
        self._url = connection.url
        self._pieces: list[bytes] = []
        self._chunked = connection.version != "1.0"
        self.header = connection.header

    # ------------------------------------------------------------------ turns.Turn

    def begin(self) -> None:
        if self._too_large:
            self._refuse_size()
        elif self._body is not None:
            self._service.serve(self)
        elif int(self.header(b"content-length") or 0) > self._service.max_body:
            self._refuse_size()
        elif self._connection.expects:
            self.transport.write(CONTINUE)

    def received(self, data: bytes) -> None:
        if not self._size and len(data) <= SMALL:  # most bodies come in one piece
            self._piece = data
            self._size = len(data)
        elif not self.ended:
            self._received_more(data)

    def _received_more(self, data: bytes) -> None:
        service = self._service
        self._pieces.append(data)
        self._size += len(data)
        service.arriving += self._size - self._counted
        self._counted = self._size
        its_turn = self._connection.turn is self
        if service.arriving > service.max_arriving and self._size > SMALL and its_turn:
            text = "Too many large bodies arrive at once: send the request again."
            service.refuse(self, Refusal(503, text, code="router_overloaded", retry_after=1.0))
        elif len(self._pieces) > CRUMBS and self._size < len(self._pieces) * CRUMB and its_turn:
            service.refuse(self, Refusal(400, "The body comes in chunks of a few bytes each: send it in larger ones."))
        elif self._size > service.max_body:
            self._pieces.clear()
            self._too_large = True
            if its_turn:
                self._refuse_size()

    def check(self, form: bool) -> None:
        """Raises Refusal for a body that no dialect takes: passed on undecoded, it would wake a model only to fail."""
        coding = self.header(b"content-encoding")
        body = self._body or b""
        if coding is not None and (coding := coding.lower()) != b"identity":
            self._body = body = inflated(body, coding, self._service.max_body)
        if not form and not body.isascii():
            try:
                str(body, "utf-8")
            except UnicodeDecodeError as error:
                text = f"The request body is not UTF-8 from byte {error.start} on: send JSON in UTF-8."
                raise Refusal(400, text) from None

    def whole(self) -> None:
        pieces = self._pieces
        if pieces:
            self._body = b"".join((self._piece, *pieces))
            pieces.clear()
            self._arrived()
        else:
            self._body = self._piece
        self._piece = b""
        if self._connection.turn is self and not self.ended:
            self._service.serve(self)

    def slow(self) -> None:
        text = "The request's body came too slowly: send it faster, or in one piece."
        self._service.refuse(self, Refusal(408, text))

    def left(self) -> None:
        self.gone = True
        self._arrived()
        if self.task is not None:
            self.task.cancel()
            return
        if self._when_left is not None:
            self._when_left()
        self._service.over(self)

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
        elif not self.started:
            if self._when_left is not None:
                self._when_left()
            self._service.refuse(self, stopping())

    # ------------------------------------------------------------------ request.Request

    @property
    def query(self) -> bytes:
        return path_of(self._url)[2]

    @property
    def request_id(self) -> str:
        if self._id is None:
            self._id = request_id(self.header(b"x-request-id"))
        return self._id

    async def body(self) -> bytes:
        return self.payload

    async def reply(self, reply: Reply) -> None:
        self.send(reply.status, header_lines(reply.headers), reply.body)

    async def start(self, status: int, headers: Headers) -> None:
        self.open(status, header_lines(headers))

    async def write(self, chunk: bytes) -> None:
        self.push(chunk)
        if self._connection.write_paused:
            await self._connection.drain()

    async def end(self, chunk: bytes = b"") -> None:
        self.close(chunk)

    # ------------------------------------------------------------------ request.Line

    @property
    def payload(self) -> bytes:
        return self._body or b""

    def send(self, status: int, lines: bytes, body: bytes) -> None:
        if self.gone:
            return
        self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (self._head(status, lines), len(body), body))
        self._answered()

    def open(self, status: int, lines: bytes, chunk: bytes = b"") -> None:
        if self.gone:
            return
        if not self._chunked:
            self.transport.write(b"%b\r\n%b" % (self._head(status, lines), chunk))
        elif chunk:
            head = self._head(status, lines)
            self.transport.write(b"%b%b%x\r\n%b\r\n" % (head, _CHUNKED_END, len(chunk), chunk))
        else:
            self.transport.write(self._head(status, lines) + _CHUNKED_END)

    def push(self, chunk: bytes) -> None:
        if chunk and not self.gone:  # an empty chunk would be the end of the answer
            self.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else chunk)

    def close(self, chunk: bytes = b"") -> None:
        if self.gone:
            return
        if not self._chunked:
            self.transport.write(chunk)
        elif chunk:
            self.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(chunk), chunk))
        else:
            self.transport.write(LAST_CHUNK)
        self._answered()

    def cut(self) -> None:
        """Close the connection in the middle of the answer, so that nobody takes it for whole."""
        self.keep_alive = False
        if not self.gone:
            self._answered()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        connection = self._connection
        self.task = connection.shared.spawn(connection.loop, self._service.run(self, work))

    def watch(self, left: Callable[[], None] | None, writable: Callable[[bool], None] | None) -> None:
        self._when_left = left
        connection = self._connection
        connection.when_writable = writable
        if writable is not None and connection.write_paused:
            writable(False)

    # ------------------------------------------------------------------ caller.Asked

    @property
    def peer(self) -> str:
        return str((self.transport.get_extra_info("peername") or ("",))[0])

    def beside(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do it before the handler's turn; unlike `spawn`'s, it is not what answers."""
        return self._connection.shared.spawn(self._connection.loop, work)

    # ------------------------------------------------------------------ inside

    def _head(self, status: int, lines: bytes) -> bytes:
        """The head but for its last lines."""
        self.started = True
        if self._body is None:
            self.keep_alive = False  # what is left of the body must not be taken for a request
        return b"%b%b%b%b%bx-request-id: %b\r\n%b" % (
            STATUS_LINES.get(status) or status_line(status),
            self._connection.shared.date,
            self.allowing,
            lines,
            self.more,
            self.request_id.encode(),
            b"" if self.keep_alive else CLOSE,
        )

    def _arrived(self) -> None:
        """Nothing of the body is waited for any more."""
        if self._counted:
            self._service.arriving -= self._counted
            self._counted = 0

    def _answered(self) -> None:
        self.ended = True
        self._pieces.clear()
        if self._counted:
            self._arrived()
        self._when_left = self._connection.when_writable = None
        if self.task is None:
            self._service.over(self)
        self._connection.answered()

    def _refuse_size(self) -> None:
        text = f"The request body is larger than {self._service.max_body} bytes: send a smaller one."
        self._service.refuse(self, Refusal(413, text))
