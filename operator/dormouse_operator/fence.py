"""Whether this process may write: until when, on a clock of its own. Knows no Lease and no API server.

Asked before each write, and once more when its connection is there and nothing lies between the answer and the wire: a
process that was frozen in between, or waited for a connection, wakes up to a closed fence.
"""

import time
from collections.abc import Callable
from types import SimpleNamespace

import aiohttp

from dormouse_operator.errors import NotLeading

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
READS = frozenset({"GET", "HEAD"})


def steady() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


class Fence:
    """Open until the moment it was last told; from the start closed. One per process."""

    def __init__(self, clock: Callable[[], float] = steady) -> None:
        self._clock = clock
        self._until = float("-inf")

    @property
    def now(self) -> float:
        """Seconds on its clock."""
        return self._clock()

    def open_until(self, until: float) -> None:
        """Writes may begin until `until` on the fence's clock."""
        self._until = until

    def close(self) -> None:
        """No further write."""
        self._until = float("-inf")

    @property
    def left(self) -> float:
        """Seconds until it closes, 0 when it is closed."""
        return max(0.0, self._until - self._clock())

    def check(self) -> None:
        """NotLeading when it is closed."""
        if not self.left:
            raise NotLeading("this operator does not lead (any more) and leaves writing to the one that does")

    def tracing(self) -> aiohttp.TraceConfig:
        """What makes a client session ask when a request is about to be sent."""
        trace = aiohttp.TraceConfig()

        async def starts(_: object, context: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
            context.reads = params.method in READS

        async def connected(_: object, context: SimpleNamespace, __: object) -> None:
            if not context.reads:
                self.check()

        trace.on_request_start.append(starts)
        trace.on_connection_create_end.append(connected)
        trace.on_connection_reuseconn.append(connected)
        return trace
