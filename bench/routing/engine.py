"""An engine stand-in that streams: every POST gets STREAM_CHUNKS events, one each STREAM_INTERVAL, with its time.

python -m bench.routing.engine PORT
"""

import asyncio
import re
import sys
import time
from typing import cast

import uvloop

from bench.routing.bodies import STREAM_CHUNKS, STREAM_INTERVAL, chunk

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Stream(asyncio.Protocol):
    """One connection; the requests on it one after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._left = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or length is None or len(rest) < int(length[1]):
            return
        self._buffer = rest[int(length[1]) :]
        self._transport.write(HEAD)
        self._left = STREAM_CHUNKS
        self._due = self._loop.time()
        self._tick()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        event = chunk(time.monotonic_ns())
        self._left -= 1
        self._transport.write(b"%x\r\n%b\r\n%b" % (len(event), event, b"" if self._left else END))
        if self._left:
            self._due += STREAM_INTERVAL
            self._timer = self._loop.call_at(self._due, self._tick)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Stream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
