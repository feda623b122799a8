"""One request over plain ASGI: the body, bounded; the answer, whole or in pieces; and whether the client is there.

Owns the bookkeeping of a request's life on the server's side (`Life`): a client that leaves, or that stops sending
its body, ends the task that serves it. Knows nothing of models. The server below (uvicorn) owns the sockets.
"""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any

from dormouse_router.gateway import Headers, Refusal, Reply

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]

# unique over restarts and replicas without asking the system for randomness per request
_RUN = os.urandom(6).hex()
_number = itertools.count(1)


class ClientLeft(Exception):  # noqa: N818 - nobody is there to be told of an error
    """The client closed the connection before its body was whole."""


class AsgiRequest:
    """`gateway.Request`. Made for every request of a hot path, so it does nothing before it is asked."""

    __slots__ = (
        "_headers",
        "_id",
        "_max_body",
        "_receive",
        "_send",
        "ended",
        "method",
        "more",
        "path",
        "read",
        "scope",
        "started",
        "stirred",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body: int) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.more: Sequence[tuple[bytes, bytes]] = ()
        self.started = False
        self.ended = False
        self.read = scope["method"] in ("GET", "HEAD", "OPTIONS")
        """The body has been read whole: what `receive` says next is that the client left."""
        self.stirred = 0
        """Grows with every piece of the body."""
        self._receive, self._send = receive, send
        self._max_body = max_body
        self._id: str | None = None
        self._headers: dict[bytes, bytes] = dict(scope["headers"])

    @property
    def query(self) -> bytes:
        query: bytes = self.scope["query_string"]
        return query

    @property
    def request_id(self) -> str:
        if self._id is None:
            given = self._headers.get(b"x-request-id")
            usable = given is not None and 0 < len(given) <= 128 and given.isascii()
            self._id = given.decode() if given is not None and usable else f"req-{_RUN}-{next(_number):x}"
        return self._id

    def header(self, name: bytes) -> bytes | None:
        return self._headers.get(name)

    async def body(self) -> bytes:
        declared = self._headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > self._max_body:
            raise self._too_large()
        coding = self._headers.get(b"content-encoding")
        if coding is not None and coding.lower() != b"identity":
            raise Refusal(415, "A compressed request body is not taken: send it as it is, without Content-Encoding.")
        message = await self._receive()
        if not message.get("more_body"):
            self.read = True
            return _text(self._piece(message))
        parts = [self._piece(message)]
        size = len(parts[0])
        while message.get("more_body"):
            message = await self._receive()
            parts.append(self._piece(message))
            size += len(parts[-1])
            if size > self._max_body:
                raise self._too_large()
        self.read = True
        return _text(b"".join(parts))

    def _piece(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise ClientLeft
        self.stirred += 1
        piece: bytes = message.get("body", b"")
        if len(piece) > self._max_body:
            raise self._too_large()
        return piece

    def _too_large(self) -> Refusal:
        return Refusal(413, f"The request body is larger than {self._max_body} bytes: send a smaller one.")

    async def reply(self, reply: Reply) -> None:
        await self.start(reply.status, [*reply.headers, (b"content-length", str(len(reply.body)).encode())])
        self.ended = True
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else reply.body})

    async def start(self, status: int, headers: Headers) -> None:
        self.started = True
        headers += self.more
        headers.append((b"x-request-id", self.request_id.encode()))
        if not self.read:
            headers.append((b"connection", b"close"))  # what is left of the body must not be taken for a request
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def write(self, chunk: bytes) -> Coroutine[Any, Any, None]:
        # no coroutine of its own around the server's: this runs once per chunk of every stream
        return self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self, chunk: bytes = b"") -> None:
        self.ended = True
        await self._send({"type": "http.response.body", "body": chunk})

    async def left(self) -> None:
        """Returns when the client has gone. Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _text(body: bytes) -> bytes:
    """`body`, which is UTF-8. Refusal 400 where it is not: passed on undecoded, it would wake a model only to fail."""
    if not body.isascii():
        try:
            str(body, "utf-8")
        except UnicodeDecodeError as error:
            text = f"The request body is not UTF-8 from byte {error.start} on: send JSON in UTF-8."
            raise Refusal(400, text) from None
    return body


class Life:
    """A request being served: its task, and why it was ended from outside, if it was."""

    __slots__ = ("gone", "request", "since", "stirred", "task", "watcher")

    def __init__(self, request: AsgiRequest, task: "asyncio.Task[Any]", now: float) -> None:
        self.request, self.task, self.since = request, task, now
        self.gone: str | None = None
        """"left" or "slow"."""
        self.stirred = 0
        self.watcher: asyncio.Task[None] | None = None


class Lives:
    """All requests being served. One timer for all: short requests never pay for a task that watches their client."""

    GRACE = 0.05
    """Age at which a request's client begins to be watched: with it, one that leaves is noticed within 100 ms."""

    def __init__(self, body_timeout: float) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._body_timeout = body_timeout
        self._young: dict[Life, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.count = 0

    def begin(self, request: AsgiRequest) -> Life:
        loop = self._loop
        if loop is None:
            self._loop = loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101 - ASGI applications run in tasks
        life = Life(request, task, loop.time())
        self._young[life] = None
        self.count += 1
        if self._timer is None:
            self._timer = loop.call_later(self.GRACE, self._look)
        return life

    def end(self, life: Life) -> None:
        self.count -= 1
        self._young.pop(life, None)
        if life.watcher is not None:
            life.watcher.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for life in list(self._young):
            if now - life.since < self.GRACE * 0.9:
                break  # they are in order of age, but for those whose body is slow, which are moved behind
            del self._young[life]
            if life.request.read:
                life.watcher = loop.create_task(self._watch(life))
            else:
                self._wait_for_body(life, now)
        self._timer = loop.call_later(self.GRACE, self._look) if self._young else None

    def _wait_for_body(self, life: Life, now: float) -> None:
        if life.request.stirred != life.stirred:
            life.stirred = life.request.stirred
            life.since = now
        if now - life.since > self._body_timeout:
            self._finish(life, "slow")
        else:
            self._young[life] = None

    async def _watch(self, life: Life) -> None:
        await life.request.left()
        self._finish(life, "left")

    @staticmethod
    def _finish(life: Life, why: str) -> None:
        if life.gone is None and not life.task.done():
            life.gone = why
            life.task.cancel()
