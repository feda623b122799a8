"""Connections to every engine: opened when needed, kept while idle, given up when dead or silent.

Idle ones are taken last in, first out, because the newest is least likely to be stale. Knows nothing of models: an
endpoint is an address.
"""

import asyncio
import errno

from dormouse_router.dataplane.connection import Connection, Unreachable
from dormouse_router.request import Refusal

IDLE_SECONDS = 4.0
"""uvicorn, and so vLLM, closes an idle connection after 5 s: ours go first."""
MAX_IDLE = 1024
OUR_FAULT = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
"""No files, ports or memory here: it says nothing about the engine, and asking another one would not help."""


class Pool:
    """Connections to every engine."""

    def __init__(self, connect_timeout: float, silence_timeout: float) -> None:
        self._connect_timeout = connect_timeout
        self._silence_timeout = silence_timeout
        self._idle: dict[tuple[str, int], list[Connection]] = {}
        self.busy: set[Connection] = set()

    def take(self, host: str, port: int, now: float) -> Connection | None:
        """An idle connection that is alive as far as we know."""
        idle = self._idle.get((host, port))
        while idle:
            connection = idle.pop()
            if connection.idle_since < now - IDLE_SECONDS:
                connection.abort()  # the engine may be closing it at this very moment
            elif not connection.dead:
                connection.reused = True
                self.busy.add(connection)
                return connection
        return None

    async def connect(self, host: str, port: int) -> Connection:
        """A new connection. Raises Unreachable, or Refusal 503 where it is this router that has no room for one."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(Connection, host, port)
        except (OSError, TimeoutError) as error:
            if isinstance(error, OSError) and error.errno in OUR_FAULT:
                text = (
                    f"The router has no room for another connection ({error.strerror}): try again, or run more of it."
                )
                raise Refusal(503, text, code="router_overloaded", retry_after=1.0) from error
            raise Unreachable(f"no connection to {host}:{port}: {error or 'timed out'}", sent=False) from error
        self.busy.add(connection)
        return connection

    def give_back(self, host: str, port: int, connection: Connection, now: float) -> None:
        """After a request, however it ended: kept if it can serve again, closed if not."""
        self.busy.discard(connection)
        if not connection.reusable:
            connection.abort()
            return
        connection.answer = None
        idle = self._idle.setdefault((host, port), [])
        if len(idle) >= MAX_IDLE:
            connection.abort()
            return
        connection.idle_since = now
        idle.append(connection)

    def forget(self, host: str, port: int) -> None:
        """Close what is kept to an engine that is gone, or whose connections are not to be trusted."""
        for connection in self._idle.pop((host, port), ()):
            connection.abort()

    async def sweep(self) -> None:
        """For ever: close what has been idle too long, and what has been silent too long in the middle of an answer."""
        loop = asyncio.get_running_loop()
        next_look = loop.time()
        while True:
            await asyncio.sleep(1.0)
            self._close_idle(loop.time() - IDLE_SECONDS)
            if loop.time() >= next_look:
                next_look = loop.time() + self._silence_timeout
                self.close_silent()

    def _close_idle(self, before: float) -> None:
        for address, idle in list(self._idle.items()):
            kept = [c for c in idle if not c.dead and c.idle_since > before]
            for connection in idle:
                if connection.idle_since <= before:
                    connection.abort()
            if kept:
                self._idle[address] = kept
            else:
                del self._idle[address]

    def close_silent(self) -> None:
        """Give up the engines of which nothing came since the last look, but for those whose client lets them wait."""
        for connection in list(self.busy):
            if connection.activity == connection.last_activity and not connection.paused:
                connection.silent(self._silence_timeout)
            connection.last_activity = connection.activity

    def close(self) -> None:
        for connection in [*self.busy, *(c for idle in self._idle.values() for c in idle)]:
            connection.abort()
        self._idle.clear()
