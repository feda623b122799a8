"""An engine of so many slots; what finds none free waits, the lowest priority number first.

python -m bench.batching.engine PORT SLOTS SECONDS CROWDING

A request takes SECONDS where its slot is the only one in use and (1 + CROWDING) times as long where all are, as tokens
come slower from a fuller batch.
"""

import asyncio
import heapq
import itertools
import re
import sys
from typing import cast

import uvloop

from bench.routing.bodies import answer

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
PRIORITY = re.compile(rb'"priority": *(-?\d+)')
BODY = answer()
WHOLE = HEAD % len(BODY) + BODY
NOTHING = HEAD % 2 + b"{}"


class Slots:
    """Who is served, and who waits."""

    def __init__(self, count: int, seconds: float, crowding: float) -> None:
        self._count, self._seconds, self._crowding = count, seconds, crowding
        self._used = 0
        self._numbers = itertools.count()
        self._waiting: list[tuple[int, int, Client]] = []
        self._loop = asyncio.get_running_loop()

    def ask(self, client: "Client", priority: int) -> None:
        heapq.heappush(self._waiting, (priority, next(self._numbers), client))
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._used < self._count:
            client = heapq.heappop(self._waiting)[2]
            self._used += 1
            full = (self._used - 1) / max(1, self._count - 1)
            self._loop.call_later(self._seconds * (1 + self._crowding * full), self._done, client)

    def _done(self, client: "Client") -> None:
        self._used -= 1
        client.answer()
        self._serve()


class Client(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = LENGTH.search(head)
        if length is None or not head.startswith(b"POST"):
            self._buffer = body
            self._transport.write(NOTHING)
        elif len(body) >= int(length[1]):
            self._buffer = b""
            asked = PRIORITY.search(body[-32:])
            self._slots.ask(self, int(asked[1]) if asked else 0)

    def answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(WHOLE)


async def main(port: int, slots: int, seconds: float, crowding: float) -> None:
    made = Slots(slots, seconds, crowding)
    server = await asyncio.get_running_loop().create_server(lambda: Client(made), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
