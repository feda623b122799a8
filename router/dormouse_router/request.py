"""A client's request and the ways to answer it, as dialects see them. Types and protocols: no socket, no framework.

A client that leaves cancels the task that serves it (`asyncio.CancelledError` comes out of whatever is awaited), so a
dialect watches for nothing: it only has to use `async with` and `try/finally`.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Headers = list[tuple[bytes, bytes]]
"""As ASGI has them: lower-case names."""
Header = Callable[[bytes], bytes | None]
"""Gives one of a request by its lower-case name, of several the last."""
HOLD = b"x-dormouse-hold-seconds"
"""A request header: most seconds it shall be held while its model wakes; 0: begin the wake, and say so at once."""


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The lines of an answer's headers. RuntimeError where one holds what would end it."""
    lines = [b"%b: %b\r\n" % header for header in headers]
    block = b"".join(lines)
    # one line end per line and no other: nobody smuggled a header, or an answer, into a value
    if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines) or b"\0" in block:
        raise RuntimeError("a header of the answer holds a control character")
    return block


class Refusal(Exception):  # noqa: N818 - an answer to the caller, not a fault of ours
    """The call is not served. Each dialect words it in its own envelope; `message` already holds the fix."""

    lines = b""
    """More lines of the answer's head (`header_lines`)."""
    limited: str | None = None
    """requests or tokens: what this caller has used up, of a 429 that is the caller's own."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        """`status` is HTTP's. `retry_after`: seconds (429, 503). `should_retry`: x-should-retry, where it is known."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        """OpenAI's machine-readable word: model_not_found, invalid_type, rate_limit_exceeded, model_loading, ..."""
        self.param = param
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.request_id = ""
        """Of the request that was refused, for dialects that tell it in the body; the application knows it."""


class UpstreamCut(Exception):  # noqa: N818
    """The engine went away, or went silent, in the middle of its answer: say so in-band. The text is for the client."""


@dataclass(slots=True)
class Reply:
    """A whole answer of a dialect. Not frozen: one is made per call, and a frozen one takes three times as long."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)


class Request(Protocol):
    """A client's request, its body whole, and the way back (`direct.Direct`)."""

    method: str
    path: str
    more: bytes
    """More lines (`header_lines`) of whatever is answered from now on, a refusal too: which weights it is about
    (`dialects.provenance`)."""
    low: bool
    """The batch worker sent it for somebody (`behalf`): it yields to others."""

    @property
    def query(self) -> bytes: ...

    @property
    def request_id(self) -> str:
        """The client's x-request-id, or ours."""
        ...

    @property
    def started(self) -> bool:
        """Whether the head of the answer is out: from then on errors travel in-band."""
        ...

    def header(self, name: bytes) -> bytes | None:
        """A header by its lower-case name."""
        ...

    async def body(self) -> bytes:
        """The whole body, whatever its content type."""
        ...

    async def reply(self, reply: Reply) -> None:
        """Send a whole answer."""
        ...

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of a streamed answer; x-request-id is added."""
        ...

    async def write(self, chunk: bytes) -> None:
        """Send a piece at once; waits while the client reads too slowly."""
        ...

    async def end(self) -> None:
        """End a streamed answer."""
        ...


class Line(Request, Protocol):
    """A request that may be answered by callbacks, without a task. `lines` are headers as `header_lines` makes them;
    x-request-id and what frames the answer are added. Nothing here waits, and nothing raises when the client has left.
    """

    @property
    def payload(self) -> bytes:
        """The body."""
        ...

    def send(self, status: int, lines: bytes, body: bytes) -> None:
        """Send a whole answer."""
        ...

    def open(self, status: int, lines: bytes, chunk: bytes = b"") -> None:
        """Send the head of a streamed answer, and what is there of it."""
        ...

    def push(self, chunk: bytes) -> None:
        """Send a piece at once, however slowly the client reads: obey `writable`."""
        ...

    def close(self, chunk: bytes = b"") -> None:
        """End a streamed answer, after a last piece."""
        ...

    def cut(self) -> None:
        """Close the connection in the middle of an answer, so that nobody takes it for whole."""
        ...

    def watch(self, left: Callable[[], None] | None, writable: Callable[[bool], None] | None) -> None:
        """Until the answer is whole: call `left` when the client leaves, unless the request has a task, which is
        cancelled; call `writable` with False when too much waits for the client and with True when it caught up."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on in a task, in which a Refusal may be raised as in a Handler. At most once."""
        ...


Handler = Callable[[Request], Awaitable[None]]


Starter = Callable[[Line], None]
"""Begins to answer and returns at once. It may raise Refusal; so may what it spawns."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What `app.py` mounts. A dialect's package has `def dialect(gateway, store, settings) -> Dialect`.

    `posts`: exact path → handler, for POST routes that stream or are hot. A handler may raise Refusal before
    `start`; afterwards it must end its stream itself, in-band. `starts`: the same for those that need no task while the
    model is awake; `forms`: those of them whose bodies are forms, which need not be UTF-8. `router`: a
    fastapi.APIRouter for the rest (reads, lists, DELETE, HEAD; a Refusal raised there is worded by `refuse` as well).
    `prefix`: unknown paths, wrong methods and crashes below it are worded by `refuse`; the longest prefix wins and
    OpenAI has "".
    """

    prefix: str
    refuse: Callable[[Refusal], Reply]
    posts: Mapping[str, Handler]
    router: object
    starts: Mapping[str, Starter] = field(default_factory=dict)
    forms: Mapping[str, Starter] = field(default_factory=dict)
    named: Mapping[tuple[str, str], Handler] = field(default_factory=dict)
    """(before, after) → handler, for POST routes with a name of a model between the two; otherwise as `posts`."""
    drain: Callable[[float], Awaitable[None]] | None = None
    """Called when the router stops: what it does for nobody who waits is to end within so many seconds."""
    tend: Callable[[Callable[[], bool]], Coroutine[Any, Any, None]] | None = None
    """What it does beside requests, from the router's start to the end of its drain. It is told whether the router is
    ready: all models are known."""
