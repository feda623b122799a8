"""Passing an engine's answer on to the client: a stream as it comes, anything else whole.

Owns the promise that no answer ends without a word: a whole answer is sent only when it is there, and a stream whose
engine dies ends with an error event. Chunks are never parsed; they are only kept from being cut inside an event.
"""

import asyncio
from collections.abc import Callable

from dormouse_router.dataplane.usage import TAIL, from_tail
from dormouse_router.gateway import Flow, Upstream
from dormouse_router.request import Headers, Line

EVENT_ENDS = (b"\n\n", b"\r\n\r\n")
MAX_EVENT = 1024 * 1024
"""An event longer than this is passed on in pieces."""
STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


def is_stream(headers: Headers) -> bool:
    """Whether an engine that sent these headers answers with server-sent events."""
    for name, value in headers:
        if name == b"content-type":
            return value.startswith(b"text/event-stream")
    return False


class Stream:
    """A stream being passed on: every time something has come from the engine, it goes to the client in one write.

    The engine is not read while its client has not caught up.
    """

    __slots__ = ("_before", "_broken", "_done", "_flow", "_held", "_last", "_line")

    def __init__(self, line: Line, flow: Flow, broken: Callable[[str], bytes], done: Callable[[], None]) -> None:
        """`broken` makes the event that ends a stream whose engine died, from a sentence for the client. `done` is
        called when the stream has ended."""
        self._line, self._flow, self._broken, self._done = line, flow, broken, done
        self._held = self._last = self._before = b""

    def start(self, left: Callable[[], None] | None) -> None:
        """Begin; what has come already goes out. `left`: as `Line.watch` has it."""
        self._flow.watch(self.stirred)
        self._line.watch(left, self._writable)
        self.stirred()

    def stop(self) -> None:
        self._flow.watch(None)

    @property
    def tail(self) -> bytes:
        """The end of what was passed on."""
        return self._before + self._last

    def stirred(self) -> None:
        flow = self._flow
        chunk = flow.take()
        if chunk:
            if self._held:
                chunk, self._held = self._held + chunk, b""
            if not chunk.endswith(EVENT_ENDS):
                chunk, self._held = _whole_events(chunk)
            if chunk:
                self._before, self._last = self._last, chunk
                self._line.push(chunk)
        if flow.complete or flow.error is not None:
            self._end(flow.error)

    def _end(self, error: Exception | None) -> None:
        self.stop()
        if error is not None:
            self._held = self._broken(str(error))
        if self._held:
            self._before, self._last = self._last, self._held
            self._line.push(self._held)
        self._line.close()
        self._done()

    def _writable(self, writable: bool) -> None:
        if writable:
            self._flow.resume()
        else:
            self._flow.pause()


async def stream(line: Line, upstream: Upstream, lines: bytes, broken: Callable[[str], bytes]) -> None:
    """Pass on a stream of events, from within a task. `lines` go into the head, unless it is out already."""
    if not line.started:
        line.open(upstream.status, lines)
    ended = asyncio.Event()
    passing = Stream(line, upstream.flow, broken, ended.set)
    try:
        passing.start(None)
        await ended.wait()
    finally:
        passing.stop()
    count_usage(upstream, passing.tail)


def _whole_events(chunk: bytes) -> tuple[bytes, bytes]:
    """What of `chunk` may be passed on, and what must wait for the rest of its event."""
    cut = max((at + len(end) for end in EVENT_ENDS if (at := chunk.rfind(end)) >= 0), default=0)
    if not cut:
        return (chunk, b"") if len(chunk) > MAX_EVENT else (b"", chunk)
    return chunk[:cut], chunk[cut:]


def count_usage(upstream: Upstream, end: bytes) -> None:
    usage = from_tail(end[-TAIL:])
    if usage is not None:
        upstream.count(usage.prompt_tokens, usage.completion_tokens)
