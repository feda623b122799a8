"""How fast one pull may be: a token bucket that all its connections draw from. Knows no network and never sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

BURST_SECONDS = 0.5
"""What a pause saves up: enough for gaps between blocks and files, too little to be seen over the seconds of a pull."""


class Bucket:
    """Fills with `bytes_per_second`; drawn below zero, it says how long to wait until it is level again."""

    def __init__(self, bytes_per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        """0 bytes a second: no limit."""
        self._rate, self._clock = bytes_per_second, clock
        self._lock = threading.Lock()
        self._level, self._at = 0.0, clock()

    def take(self, count: int) -> float:
        """Draw `count` bytes that have come already; gives the seconds to wait before the next ones."""
        if not self._rate:
            return 0.0
        with self._lock:
            now = self._clock()
            self._level = min(self._level + (now - self._at) * self._rate, self._rate * BURST_SECONDS) - count
            self._at = now
            return max(0.0, -self._level / self._rate)
