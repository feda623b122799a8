"""An engine stand-in that streams: every streamed POST gets CHUNKS events, one each STREAM_INTERVAL, with its time.

python -m bench.routing.engine PORT [CHUNKS]

Any other POST gets a whole answer at once, and what has no body an empty object: routers ask for health and models.
"""

import asyncio
import re
import sys
import time
from typing import cast

import uvloop

from bench.routing.bodies import STREAM_CHUNKS, STREAM_INTERVAL, answer, chunk

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
TOLD = b'"continuous_usage_stats":true'
STREAMED = re.compile(rb'"stream": ?true')
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = (
    b'data: {"id":"chatcmpl-00000000","object":"chat.completion.chunk","created":1,"model":"bench",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":120,"completion_tokens":100,"total_tokens":220}}\n\n'
    b"data: [DONE]\n\n"
)
END = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAST), LAST)
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


ANSWER = answer()


class Stream(asyncio.Protocol):
    """One connection; the requests on it one after the other."""

    def __init__(self, chunks: int) -> None:
        self._chunks = chunks
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._left = 0
        self._told = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = LENGTH.search(head)
        if length is None:
            self._buffer = rest
            self._transport.write(WHOLE % (2, b"{}"))
            return
        body, self._buffer = rest[: int(length[1])], rest[int(length[1]) :]
        if len(body) < int(length[1]):
            self._buffer = head + end + body
            return
        if STREAMED.search(body) is None:
            self._transport.write(WHOLE % (len(ANSWER), ANSWER))
            return
        self._transport.write(HEAD)
        self._left, self._told = self._chunks, TOLD in body
        self._due = self._loop.time()
        self._tick()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        event = chunk(time.monotonic_ns(), told=self._told)
        self._left -= 1
        self._transport.write(b"%x\r\n%b\r\n%b" % (len(event), event, b"" if self._left else END))
        if self._left:
            self._due += STREAM_INTERVAL
            self._timer = self._loop.call_at(self._due, self._tick)


async def main(port: int, chunks: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Stream(chunks), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else STREAM_CHUNKS))
