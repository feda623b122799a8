"""A client of many streams that measures: lag of every chunk, time to the first, one JSON line at the end.

python -m bench.routing.streams PORT STREAMS [PATH]

`PATH` is /v1/chat/completions, /v1/messages or /v1/responses (events), or /api/chat (lines of JSON).
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

from bench.routing.bodies import ENDS, KEY, STREAM_CHAT, STREAM_RESPONSE, WRITTEN, WRITTEN_LENGTH

OPEN_SECONDS = 0.03
"""All streams are opened within this."""
LIMIT_SECONDS = 60.0
OPENAI = "/v1/chat/completions"
OLLAMA = "/api/chat"
ANTHROPIC = "/v1/messages"
RESPONSES = "/v1/responses"
NATIVE = "/chat"


@dataclass
class Seen:
    """What all streams saw, in nanoseconds."""

    lags: list[int] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    """From sending a request to its first chunk."""
    written: list[int] = field(default_factory=list)
    """When the engine wrote the first chunk of each stream (monotonic)."""


class Reader(asyncio.Protocol):
    """One stream. Chunks are found by the time in them, whatever the framing around them."""

    def __init__(self, request: bytes, seen: Seen, done: asyncio.Future[None]) -> None:
        self._request, self._seen, self._done = request, seen, done
        self._rest = b""
        self._first = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sent = time.monotonic_ns()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self._rest + data
        end = 0
        for match in WRITTEN.finditer(data):
            end = match.end()
            written = int(match[1])
            self._seen.lags.append(now - written)
            if self._first:
                self._first = False
                self._seen.firsts.append(now - self._sent)
                self._seen.written.append(written)
        self._rest = data[max(end, len(data) - WRITTEN_LENGTH) :]
        if any(data.find(mark, end) >= 0 for mark in ENDS):
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the stream was cut"))

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)
        self._transport.close()


async def main(port: int, streams: int, path: str) -> None:
    loop = asyncio.get_running_loop()
    body = STREAM_RESPONSE if path == RESPONSES else STREAM_CHAT
    request = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    seen = Seen()
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(streams)]
    openings = [
        asyncio.create_task(_open(port, number * OPEN_SECONDS / streams, Reader(request, seen, done)))
        for number, done in enumerate(ends)
    ]
    await asyncio.gather(*openings)
    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(*ends)
    lags, firsts = sorted(seen.lags), sorted(seen.firsts)
    result = {
        "chunks": len(lags),
        "lag_p50_ms": lags[len(lags) // 2] / 1e6,
        "lag_p99_ms": lags[len(lags) * 99 // 100] / 1e6,
        "first_p50_ms": firsts[len(firsts) // 2] / 1e6,
        "first_written_ns": seen.written,
    }
    print(json.dumps(result), flush=True)


async def _open(port: int, delay: float, reader: Reader) -> None:
    await asyncio.sleep(delay)
    await asyncio.get_running_loop().create_connection(lambda: reader, "127.0.0.1", port)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else OPENAI))
