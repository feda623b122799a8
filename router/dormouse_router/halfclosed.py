"""Whether a client that has closed its side still waits for its answer, or has left.

Both look the same from here: no more bytes. Only a write tells, because the system of a client that has left answers it
with a reset. What is written is HTTP's interim answer, which every client of HTTP/1.1 passes over. Knows nothing of
requests.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

INTERIM = STATUS_LINE[100] + b"\r\n"
LOOK_SECONDS = 0.03
"""Between a write and a look at what became of it: a client that left is noticed within 100 ms."""
FIRST, LONGEST = 0.1, 15.0
"""Seconds between writes: each pause is twice the one before, so that a client far away is noticed too."""
_RESET = 7
"""TCP_CLOSE, the first byte of TCP_INFO: the other side has answered with a reset."""


class Asking:
    """Asks again and again until `over()`: the answer has begun, whose bytes ask by themselves."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Any, over: Callable[[], bool]) -> None:
        self._loop, self._transport, self._over = loop, transport, over
        self._pause = FIRST
        self._ask()

    def _ask(self) -> None:
        if self._going_on():
            self._transport.write(INTERIM)
            self._loop.call_later(LOOK_SECONDS, self._going_on)
            self._loop.call_later(self._pause, self._ask)
            self._pause = min(LONGEST, self._pause * 2)

    def _going_on(self) -> bool:
        if self._over() or self._transport.is_closing():
            return False
        state: bytes = self._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        if state[0] != _RESET:
            return True
        self._transport.abort()
        return False
