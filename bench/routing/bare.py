"""The router's listener and its upstream client with nothing between them: what the product's own work is measured by.

python -m bench.routing.bare PORT ENGINE_PORT

No check of the request, no catalogue, hold, counts, metrics or headers of ours; bodies and answers are passed on as
they are. The difference to the router is what makes it more than a pipe.
"""

import asyncio
import sys

import uvloop

from dormouse_router import http11, turns
from dormouse_router.dataplane.connection import Answer, Connection
from dormouse_router.dataplane.upstream import Pool
from dormouse_router.listener import Listener
from dormouse_router.startup import tune_gc

SILENCE = 600.0
HOST = "127.0.0.1"
PASSED = frozenset((b"content-type", b"content-length", b"transfer-encoding"))


class Passing:
    """`turns.Turn`: one request on its way to the engine, and the answer on its way back."""

    def __init__(self, client: http11.Connection, pool: Pool, engine: int) -> None:
        self._client, self._pool, self._engine = client, pool, engine
        self._url = client.url
        self._pieces: list[bytes] = []
        self._body: bytes | None = None
        self._upstream: Connection | None = None
        self._answer: Answer | None = None
        self._chunked = False
        self.keep_alive = True
        self.started = False

    def begin(self) -> None:
        if self._body is not None:
            self._send()

    def received(self, data: bytes) -> None:
        self._pieces.append(data)

    def whole(self) -> None:
        self._body = b"".join(self._pieces)
        if self._client.turn is self:
            self._send()

    def slow(self) -> None:
        self._client.transport.abort()

    def stop(self) -> None:
        self._client.transport.abort()

    def left(self) -> None:
        self._release()

    def _send(self) -> None:
        upstream = self._pool.take(HOST, self._engine, self._client.loop.time())
        if upstream is None:
            self._client.shared.spawn(self._client.loop, self._connect())
        else:
            self._ask(upstream)

    async def _connect(self) -> None:
        self._ask(await self._pool.connect(HOST, self._engine))

    def _ask(self, upstream: Connection) -> None:
        body = self._body or b""
        head = b"POST %b HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._upstream = upstream
        self._answer = upstream.send(head % (self._url, len(body)), body)
        self._answer.watch(self._changed)

    def _changed(self) -> None:
        answer, transport = self._answer, self._client.transport
        if answer is None:
            return
        if answer.error is not None:
            self._release()
            transport.abort()
            return
        out = b""
        if answer.started and not self.started:
            self.started = True
            lines = [b"%b: %b\r\n" % header for header in answer.headers if header[0] in PASSED]
            self._chunked = not any(name == b"content-length" for name, _ in answer.headers)
            out = turns.status_line(answer.status) + b"".join(lines) + b"\r\n"
        if data := answer.take():
            out += b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
        if answer.complete and self._chunked:
            out += turns.LAST_CHUNK
        if out:
            transport.write(out)
        if answer.complete:
            self._release()
            self._client.answered()

    def _release(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None and self._answer is not None:
            self._answer.watch(None)
            self._pool.give_back(HOST, self._engine, upstream, self._client.loop.time())
        self._answer = None


async def main(port: int, engine: int) -> None:
    pool = Pool(1.0, SILENCE)
    listener = Listener(
        lambda client: Passing(client, pool, engine), (HOST, port), body_timeout=SILENCE, write_timeout=SILENCE
    )
    await listener.start()
    tune_gc()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
