"""Joins two TCP connections byte for byte. Knows no addresses, no namespaces and no protocol above TCP.

Backpressure: a side that cannot write stops the other side's reading. Half-close: the end of one direction is passed
on and the other direction goes on. A broken connection breaks its partner with a reset, never with a clean end that
could pass for a complete answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

_CHUNK = 256 * 1024
_HIGH_WATER = 512 * 1024  # bytes a slow reader may leave in memory, for each direction
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
# Reading into it, handing on and overwriting happen in one turn of the loop, so all connections share one buffer.
_shared = memoryview(bytearray(_CHUNK))

Dial = Callable[[], Awaitable[socket.socket]]


class Side(asyncio.BufferedProtocol):
    """One of the two connections; `peer` is the other."""

    transport: asyncio.Transport
    peer: Side

    def __init__(self) -> None:
        self._ended = False  # this side has sent its last byte
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type; create_server gives no other
        self.transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _shared

    def buffer_updated(self, nbytes: int) -> None:
        # A copy, because newer Pythons keep what cannot be sent at once by reference.
        self.peer.transport.write(bytes(_shared[:nbytes]))

    def pause_writing(self) -> None:
        self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.peer.lost:
            self.peer.transport.resume_reading()

    def eof_received(self) -> bool:
        self._ended = True
        with contextlib.suppress(OSError):
            self.peer.transport.write_eof()
        if self.peer._ended:
            self.transport.close()
            self.peer.transport.close()
        return True  # our own writing goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not (self._ended and self.peer._ended):
            self.peer.reset()

    def reset(self) -> None:
        """Breaks the connection so that the other end sees an error."""
        if not self.lost:
            connection = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()


class Accepted(Side):
    """The side a client opened: reads nothing until its partner is connected."""

    def __init__(self, dial: Dial, open_sides: set[Accepted]) -> None:
        super().__init__()
        self._dial = dial
        self._open_sides = open_sides
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._open_sides.add(self)
        loop = asyncio.get_running_loop()
        # Later, because before Python 3.11.4 the loop begins to read right after this method, paused or not.
        loop.call_soon(self.transport.pause_reading)
        self._dialling = loop.create_task(self._join())

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_sides.discard(self)
        if self._dialling is not None and not self._dialling.done():
            self.lost = True
            self._dialling.cancel()
        elif hasattr(self, "peer"):
            super().connection_lost(exc)
        self.lost = True

    async def _join(self) -> None:
        try:
            upstream = await self._dial()
        except OSError:
            self.reset()
            return
        other = Side()
        other.peer = self
        self.peer = other
        try:
            await asyncio.get_running_loop().create_connection(lambda: other, sock=upstream)
        except OSError:
            upstream.close()
            self.reset()
            return
        self.transport.resume_reading()
