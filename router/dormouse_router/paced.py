"""The pace of a client's connection: how much waits for it, and when it last took something. Knows no HTTP."""

import asyncio
from collections.abc import Callable
from typing import Any

from dormouse_router.turns import Shared

LEAST_RATE = 1000.0
"""Bytes per second that a body must come with once its first time is over: one now and then holds a connection."""


LINGER_SECONDS = 1.0
"""How long a client that is answered in the middle of its body has for reading that."""


class Paced(asyncio.Protocol):
    """A connection whose client may take its time, but not for ever."""

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Shared) -> None:
        self.loop, self.shared = loop, shared
        self.transport: Any = None
        self.taken = shared.now
        """When the client last took something of what was written."""
        self._unread = 0
        self.body_size = self.body_looks = 0
        """Of the body that comes: its bytes so far, and how often its pace was looked at."""
        self.write_paused = False
        self.when_writable: Callable[[bool], None] | None = None
        """Called with False when the client takes too little, with True when it has caught up."""
        self._writable: asyncio.Future[None] | None = None

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.when_writable is not None:
            self.when_writable(False)

    def resume_writing(self) -> None:
        self.write_paused = False
        self.taken = self.shared.now
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self.when_writable is not None:
            self.when_writable(True)

    async def drain(self) -> None:
        """Until the client has taken enough of what was written."""
        while self.write_paused and not self.transport.is_closing():
            if self._writable is None or self._writable.done():
                self._writable = self.loop.create_future()
            await self._writable

    def linger(self) -> None:
        """Close it, in a moment: closed while bytes of the client come, it would be reset, and the answer with it."""
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def trickles(self, seconds: float) -> bool:
        """Whether the body has had `seconds` and the time its bytes may take, and is not whole. Asked once a second."""
        self.body_looks += 1
        return self.body_looks - 1 > seconds + self.body_size / LEAST_RATE

    def takes_nothing(self, seconds: float) -> bool:
        """Whether something has waited for the client all that time, as far as looks once a second can tell."""
        now, size = self.shared.now, self.transport.get_write_buffer_size()
        if not size or size < self._unread:
            self.taken = now
        self._unread = size
        return size > 0 and self.taken < now - seconds
