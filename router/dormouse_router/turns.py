"""What a listener's connections are given and make: a turn for each request, what all share, the bytes of HTTP/1.1.

Knows nothing of sockets and parsing (`http11.py`), nor of what is served.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from dormouse_router.http11 import Connection

STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
CLOSE = b"connection: close\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSED = b"content-length: 0\r\nconnection: close\r\n\r\n"
TOO_LARGE = STATUS_LINES[431] + _CLOSED
TOO_SLOW = STATUS_LINES[408] + _CLOSED
NO_REQUEST = STATUS_LINES[400] + _CLOSED


def status_line(status: int) -> bytes:
    """The first line of an answer, also for a status without a name."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


class Turn(Protocol):
    """One request and its answer. Calls come in this order: `received` and `whole` as the body arrives, `begin` once
    the requests before it are answered (it may come first), `left` if the client goes before the answer is whole."""

    keep_alive: bool
    """Whether another request may follow on the connection; read when the answer is whole."""

    @property
    def started(self) -> bool:
        """Whether something of the answer is out."""
        ...

    def begin(self) -> None: ...

    def received(self, data: bytes) -> None: ...

    def whole(self) -> None: ...

    def slow(self) -> None:
        """The body does not come: say so, unless the answer has begun."""
        ...

    def left(self) -> None: ...

    def stop(self) -> None:
        """The listener waits no longer: say so, unless the answer has begun."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Longest times in seconds: for a whole head, for the next piece of a body, between requests, and until a client
    takes something of what waits for it."""

    head: float
    body: float
    idle: float
    write: float


class Shared:
    """What the connections of one listener share."""

    def __init__(self, take: "Callable[[Connection], Turn]") -> None:
        """`take` makes the turn of the request whose head `method`, `url`, `version` and `headers` hold."""
        self.take = take
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.date = b""
        """The Date header's line."""
        self.now = 0.0
        """Monotonic seconds, as of the last tick."""
        self.leaving = False
        """Every answer from now on is its connection's last, so that its client turns to another router."""
        self.changed: Callable[[], None] = lambda: None
        """Called when a connection or a task ends."""

    def spawn(self, loop: asyncio.AbstractEventLoop, coroutine: Any) -> "asyncio.Task[None]":
        """A task that the end of the listener waits for."""
        task: asyncio.Task[None] = loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        self.changed()
