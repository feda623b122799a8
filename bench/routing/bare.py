"""The router's listener and its upstream client with nothing between them: what the product's own work is measured by.

python -m bench.routing.bare PORT ENGINE_PORT

No check of the request, no catalogue, hold, counts, metrics or headers of ours; bodies and answers are passed on as
they are. The difference to the router is what makes it more than a pipe.
"""

import asyncio
import sys
from typing import Any

import uvloop

from dormouse_router.__main__ import tune_gc
from dormouse_router.asgi import Receive, Scope, Send
from dormouse_router.dataplane.upstream import Pool
from dormouse_router.listener import Listener

SILENCE = 600.0
PASSED = (b"content-type", b"content-length")


class Pipe:
    """An ASGI application that sends every request to one engine."""

    def __init__(self, engine: int) -> None:
        self._engine = engine
        self._pool = Pool(1.0, SILENCE)
        self._clock = asyncio.get_running_loop().time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        pool, host, port = self._pool, "127.0.0.1", self._engine
        connection = pool.take(host, port, self._clock()) or await pool.connect(host, port)
        head = b"POST %b HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        try:
            answer = connection.send(head % (scope["path"].encode(), len(body)), body)
            await answer.head()
            headers = [header for header in answer.headers if header[0] in PASSED]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            while data := await answer.read():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            pool.give_back(host, port, connection, self._clock())


async def _body(receive: Receive) -> bytes:
    message: Any = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def main(port: int, engine: int) -> None:
    await Listener(Pipe(engine), "127.0.0.1", port).start()
    tune_gc()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
