"""The work queue: which model to look at next. Knows nothing of what is done with it.

Rules: a key waits once, however often it is added; a key in work is never handed out twice, but is run again when it
was added meanwhile; wakes go before everything else; a failing key backs off, and a new event by-passes its back-off.
All arithmetic is in `WorkQueue`, on a clock that tests can turn; `work` is the only part that waits.
"""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

BACKOFF_FIRST = 0.2
BACKOFF_CAP = 60.0


class Key(NamedTuple):
    """One model."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Level(IntEnum):
    """Lower goes first: after a restart a wake must not stand behind a thousand first lists."""

    SOON = 0
    LATER = 1


class WorkQueue:
    """Deduplicating two-level queue with delayed adds. Not thread-safe: one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lanes: dict[Level, deque[Key]] = {level: deque() for level in Level}
        self._waiting: dict[Key, tuple[Level, float]] = {}
        self._running: dict[Key, float] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    # -- what producers call

    def add(self, key: Key, level: Level = Level.SOON) -> None:
        """Look at `key` as soon as a worker is free. Ends any wait or back-off of the key."""
        self._due.pop(key, None)
        known = self._waiting.get(key)
        if known is not None and known[0] <= level:
            return
        self._waiting[key] = (level, known[1] if known else self._clock())
        if key not in self._running:
            self._lanes[level].append(key)
        self._changed.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at `key` again in `seconds`; the earlier of two such wishes counts, and `add` overtakes both."""
        due = self._clock() + max(0.0, seconds)
        if key in self._waiting or self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        self._changed.set()

    def forget(self, key: Key) -> None:
        """The model is gone: no delayed look, no memory of failures."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    # -- what workers call

    def take(self) -> Key | None:
        """The next key, now in work, or None. Pair with `done` or `failed`."""
        self._promote()
        for level, lane in self._lanes.items():
            while lane:
                key = lane.popleft()
                # an entry is stale when the key moved to the other lane or is in work by now
                if key in self._running or self._waiting.get(key, (None, 0.0))[0] is not level:
                    continue
                del self._waiting[key]
                self._running[key] = self._clock()
                return key
        return None

    def done(self, key: Key, again_in: float | None = None) -> None:
        """`key` was handled; look again in `again_in` seconds, if given."""
        self._failures.pop(key, None)
        self._release(key)
        if again_in is not None:
            self.add_after(key, again_in)

    def failed(self, key: Key, retry_after: float | None = None) -> float:
        """`key` must be tried again; returns the seconds until then, growing with each failure in a row."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(BACKOFF_CAP, BACKOFF_FIRST * 2.0 ** min(count - 1, 16))
        delay = max(delay, retry_after or 0.0)
        self._release(key)
        self.add_after(key, delay)
        return delay

    def _release(self, key: Key) -> None:
        self._running.pop(key, None)
        if key in self._waiting:
            self._lanes[self._waiting[key][0]].append(key)
            self._changed.set()

    def _promote(self) -> None:
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                self.add(key)

    # -- what the ops endpoint asks

    def depth(self) -> int:
        """Keys waiting for a worker, without delayed ones."""
        return len(self._waiting)

    def oldest_waiting(self) -> float:
        """Seconds the longest-waiting key has waited; 0 when none does."""
        return max((self._clock() - since for _, since in self._waiting.values()), default=0.0)

    def oldest_running(self) -> float:
        """Seconds the longest-running look has taken so far; 0 when none runs."""
        return max((self._clock() - since for since in self._running.values()), default=0.0)

    def next_due(self) -> float | None:
        """Seconds until the next delayed key, or None."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else None

    async def wait(self) -> Key:
        """The next key, waiting for one."""
        while (key := self.take()) is None:
            self._changed.clear()  # nothing waits now, and nobody can add before the next await: no call is lost
            with suppress(TimeoutError):
                async with asyncio.timeout(self.next_due()):
                    await self._changed.wait()
        return key


async def work(queue: WorkQueue, look: Callable[[Key], Awaitable[None]]) -> None:
    """One worker, for ever. `look` settles the key with `done` or `failed` itself."""
    while True:
        await look(await queue.wait())
