"""Passing an engine's answer on to the client: a stream as it comes, anything else whole.

Owns the promise that no answer ends without a word: a whole answer is sent only when it is there, and a stream whose
engine dies ends with an error event. Chunks are never parsed; they are only kept from being cut inside an event, and
changed where the dialect says so: every one, or the one in which the engine says that it failed.
"""

import asyncio
from collections.abc import Callable

from dormouse_router.gateway import Flow, Upstream
from dormouse_router.request import Line

EVENT_ENDS = (b"\n\n", b"\r\n\r\n")
FAILED = b'data: {"error"'
"""How an engine begins an event that says that it failed."""
MAX_EVENT = 1024 * 1024
"""An event longer than this is passed on in pieces."""
Edit = Callable[[bytes], bytes]
STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Stream:
    """A stream being passed on: every time something has come from the engine, it goes to the client in one write.

    The engine is not read while its client has not caught up.
    """

    _held = b""
    _edit: Edit | None = None
    _always = False

    def __init__(self, line: Line, flow: Flow, broken: Callable[[str], bytes], done: Callable[[], None]) -> None:
        """`broken` makes the event that ends a stream whose engine died, from a sentence for the client. `done` is
        called when the stream has ended."""
        self._line, self._flow, self._broken, self._done = line, flow, broken, done

    def change(self, edit: Edit, always: bool) -> None:
        """Before the start: whole events go through `edit`; unless `always`, only where the engine says it failed."""
        self._edit, self._always = edit, always

    def start(self, lines: bytes, left: Callable[[], None] | None) -> None:
        """Begin; what has come already goes out. `lines` go into the head, unless it is out; `left`: as `Line.watch`
        has it."""
        line, flow = self._line, self._flow
        flow.watch(self.stirred)
        line.watch(left, self._writable)
        chunk = self._edited(self._whole(flow.take()))
        if not line.started:
            line.open(flow.status, lines, chunk)
        elif chunk:
            line.push(chunk)
        if flow.complete or flow.error is not None:
            self._end(b"")

    def stop(self) -> None:
        self._flow.watch(None)

    def stirred(self) -> None:
        flow = self._flow
        chunk = flow.take()
        if self._held or not chunk.endswith(EVENT_ENDS):
            chunk = self._whole(chunk)
        if self._always or FAILED in chunk:
            chunk = self._edited(chunk)
        if flow.complete or flow.error is not None:
            self._end(chunk)
        elif chunk:
            self._line.push(chunk)

    def _edited(self, chunk: bytes) -> bytes:
        return chunk if self._edit is None or not chunk else self._edit(chunk)

    def _whole(self, chunk: bytes) -> bytes:
        """What may go out of what was held back and of `chunk`: whole events."""
        if not chunk:
            return b""
        chunk = self._held + chunk
        self._held = b""
        if not chunk.endswith(EVENT_ENDS):
            chunk, self._held = _whole_events(chunk)
        return chunk

    def _end(self, chunk: bytes) -> None:
        self.stop()
        error = self._flow.error
        last = self._held if error is None else self._broken(str(error))
        self._line.close(chunk + last)
        self._done()

    def _writable(self, writable: bool) -> None:
        if writable:
            self._flow.resume()
        else:
            self._flow.pause()


async def stream(
    line: Line, upstream: Upstream, lines: bytes, broken: Callable[[str], bytes], prepare: Callable[[Stream], None]
) -> None:
    """Pass on a stream of events, from within a task. `lines` go into the head, unless it is out already."""
    ended = asyncio.Event()
    passing = Stream(line, upstream.flow, broken, ended.set)
    prepare(passing)
    try:
        passing.start(lines, None)
        await ended.wait()
    finally:
        passing.stop()


def _whole_events(chunk: bytes) -> tuple[bytes, bytes]:
    """What of `chunk` may be passed on, and what must wait for the rest of its event."""
    cut = max((at + len(end) for end in EVENT_ENDS if (at := chunk.rfind(end)) >= 0), default=0)
    if not cut:
        return (chunk, b"") if len(chunk) > MAX_EVENT else (b"", chunk)
    return chunk[:cut], chunk[cut:]
