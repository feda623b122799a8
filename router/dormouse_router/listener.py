"""A listening socket, the connections on it, and their orderly end.

Accepting, the Date header, the look once a second at who takes too long, and the drain that the cluster must notice
first. Knows nothing of what is served.
"""

import asyncio
import socket
from collections.abc import Callable
from email.utils import formatdate

import structlog

from dormouse_router.http11 import Connection
from dormouse_router.turns import Limits, Shared, Turn

log = structlog.get_logger()
BACKLOG = 4096
KEEP_ALIVE_SECONDS = 75.0
HEAD_SECONDS = 20.0
"""Longest time from a connection's opening, or a head's first byte, to a whole head."""
CANCEL_SECONDS = 2.0
FRESH_SECONDS = 2.0
"""How long a connection that was opened a moment before the end may take for its first request."""
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A client that vanished without a word is noticed within two minutes, also while it waits for its model to wake."""


class Listener:
    """One socket, or one that listens already. `take` makes the turn of each request; times in seconds."""

    def __init__(
        self,
        take: Callable[[Connection], Turn],
        address: tuple[str, int] | socket.socket,
        *,
        body_timeout: float,
        write_timeout: float,
    ) -> None:
        self._shared = Shared(take)
        self._body_timeout, self._write_timeout = body_timeout, write_timeout
        self._socket = address if isinstance(address, socket.socket) else _listen(*address)
        self._server: asyncio.Server | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self.port: int = self._socket.getsockname()[1]

    @property
    def connections(self) -> int:
        return len(self._shared.connections)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tick()
        shared = self._shared
        self._server = await loop.create_server(lambda: Connection(loop, shared), sock=self._socket, backlog=BACKLOG)

    def leave(self) -> None:
        """Still accept and serve, but let every answer say that its connection ends with it.

        A client that keeps its connections so moves to another router, and none of its requests meets a connection that
        is being closed.
        """
        self._shared.leaving = True
        for connection in list(self._shared.connections):
            connection.leave()

    async def stop(self, seconds: float) -> None:
        """No new connections; those that are open have `seconds` to end, then they are cut."""
        if self._server is None:
            self._socket.close()
            return
        self._server.close()
        self._shared.leaving = True
        await asyncio.sleep(0)  # what has arrived by now is read before its connection is taken for idle
        self._shut()
        late = asyncio.get_running_loop().call_later(FRESH_SECONDS, self._shut, True)
        try:
            async with asyncio.timeout(seconds):
                await self._ended()
        except TimeoutError:
            await self._cut()
        late.cancel()
        if self._ticking is not None:
            self._ticking.cancel()

    def _shut(self, late: bool = False) -> None:
        for connection in list(self._shared.connections):
            connection.shutdown(late=late)

    async def _ended(self) -> None:
        changed = asyncio.Event()
        self._shared.changed = changed.set
        while self._shared.tasks or self._shared.connections:
            changed.clear()
            await changed.wait()

    async def _cut(self) -> None:
        """End what is left. Those whose answer has not begun are told why."""
        shared = self._shared
        log.warning("answers cut at the end of the drain", count=len(shared.connections))
        for connection in list(shared.connections):
            connection.stop()
        if shared.tasks:
            await asyncio.wait(list(shared.tasks), timeout=CANCEL_SECONDS)
        for connection in list(shared.connections):
            connection.transport.abort()
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._ended()
        except TimeoutError:
            log.error("tasks did not end", count=len(shared.tasks))

    def _tick(self) -> None:
        """Once a second: the Date header of the answers, and an end to what does not come."""
        loop = asyncio.get_running_loop()
        shared = self._shared
        shared.now = loop.time()
        shared.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        limits = Limits(HEAD_SECONDS, self._body_timeout, KEEP_ALIVE_SECONDS, self._write_timeout)
        for connection in list(shared.connections):
            connection.look(limits)
        self._ticking = loop.call_later(1.0, self._tick)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket on which answers leave at once: accepted connections inherit its options."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    sock.bind((host, port))
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock
