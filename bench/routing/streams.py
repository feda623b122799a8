"""A client of many streams that measures: lag of every chunk, time to the first, one JSON line at the end.

python -m bench.routing.streams PORT STREAMS
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

from bench.routing.bodies import DATA, STREAM_CHAT, written_at

OPEN_SECONDS = 0.03
"""All streams are opened within this."""
LIMIT_SECONDS = 60.0
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(STREAM_CHAT), STREAM_CHAT)
)


class Reader(asyncio.Protocol):
    """One stream. Events are found by their prefix, whatever the chunk framing around them."""

    def __init__(self, lags: list[int], firsts: list[int], done: asyncio.Future[None]) -> None:
        self._lags, self._firsts, self._done = lags, firsts, done
        self._rest = b""
        self._first = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sent = time.monotonic_ns()
        self._transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self._rest:
            data = self._rest + data
        at = data.find(DATA)
        while at >= 0 and (end := data.find(b"\n\n", at)) >= 0:
            if data.startswith(b"[DONE]", at + 6):
                self._finish()
                return
            self._lags.append(now - written_at(data[at:end]))
            if self._first:
                self._first = False
                self._firsts.append(now - self._sent)
            at = data.find(DATA, end)
        self._rest = data[at:] if at >= 0 else data[-6:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the stream was cut"))

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)
        self._transport.close()


async def main(port: int, streams: int) -> None:
    loop = asyncio.get_running_loop()
    lags: list[int] = []
    firsts: list[int] = []
    ends: list[asyncio.Future[None]] = []
    openings = []
    for number in range(streams):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        openings.append(asyncio.create_task(_open(port, number * OPEN_SECONDS / streams, Reader(lags, firsts, done))))
    await asyncio.gather(*openings)
    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(*ends)
    lags.sort()
    firsts.sort()
    result = {
        "chunks": len(lags),
        "lag_p50_ms": lags[len(lags) // 2] / 1e6,
        "lag_p99_ms": lags[len(lags) * 99 // 100] / 1e6,
        "first_p50_ms": firsts[len(firsts) // 2] / 1e6,
    }
    print(json.dumps(result), flush=True)


async def _open(port: int, delay: float, reader: Reader) -> None:
    await asyncio.sleep(delay)
    await asyncio.get_running_loop().create_connection(lambda: reader, "127.0.0.1", port)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
