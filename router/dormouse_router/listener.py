"""A listening socket with uvicorn's HTTP/1.1 protocol on it, and its orderly end.

uvicorn parses requests and writes answers; accepting, ending and the Date header are ours, because its own server polls
ten times a second, installs signal handlers and knows nothing of a drain that the cluster must notice first.
"""

import asyncio
import socket
from email.utils import formatdate
from typing import Any

import structlog
import uvicorn
from uvicorn.server import ServerState

from dormouse_router.http11 import Protocol

log = structlog.get_logger()
BACKLOG = 4096
KEEP_ALIVE_SECONDS = 75
HEAD_SECONDS = 20.0
"""Longest time from a connection's first byte (or its opening) to a whole head."""
CANCEL_SECONDS = 2.0


class Listener:
    """One ASGI application on one socket."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        self._config = uvicorn.Config(
            app,
            http="httptools",
            loop="none",
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
        )
        self._state = ServerState()
        self._socket = _listen(host, port)
        self._server: asyncio.Server | None = None
        self._leaving = False
        self._ticking: asyncio.TimerHandle | None = None
        self.port: int = self._socket.getsockname()[1]

    @property
    def connections(self) -> int:
        return len(self._state.connections)

    async def start(self) -> None:
        self._config.load()
        self._tick()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=self._socket, backlog=BACKLOG)

    def leave(self) -> None:
        """Still accept and serve, but let every answer say that its connection ends with it.

        A client that keeps its connections so moves to another router, and none of its requests meets a connection that
        is being closed.
        """
        self._leaving = True
        for connection in list(self._state.connections):
            if isinstance(connection, Protocol):
                connection.leave()

    async def stop(self, seconds: float) -> None:
        """No new connections; those that are open have `seconds` to end, then they are cut."""
        if self._server is None:
            self._socket.close()
            return
        self._server.close()
        self._leaving = True
        await asyncio.sleep(0)  # what has arrived by now is read before its connection is taken for idle
        for connection in list(self._state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(seconds):
                await self._ended()
        except TimeoutError:
            log.warning("answers cut at the end of the drain", count=len(self._state.tasks))
            await self._cut()
        if self._ticking is not None:
            self._ticking.cancel()

    async def _ended(self) -> None:
        while self._state.tasks or self._state.connections:  # noqa: ASYNC110 - uvicorn tells nobody when they end
            await asyncio.sleep(0.01)

    async def _cut(self) -> None:
        for task in list(self._state.tasks):
            task.cancel()
        # those whose answer has not begun are still told why
        await asyncio.wait(list(self._state.tasks) or [asyncio.ensure_future(asyncio.sleep(0))], timeout=CANCEL_SECONDS)
        for connection in list(self._state.connections):
            connection.transport.abort()

    def _protocol(self) -> Protocol:
        made = Protocol(config=self._config, server_state=self._state, app_state={})
        made.leaving = self._leaving
        return made

    def _tick(self) -> None:
        """Once a second: the Date header of its answers, and an end to heads that do not come."""
        loop = asyncio.get_running_loop()
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        for connection in list(self._state.connections):
            if isinstance(connection, Protocol):
                connection.close_if_late(loop.time() - HEAD_SECONDS, loop.time() - KEEP_ALIVE_SECONDS)
        self._ticking = loop.call_later(1.0, self._tick)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket on which answers leave at once: accepted connections inherit TCP_NODELAY."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind((host, port))
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock
