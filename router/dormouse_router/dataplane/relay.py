"""Passing an engine's answer on to the client: a stream as it comes, anything else whole.

Owns the promise that no answer ends without a word: a whole answer is sent only when it is there, and a stream whose
engine dies ends with an error event. Chunks are never parsed; they are only kept from being cut inside an event.
"""

from collections.abc import Callable

from dormouse_router.dataplane.usage import TAIL, from_tail
from dormouse_router.gateway import Headers, Reply, Request, Upstream, UpstreamCut

EVENT_ENDS = (b"\n\n", b"\r\n\r\n")
MAX_EVENT = 1024 * 1024
"""An event longer than this is passed on in pieces."""
STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


def is_stream(upstream: Upstream) -> bool:
    """Whether the engine answers with server-sent events."""
    for name, value in upstream.headers:
        if name == b"content-type":
            return value.startswith(b"text/event-stream")
    return False


async def stream(request: Request, upstream: Upstream, headers: Headers, broken: Callable[[str], bytes]) -> None:
    """Pass on a stream of events. `headers` go into the head, unless it is out already; `broken` makes the event that
    ends a stream whose engine died, from a sentence for the client."""
    if not request.started:
        await request.start(upstream.status, [*STREAM_HEADERS, *headers])
    write = request.write
    held = last = before = b""
    try:
        async for chunk in upstream.chunks:
            if held:
                chunk, held = held + chunk, b""
            if not chunk.endswith(EVENT_ENDS):
                chunk, held = _whole_events(chunk)
                if not chunk:
                    continue
            before, last = last, chunk
            await write(chunk)
    except UpstreamCut as cut:
        await request.write(broken(str(cut)))
    else:
        if held:
            await request.write(held)
    await request.end()
    count_usage(upstream, before + last + held)


def _whole_events(chunk: bytes) -> tuple[bytes, bytes]:
    """What of `chunk` may be passed on, and what must wait for the rest of its event."""
    cut = max((at + len(end) for end in EVENT_ENDS if (at := chunk.rfind(end)) >= 0), default=0)
    if not cut:
        return (chunk, b"") if len(chunk) > MAX_EVENT else (b"", chunk)
    return chunk[:cut], chunk[cut:]


async def whole(request: Request, upstream: Upstream, headers: Headers, body: bytes) -> None:
    """Send an answer that was read whole."""
    count_usage(upstream, body)
    await request.reply(Reply(upstream.status, body, ((b"content-type", b"application/json"), *headers)))


def count_usage(upstream: Upstream, end: bytes) -> None:
    usage = from_tail(end[-TAIL:])
    if usage is not None:
        upstream.count(usage.prompt_tokens, usage.completion_tokens)
